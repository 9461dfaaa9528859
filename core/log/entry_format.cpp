// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/entry_format.hpp"

namespace caisson::log {

uint32_t chain_seed(const LogIdentity& identity) {
  const uint32_t crc = crc32c(kCrcSeed, identity.cluster.data(), identity.cluster.size());
  return crc32c_u64(crc, identity.log);
}

}  // namespace caisson::log
