// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a manifest: refused with a typed error, or a map in which every segment has a
// slot of its own.
#include <algorithm>

#include "pmem/manifest.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  fuzz::Reader reader(data, size);
  const uint64_t segments = 1 + reader.take<uint8_t>() % 64;
  const uint64_t slots = segments + reader.take<uint8_t>();
  const size_t used = std::min<size_t>(size, 2);

  const auto manifest =
      pmem::decode_manifest(fuzz::as_bytes(data + used, size - used), segments, slots);
  if (!manifest) {
    require(manifest.error().code == Code::damaged, "a refusal is typed");
    return 0;
  }
  require(manifest->slot_of_segment.size() == segments, "every segment has a slot");
  // Several writers may taint one slot.
  std::vector<uint32_t> tainted_slots;
  for (const pmem::TaintedSlot& tainted : manifest->tainted) tainted_slots.push_back(tainted.slot);
  std::sort(tainted_slots.begin(), tainted_slots.end());
  tainted_slots.erase(std::unique(tainted_slots.begin(), tainted_slots.end()), tainted_slots.end());
  std::vector<uint32_t> taken = manifest->slot_of_segment;
  taken.insert(taken.end(), tainted_slots.begin(), tainted_slots.end());
  std::sort(taken.begin(), taken.end());
  require(std::adjacent_find(taken.begin(), taken.end()) == taken.end(), "no slot is used twice");
  require(taken.back() < slots, "every slot is in the file");
  require(manifest->free_slots(slots).size() == slots - taken.size(), "the others are free");

  std::vector<std::byte> encoded;
  pmem::encode_manifest(*manifest, encoded);
  const auto again = pmem::decode_manifest(encoded, segments, slots);
  require(again.has_value() && again->slot_of_segment == manifest->slot_of_segment &&
              again->tainted.size() == manifest->tainted.size(),
          "what was read can be written and read again");
  return 0;
}
