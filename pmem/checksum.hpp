// SPDX-License-Identifier: BSD-3-Clause
// CRC32C of the region's own structures. The log's entries have their own checksum, one layer up.
#pragma once

#include <nmmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace caisson::pmem {

inline constexpr uint32_t kChecksumSeed = 0xffffffffu;

// Continues `crc` over n more bytes; raw form, no final inversion.
inline uint32_t checksum(uint32_t crc, const void* data, size_t n) {
  const auto* p = static_cast<const unsigned char*>(data);
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    crc = static_cast<uint32_t>(_mm_crc32_u64(crc, word));
  }
  for (; n > 0; --n, ++p) crc = _mm_crc32_u8(crc, *p);
  return crc;
}

}  // namespace caisson::pmem
