// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/crc32c.hpp"

#include <isa-l/crc.h>

namespace caisson::log {

uint32_t crc32c_bulk(uint32_t crc, const void* data, size_t n) {
  constexpr size_t kCallBytesMax = size_t{1} << 30;                // ISA-L takes an int
  auto* p = static_cast<unsigned char*>(const_cast<void*>(data));  // ISA-L's C signature; only read
  while (n > 0) {
    const size_t step = n < kCallBytesMax ? n : kCallBytesMax;
    crc = crc32_iscsi(p, static_cast<int>(step), crc);
    p += step;
    n -= step;
  }
  return crc;
}

}  // namespace caisson::log
