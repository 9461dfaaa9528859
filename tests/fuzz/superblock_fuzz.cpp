// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a superblock: refused with a typed error, or read back exactly as they would
// be written. A flipped bit is never taken for a superblock.
#include <algorithm>

#include "core/log/superblock_format.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto decoded = log::decode_superblock(fuzz::as_bytes(data, size));
  if (!decoded) {
    require(decoded.error().code == Code::invalid || decoded.error().code == Code::wrong_version,
            "a refusal is typed");
    require(!decoded.error().message.empty(), "a refusal says why");
    return 0;
  }
  const log::SuperblockBytes encoded = log::encode(*decoded);
  const auto again = log::decode_superblock(encoded);
  require(again.has_value() && *again == *decoded, "what was read can be written and read again");
  return 0;
}
