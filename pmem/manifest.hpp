// SPDX-License-Identifier: BSD-3-Clause
// Which slot of the file backs which segment of the ring, and which slots nobody may reuse yet
// (P5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "pmem/region_format.hpp"

namespace caisson::pmem {

struct Manifest {
  std::vector<uint32_t> slot_of_segment;
  std::vector<TaintedSlot> tainted;

  static Manifest identity_map(uint64_t segments);

  // Slots of the file that are neither in the ring nor tainted, ascending.
  std::vector<uint32_t> free_slots(uint64_t slots) const;
};

// The payload of a manifest slot. tainted.size() <= kTaintedSlotsMax.
void encode_manifest(const Manifest& manifest, std::vector<std::byte>& payload);

// Checks hostile bytes: the segment count, every slot below `slots`, none used twice, none both in
// the ring and tainted. Code::damaged otherwise.
Result<Manifest> decode_manifest(std::span<const std::byte> payload, uint64_t segments,
                                 uint64_t slots);

}  // namespace caisson::pmem
