// SPDX-License-Identifier: BSD-3-Clause
// An application's state and its position in one slot of two (R33): a cut of power leaves the last
// commit or the one before, whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "pmem/ab_slots.hpp"

namespace caisson::pmem {

// The payload of a slot of kind state; its bytes follow.
struct StateHeader {
  uint64_t position;
  uint64_t reserved;
};
static_assert(sizeof(StateHeader) == 16);

class StateSlots {
 public:
  struct View {
    Position position;
    std::span<const std::byte> bytes;  // in the medium
  };

  // Slot A at 0, slot B behind it.
  explicit StateSlots(uint64_t slot_bytes) : slots_(SlotKind::state, 0, slot_bytes) {
    payload_.reserve(slots_.payload_bytes_max());  // so that commit() allocates nothing
  }
  // The smallest slot for states of so many bytes; whole pages.
  static uint64_t slot_bytes_for(uint64_t bytes_max);

  uint64_t bytes_max() const { return slots_.payload_bytes_max() - sizeof(StateHeader); }

  // amnesia: no slot holds a state · wrong_version · damaged.
  Result<View> load(const SlotMedium& medium) const;
  // Persistent on return. Writes the slot that does not hold the newest state, or both.
  [[nodiscard]] Code commit(SlotMedium& medium, Position position, std::span<const std::byte> bytes,
                            Region::Slots slots);

 private:
  AbSlots slots_;
  std::vector<std::byte> payload_;  // assembled here
};

}  // namespace caisson::pmem
