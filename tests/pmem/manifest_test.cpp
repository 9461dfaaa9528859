// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/manifest.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

namespace caisson::pmem {
namespace {

constexpr uint64_t kSegments = 8;
constexpr uint64_t kSlots = 12;

Manifest example() {
  Manifest manifest = Manifest::identity_map(kSegments);
  manifest.slot_of_segment[3] = 9;
  manifest.tainted.push_back(
      {3, 0, 2, {.pid = 7, .start_ticks = 1, .pid_namespace = 1, .boot = {}}});
  return manifest;
}

std::vector<std::byte> encoded(const Manifest& manifest) {
  std::vector<std::byte> payload;
  encode_manifest(manifest, payload);
  return payload;
}

Code refusal(const Manifest& manifest) {
  const auto decoded = decode_manifest(encoded(manifest), kSegments, kSlots);
  return decoded ? Code::ok : decoded.error().code;
}

TEST(Manifest, RoundTrip) {
  const auto decoded = decode_manifest(encoded(example()), kSegments, kSlots);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->slot_of_segment, example().slot_of_segment);
  ASSERT_EQ(decoded->tainted.size(), 1u);
  EXPECT_EQ(decoded->tainted[0].slot, 3u);
  EXPECT_EQ(decoded->tainted[0].vacated_by, 2u);
  EXPECT_EQ(decoded->tainted[0].writer.pid, 7u);
}

TEST(Manifest, FreeSlotsAreNeitherInTheRingNorTainted) {
  EXPECT_EQ(example().free_slots(kSlots), (std::vector<uint32_t>{8, 10, 11}));
}

TEST(Manifest, ASlotUsedTwiceIsDamage) {
  Manifest manifest = example();
  manifest.slot_of_segment[0] = 1;
  EXPECT_EQ(refusal(manifest), Code::damaged);
}

TEST(Manifest, ASlotBehindTheEndIsDamage) {
  Manifest manifest = example();
  manifest.slot_of_segment[0] = kSlots;
  EXPECT_EQ(refusal(manifest), Code::damaged);
}

TEST(Manifest, ATaintedSlotInTheRingIsDamage) {
  Manifest manifest = example();
  manifest.tainted[0].slot = 9;
  EXPECT_EQ(refusal(manifest), Code::damaged);
}

TEST(Manifest, AnotherSegmentCountIsDamage) {
  const auto decoded = decode_manifest(encoded(example()), kSegments * 2, kSlots * 2);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Code::damaged);
}

RC_GTEST_PROP(Manifest, PermutationsRoundTrip,
              (uint64_t seed, const std::vector<uint16_t>& taints)) {
  Manifest manifest;
  std::vector<uint32_t> slots(kSlots);
  std::iota(slots.begin(), slots.end(), 0u);
  for (size_t i = slots.size() - 1; i > 0; --i) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    std::swap(slots[i], slots[(seed >> 33) % (i + 1)]);
  }
  manifest.slot_of_segment.assign(slots.begin(), slots.begin() + kSegments);
  for (size_t i = 0; i < std::min<size_t>(taints.size(), kTaintedSlotsMax); ++i) {
    manifest.tainted.push_back({slots[kSegments + taints[i] % (kSlots - kSegments)], 0, i, {}});
  }
  const auto decoded = decode_manifest(encoded(manifest), kSegments, kSlots);
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(decoded->slot_of_segment == manifest.slot_of_segment);
  RC_ASSERT(decoded->tainted.size() == manifest.tainted.size());
  for (const uint32_t slot : decoded->free_slots(kSlots)) {
    RC_ASSERT(std::count(slots.begin(), slots.begin() + kSegments, slot) == 0);
  }
}

RC_GTEST_PROP(Manifest, HostileBytesAreRefusedOrSane, (const std::vector<uint8_t>& bytes)) {
  const auto decoded = decode_manifest(std::as_bytes(std::span(bytes)), kSegments, kSlots);
  if (!decoded) return;
  for (const uint32_t slot : decoded->slot_of_segment) RC_ASSERT(slot < kSlots);
}

}  // namespace
}  // namespace caisson::pmem
