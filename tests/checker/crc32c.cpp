// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/crc32c.hpp"

#include <array>

namespace caisson::checker {

namespace {

constexpr uint32_t kReflected = 0x82f63b78;  // 0x1EDC6F41, its bits in the other order

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kReflected : 0);
    table[byte] = crc;
  }
  return table;
}
constexpr auto kTable = make_table();

}  // namespace

uint32_t crc32c(uint32_t crc, const void* bytes, size_t n) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  for (size_t i = 0; i < n; ++i) crc = crc >> 8 ^ kTable[(crc ^ at[i]) & 0xff];
  return crc;
}

}  // namespace caisson::checker
