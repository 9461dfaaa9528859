// SPDX-License-Identifier: BSD-3-Clause
// CRC32C as docs/format.md has it: polynomial 0x1EDC6F41, reflected, no final inversion.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caisson::checker {

inline constexpr uint32_t kCrcSeed = UINT32_MAX;

// Continues `crc` with these bytes.
uint32_t crc32c(uint32_t crc, const void* bytes, size_t n);

}  // namespace caisson::checker
