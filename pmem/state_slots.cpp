// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/state_slots.hpp"

#include <cstring>

#include "pmem/region_format.hpp"

namespace caisson::pmem {

uint64_t StateSlots::slot_bytes_for(uint64_t bytes_max) {
  return round_up(sizeof(SlotHeader) + sizeof(StateHeader) + bytes_max, kPageBytes);
}

Result<StateSlots::View> StateSlots::load(const SlotMedium& medium) const {
  const auto newest = slots_.read(medium);
  if (!newest) return tl::unexpected(newest.error());
  if (newest->payload.size() < sizeof(StateHeader)) {
    return fail(Code::damaged, "the slot is too short for a state");
  }
  StateHeader header;
  std::memcpy(&header, newest->payload.data(), sizeof header);
  return View{Position{header.position}, newest->payload.subspan(sizeof header)};
}

Code StateSlots::commit(SlotMedium& medium, Position position, std::span<const std::byte> bytes,
                        Region::Slots slots) {
  if (bytes.size() > bytes_max()) return Code::too_large;
  const StateHeader header{position.value, 0};
  payload_.resize(sizeof header + bytes.size());
  std::memcpy(payload_.data(), &header, sizeof header);
  if (!bytes.empty()) std::memcpy(payload_.data() + sizeof header, bytes.data(), bytes.size());
  const auto written = slots_.write(medium, payload_, slots);
  return written ? Code::ok : written.error().code;
}

}  // namespace caisson::pmem
