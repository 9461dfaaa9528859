// SPDX-License-Identifier: BSD-3-Clause
// Media layout of the salvage area; explained in docs/format.md. A directory of slots, a cache line
// each, then the ring bytes that they name. One 8-byte word decides whether a slot counts, so that
// a record comes and goes whole wherever the power is lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "caisson/types.hpp"
#include "core/log/crc32c.hpp"

namespace caisson::replication {

inline constexpr uint32_t kSlotKept = 0x47415653;       // "SVAG"
inline constexpr uint32_t kSlotDiscarded = 0x44415653;  // "SVAD": its id stays taken

struct SalvageSlot {
  uint32_t id;  // 1, 2, 3, …; never used again
  uint32_t before_chain;
  uint64_t offset;           // in the ring's logical offsets: where the bytes stood
  uint64_t bytes;            // of the ring, headers and padding included
  uint64_t before_position;  // the cursor that the first entry continues
  uint64_t before_term;
  uint64_t sealed_by;  // the term whose leader displaced them
  uint64_t at;         // where they lie in the area
  uint32_t crc;        // crc32c over all of the above
  uint32_t state;      // with crc one word, stored last
};
static_assert(sizeof(SalvageSlot) == kCacheLineBytes);
static_assert(offsetof(SalvageSlot, offset) == 8);
static_assert(offsetof(SalvageSlot, at) == 48);
static_assert(offsetof(SalvageSlot, crc) == 56);

inline uint32_t slot_crc(const SalvageSlot& slot) {
  return log::crc32c(log::kCrcSeed, &slot, offsetof(SalvageSlot, crc));
}

// Small areas keep room for one largest entry (engine/config_rules.cpp).
inline constexpr uint64_t kDirectoryBytesSmall = 4096;
inline constexpr uint64_t kDirectoryBytesLarge = 64 * 1024;
inline constexpr uint64_t kLargeAreaBytes = 4 * 1024 * 1024;
constexpr uint64_t directory_bytes(uint64_t area_bytes) {
  return area_bytes < kDirectoryBytesSmall ? 0
         : area_bytes < kLargeAreaBytes    ? kDirectoryBytesSmall
                                           : kDirectoryBytesLarge;
}

inline SalvageSlot load_slot(std::span<const std::byte> area, uint64_t index) {
  SalvageSlot slot;
  std::memcpy(&slot, area.data() + index * sizeof slot, sizeof slot);
  return slot;
}

}  // namespace caisson::replication
