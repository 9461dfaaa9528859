// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/ab_slots.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "pmem/checksum.hpp"

namespace caisson::pmem {
namespace {

uint32_t slot_crc(SlotHeader header, std::span<const std::byte> payload) {
  header.crc = 0;
  return checksum(checksum(kChecksumSeed, &header, sizeof header), payload.data(), payload.size());
}

}  // namespace

Result<SlotView> decode_slot(std::span<const std::byte> slot, SlotKind kind) {
  SlotHeader header;
  if (slot.size() < sizeof header) return fail(Code::damaged, "slot is shorter than its header");
  std::memcpy(&header, slot.data(), sizeof header);
  if (header.magic != kSlotMagic || header.generation == 0 ||
      header.kind != static_cast<uint32_t>(kind)) {
    return fail(Code::damaged, "not a slot of this kind");
  }
  if (header.payload_bytes > slot.size() - sizeof header) {
    return fail(Code::damaged, "slot claims more bytes than it has");
  }
  const auto payload = slot.subspan(sizeof header, header.payload_bytes);
  if (slot_crc(header, payload) != header.crc)
    return fail(Code::damaged, "slot is torn or corrupt");
  if (header.format > kRegionFormat) {
    return fail(Code::wrong_version, "written by format " + std::to_string(header.format) +
                                         ", this build reads up to format " +
                                         std::to_string(kRegionFormat) + ": use a newer caisson");
  }
  return SlotView{header.generation, payload};
}

Result<SlotView> AbSlots::read(const SlotMedium& medium) const {
  const auto a = decode_slot(slot(medium, 0), kind_);
  const auto b = decode_slot(slot(medium, 1), kind_);
  for (const auto* each : {&a, &b}) {
    if (!*each && each->error().code == Code::wrong_version) return *each;
  }
  if (!a && !b) return fail(Code::amnesia, "neither slot A nor slot B is valid");
  if (!a) return b;
  if (!b) return a;
  return a->generation > b->generation ? a : b;
}

void AbSlots::write_one(SlotMedium& medium, unsigned index, uint64_t generation,
                        std::span<const std::byte> payload) const {
  const uint64_t at = at_ + index * slot_bytes_;
  SlotHeader header{};
  header.generation = generation;
  header.magic = kSlotMagic;
  header.format = kRegionFormat;
  header.kind = static_cast<uint32_t>(kind_);
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.crc = slot_crc(header, payload);

  // Everything but the generation first: the slot does not verify while the old one stands there.
  constexpr size_t kBodyAt = sizeof header.generation;
  medium.store(at + kBodyAt, reinterpret_cast<const std::byte*>(&header) + kBodyAt,
               sizeof header - kBodyAt);
  if (!payload.empty()) medium.store(at + sizeof header, payload.data(), payload.size());
  medium.persist(at + kBodyAt, sizeof header - kBodyAt + payload.size());

  medium.store(at, &header.generation, sizeof header.generation);
  medium.persist(at, sizeof header.generation);
}

Result<uint64_t> AbSlots::write(SlotMedium& medium, std::span<const std::byte> payload,
                                Region::Slots slots) const {
  if (payload.size() > payload_bytes_max()) {
    return fail(Code::too_large, "payload of " + std::to_string(payload.size()) +
                                     " bytes, a slot takes " + std::to_string(payload_bytes_max()));
  }
  const auto a = decode_slot(slot(medium, 0), kind_);
  const auto b = decode_slot(slot(medium, 1), kind_);
  const uint64_t generation_a = a ? a->generation : 0;
  const uint64_t generation_b = b ? b->generation : 0;
  const unsigned older = generation_a > generation_b ? 1 : 0;
  // A process may have died between storing a slot and persisting it. What stays must be on the
  // media before the other slot is torn, or a power cut takes both.
  if (const auto& newest = older == 1 ? a : b; newest) {
    medium.persist(at_ + (1 - older) * slot_bytes_, sizeof(SlotHeader) + newest->payload.size());
  }
  uint64_t generation = std::max(generation_a, generation_b) + 1;
  write_one(medium, older, generation, payload);
  if (slots == Region::Slots::both) write_one(medium, 1 - older, ++generation, payload);
  return generation;
}

}  // namespace caisson::pmem
