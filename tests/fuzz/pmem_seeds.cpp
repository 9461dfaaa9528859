// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>
#include <string>

#include "pmem/manifest.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {
namespace {

class OneSlotPair : public pmem::SlotMedium {
 public:
  explicit OneSlotPair(uint64_t slot_bytes) : bytes_(2 * slot_bytes) {}
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return std::span(bytes_).subspan(at, n);
  }
  void store(uint64_t at, const void* source, size_t n) override {
    std::memcpy(bytes_.data() + at, source, n);
  }
  void persist(uint64_t, uint64_t) override {}

 private:
  std::vector<std::byte> bytes_;
};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void slot_seeds(const AddSeed& add) {
  constexpr uint64_t kSlotBytes = 256;
  for (const auto kind :
       {pmem::SlotKind::superblock, pmem::SlotKind::identity, pmem::SlotKind::manifest}) {
    for (const size_t payload_bytes : {0u, 1u, 100u}) {
      OneSlotPair medium(kSlotBytes);
      const pmem::AbSlots slots(kind, 0, kSlotBytes);
      const std::vector<std::byte> payload(payload_bytes, std::byte{7});
      if (!slots.write(medium, payload, pmem::Region::Slots::both)) return;
      add(as_text(medium.bytes(0, kSlotBytes)));
    }
  }
}

void manifest_seeds(const AddSeed& add) {
  pmem::Manifest manifest = pmem::Manifest::identity_map(16);
  std::vector<std::byte> payload;
  const auto add_one = [&] {
    pmem::encode_manifest(manifest, payload);
    // 16 segments of 24 slots, as manifest_fuzz reads its first two bytes.
    add(std::string("\x0f\x08", 2) + std::string(as_text(payload)));
  };
  add_one();
  manifest.slot_of_segment[3] = 20;
  manifest.tainted.push_back({.slot = 3, .reserved = 0, .vacated_by = 5, .writer = {}});
  add_one();
}

}  // namespace caisson::fuzz
