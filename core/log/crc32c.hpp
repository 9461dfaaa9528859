// SPDX-License-Identifier: BSD-3-Clause
// CRC32C (Castagnoli), raw form: no final inversion, so that calls continue one another.
#pragma once

#include <nmmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace caisson::log {

inline constexpr uint32_t kCrcSeed = 0xffffffffu;

// Below this many bytes the SSE4.2 instruction wins over the call into ISA-L (bench/crc_bench.cpp).
inline constexpr size_t kCrcBulkBytes = 256;

uint32_t crc32c_bulk(uint32_t crc, const void* data, size_t n);

inline uint32_t crc32c_u64(uint32_t crc, uint64_t word) {
  return static_cast<uint32_t>(_mm_crc32_u64(crc, word));
}
inline uint32_t crc32c_u32(uint32_t crc, uint32_t word) { return _mm_crc32_u32(crc, word); }

inline uint32_t crc32c(uint32_t crc, const void* data, size_t n) {
  if (n >= kCrcBulkBytes) return crc32c_bulk(crc, data, n);
  const auto* p = static_cast<const unsigned char*>(data);
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    crc = crc32c_u64(crc, word);
  }
  for (; n > 0; --n, ++p) crc = _mm_crc32_u8(crc, *p);
  return crc;
}

// Copies n bytes and returns their checksum.
inline uint32_t copy_crc32c(uint32_t crc, std::byte* to, const std::byte* from, size_t n) {
  if (n >= kCrcBulkBytes) {
    std::memcpy(to, from, n);
    return crc32c_bulk(crc, from, n);
  }
  size_t at = 0;
  // In words: what a caller wrote in words just now, read in larger pieces, would stall.
#pragma GCC unroll 8
  for (; at + 8 <= n; at += 8) {
    uint64_t word;
    std::memcpy(&word, from + at, 8);
    std::memcpy(to + at, &word, 8);
    crc = crc32c_u64(crc, word);
  }
  for (; at < n; ++at) {
    to[at] = from[at];
    crc = _mm_crc32_u8(crc, static_cast<uint8_t>(from[at]));
  }
  return crc;
}

}  // namespace caisson::log
