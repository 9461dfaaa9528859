// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/manifest.hpp"

#include <cstring>
#include <numeric>

namespace caisson::pmem {
namespace {

constexpr uint64_t map_bytes(uint64_t segments) { return round_up(segments * sizeof(uint32_t), 8); }

}  // namespace

Manifest Manifest::identity_map(uint64_t segments) {
  Manifest manifest;
  manifest.slot_of_segment.resize(segments);
  std::iota(manifest.slot_of_segment.begin(), manifest.slot_of_segment.end(), 0u);
  return manifest;
}

std::vector<uint32_t> Manifest::free_slots(uint64_t slots) const {
  std::vector<bool> used(slots);
  for (const uint32_t slot : slot_of_segment) used[slot] = true;
  for (const TaintedSlot& entry : tainted) used[entry.slot] = true;
  std::vector<uint32_t> free;
  for (uint32_t slot = 0; slot < slots; ++slot) {
    if (!used[slot]) free.push_back(slot);
  }
  return free;
}

void encode_manifest(const Manifest& manifest, std::vector<std::byte>& payload) {
  const ManifestHeader header{static_cast<uint32_t>(manifest.slot_of_segment.size()),
                              static_cast<uint32_t>(manifest.tainted.size())};
  const uint64_t tainted_at = sizeof header + map_bytes(header.segments);
  payload.assign(tainted_at + header.tainted * sizeof(TaintedSlot), std::byte{0});
  std::memcpy(payload.data(), &header, sizeof header);
  std::memcpy(payload.data() + sizeof header, manifest.slot_of_segment.data(),
              header.segments * sizeof(uint32_t));
  if (header.tainted > 0) {
    std::memcpy(payload.data() + tainted_at, manifest.tainted.data(),
                header.tainted * sizeof(TaintedSlot));
  }
}

Result<Manifest> decode_manifest(std::span<const std::byte> payload, uint64_t segments,
                                 uint64_t slots) {
  ManifestHeader header;
  if (payload.size() < sizeof header) return fail(Code::damaged, "manifest is too short");
  std::memcpy(&header, payload.data(), sizeof header);
  const uint64_t tainted_at = sizeof header + map_bytes(header.segments);
  if (header.segments != segments || header.tainted > kTaintedSlotsMax ||
      payload.size() != tainted_at + header.tainted * sizeof(TaintedSlot)) {
    return fail(Code::damaged, "manifest does not fit the region's geometry");
  }
  Manifest manifest;
  manifest.slot_of_segment.resize(segments);
  std::memcpy(manifest.slot_of_segment.data(), payload.data() + sizeof header,
              segments * sizeof(uint32_t));
  manifest.tainted.resize(header.tainted);
  if (header.tainted > 0) {
    std::memcpy(manifest.tainted.data(), payload.data() + tainted_at,
                header.tainted * sizeof(TaintedSlot));
  }
  std::vector<bool> in_ring(slots);
  for (const uint32_t slot : manifest.slot_of_segment) {
    if (slot >= slots) return fail(Code::damaged, "manifest names a slot behind the region's end");
    if (in_ring[slot]) return fail(Code::damaged, "manifest uses one slot for two segments");
    in_ring[slot] = true;
  }
  for (const TaintedSlot& entry : manifest.tainted) {
    if (entry.slot >= slots || in_ring[entry.slot]) {
      return fail(Code::damaged, "manifest taints a slot that is in use or does not exist");
    }
  }
  return manifest;
}

}  // namespace caisson::pmem
