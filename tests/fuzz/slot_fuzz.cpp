// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes where slots are expected: a slot is refused with a typed error or names a payload
// inside of itself; of a pair, one damaged slot never changes what is read.
#include <algorithm>
#include <cstring>
#include <vector>

#include "pmem/ab_slots.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace caisson;
using caisson::fuzz::require;

constexpr uint64_t kSlotBytes = 512;
constexpr pmem::SlotKind kKind = pmem::SlotKind::superblock;

class Memory : public pmem::SlotMedium {
 public:
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return std::span(bytes_).subspan(at, n);
  }
  void store(uint64_t at, const void* source, size_t n) override {
    std::memcpy(bytes_.data() + at, source, n);
  }
  void persist(uint64_t, uint64_t) override {}
  void flip(uint64_t bit) { bytes_[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8)); }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(2 * kSlotBytes);
};

void decode_arbitrary(std::span<const std::byte> bytes) {
  for (const auto kind :
       {pmem::SlotKind::superblock, pmem::SlotKind::identity, pmem::SlotKind::manifest}) {
    const auto slot = pmem::decode_slot(bytes, kind);
    if (!slot) {
      require(slot.error().code == Code::damaged || slot.error().code == Code::wrong_version,
              "a refusal is typed");
      continue;
    }
    require(slot->generation != 0, "a slot that was never written is refused");
    require(slot->payload.data() >= bytes.data() &&
                slot->payload.data() + slot->payload.size() <= bytes.data() + bytes.size(),
            "the payload lies in the slot");
  }
}

// Two values written one after the other, then one slot damaged by one bit.
void damage_one(fuzz::Reader& reader) {
  const pmem::AbSlots slots(kKind, 0, kSlotBytes);
  std::vector<std::byte> older(reader.below(slots.payload_bytes_max() + 1), std::byte{1});
  std::vector<std::byte> newer(reader.below(slots.payload_bytes_max() + 1), std::byte{2});
  Memory memory;
  require(slots.write(memory, older, pmem::Region::Slots::both).has_value(),
          "what fits is written");
  require(slots.write(memory, newer, pmem::Region::Slots::one).has_value(), "what fits is written");

  memory.flip(reader.below(2 * kSlotBytes * 8));
  const auto found = slots.read(memory);
  if (!found) {
    require(found.error().code == Code::wrong_version, "one bit never costs both slots");
    return;
  }
  const auto is = [&](const std::vector<std::byte>& value) {
    return std::equal(found->payload.begin(), found->payload.end(), value.begin(), value.end());
  };
  require(is(newer) || is(older), "only what was written is read");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  decode_arbitrary(fuzz::as_bytes(data, size));
  fuzz::Reader reader(data, size);
  damage_one(reader);
  return 0;
}
