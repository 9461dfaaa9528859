// SPDX-License-Identifier: BSD-3-Clause
// State and position are of one commit, wherever the power is lost (R33).
#include "pmem/state_slots.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <string>

#include "pmem/shadow_region.hpp"

namespace caisson::pmem {
namespace {

constexpr uint64_t kStateBytes = 1000;

// The power-cut model as a medium: its salvage area is plain bytes.
class ShadowMedium final : public SlotMedium {
 public:
  explicit ShadowMedium(ShadowRegion& region) : region_(region) {}
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return region_.salvage().subspan(at, n);
  }
  void store(uint64_t at, const void* source, size_t n) override {
    region_.store_salvage(at, source, n);
  }
  void persist(uint64_t at, uint64_t n) override { region_.persist_salvage(at, n); }

 private:
  ShadowRegion& region_;
};

struct Shadow {
  ShadowRegion region{{4096, 4096, 2 * StateSlots::slot_bytes_for(kStateBytes)}};
  ShadowMedium medium{region};
  StateSlots slots{StateSlots::slot_bytes_for(kStateBytes)};

  Shadow() { EXPECT_EQ(slots.commit(medium, Position{0}, {}, Region::Slots::both), Code::ok); }
  Code commit(uint64_t position, const std::string& text) {
    return slots.commit(medium, Position{position}, std::as_bytes(std::span(text)),
                        Region::Slots::one);
  }
  std::pair<uint64_t, std::string> load() {
    const auto view = slots.load(medium);
    EXPECT_TRUE(view);
    if (!view) return {};
    return {view->position.value,
            {reinterpret_cast<const char*>(view->bytes.data()), view->bytes.size()}};
  }
};

// Long enough for many cache lines, and different in each word.
std::string state_of(uint64_t position) {
  std::string text;
  while (text.size() + 20 < kStateBytes) text += "state " + std::to_string(position) + ";";
  return text;
}

TEST(StateSlots, WhatWasCommittedIsLoaded) {
  Shadow shadow;
  EXPECT_EQ(shadow.load(), (std::pair<uint64_t, std::string>{0, ""}));
  for (uint64_t position = 1; position < 6; ++position) {
    ASSERT_EQ(shadow.commit(position * 10, state_of(position)), Code::ok);
    EXPECT_EQ(shadow.load(), std::pair(position * 10, state_of(position)));
  }
  EXPECT_EQ(shadow.commit(60, std::string(shadow.slots.bytes_max() + 1, 'x')), Code::too_large);
  EXPECT_EQ(shadow.load(), std::pair(uint64_t{50}, state_of(5)));
}

TEST(StateSlots, StateAndPositionAreOfOneCommitAtEveryPoint) {
  uint64_t points = 0;
  {
    Shadow shadow;
    ASSERT_EQ(shadow.commit(1, state_of(1)), Code::ok);
    const uint64_t before = shadow.region.points();
    ASSERT_EQ(shadow.commit(2, state_of(2)), Code::ok);
    points = shadow.region.points() - before;
  }
  ASSERT_GE(points, 7u);
  std::set<uint64_t> seen;
  for (uint64_t at = 0; at <= points; ++at) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      Shadow shadow;
      ASSERT_EQ(shadow.commit(1, state_of(1)), Code::ok);
      shadow.region.arm_cut(shadow.region.points() + at, seed);
      ASSERT_EQ(shadow.commit(2, state_of(2)), Code::ok);
      ASSERT_EQ(shadow.region.cut_passed(), at < points);
      shadow.region.power_cut(seed);
      const auto [position, text] = shadow.load();
      ASSERT_TRUE(position == 1 || position == 2) << "point " << at << ", seed " << seed;
      ASSERT_EQ(text, state_of(position)) << "point " << at << ", seed " << seed;
      ASSERT_TRUE(at < points || position == 2) << "it had returned";
      seen.insert(position);
      // It goes on from there.
      ASSERT_EQ(shadow.commit(3, state_of(3)), Code::ok);
      shadow.region.power_cut(seed);
      ASSERT_EQ(shadow.load(), std::pair(uint64_t{3}, state_of(3)));
    }
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{1, 2}));
}

// Any number of commits, each cut anywhere: never older than what had returned, never a mixture.
RC_GTEST_PROP(StateSlots, ManyCutsLeaveTheLastCommitOrTheOneUnderWay,
              (const std::vector<uint16_t>& cuts, uint64_t seed)) {
  Shadow shadow;
  uint64_t committed = 0;
  for (const uint16_t cut : cuts) {
    const uint64_t next = committed + 1 + cut % 3;
    shadow.region.arm_cut(shadow.region.points() + cut % 12, seed + next);
    RC_ASSERT(shadow.commit(next, state_of(next)) == Code::ok);
    const bool returned = !shadow.region.cut_passed();
    if (!returned) shadow.region.power_cut(seed);
    const auto [position, text] = shadow.load();
    RC_ASSERT(position == next || (!returned && position == committed));
    RC_ASSERT(text == (position == 0 ? std::string() : state_of(position)));
    committed = position;
  }
}

}  // namespace
}  // namespace caisson::pmem
