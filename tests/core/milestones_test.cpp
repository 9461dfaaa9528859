// SPDX-License-Identifier: BSD-3-Clause
// What a leader says of a standby's lag is never less than the truth, however few milestones it
// keeps, and exact where it keeps all.
#include "core/replication/milestones.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

namespace caisson::replication {
namespace {

TEST(Milestones, NeverSayMoreThanIsThere) {
  EXPECT_TRUE(rc::check([] {
    Milestones kept;
    kept.begin();
    std::vector<Milestone> all;
    Milestone at{Offset{0}, Position{0}, 1};
    Offset mark;
    const int steps = *rc::gen::inRange(1, 3000);
    const int thinned = *rc::gen::inRange(0, 20);
    uint64_t seed = *rc::gen::arbitrary<uint32_t>();
    const auto below = [&seed](uint64_t limit) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      return (seed >> 33) % limit;
    };
    for (int i = 0; i < steps; ++i) {
      at.ns += 1 + below(100);
      const uint64_t entries = below(3);
      at.position = at.position + entries;
      at.end = at.end + 64 * entries * (1 + below(3));
      kept.note(at, below(20) >= static_cast<uint64_t>(thinned));
      all.push_back(at);
      mark = Offset{std::max(mark.value, below(at.end.value + 1))};
      if (below(4) == 0) kept.forget(mark);
      const Milestone reached = kept.reached(mark);
      RC_ASSERT(reached.end <= mark);
      // The most that may be claimed: the last state of the log that had ended at or below it.
      Milestone truth;
      for (const Milestone& each : all) {
        if (each.end <= mark) truth = each;
      }
      RC_ASSERT(reached.position <= truth.position);
      RC_ASSERT(reached.ns <= truth.ns);
      if (thinned == 0 && steps < 1000) RC_ASSERT(reached.position == truth.position);
    }
  }));
}

TEST(Milestones, RestingAtOnePlaceIsNoLag) {
  Milestones kept;
  kept.begin();
  EXPECT_EQ(kept.reached(Offset{1000}).position, Position{0}) << "nothing is known yet";
  kept.note({Offset{128}, Position{2}, 10}, true);
  kept.note({Offset{128}, Position{2}, 500}, false);
  EXPECT_EQ(kept.reached(Offset{128}).ns, 500u) << "nothing was appended before";
  kept.note({Offset{192}, Position{3}, 600}, true);
  EXPECT_EQ(kept.reached(Offset{191}).position, Position{2});
  kept.forget(Offset{192});
  EXPECT_EQ(kept.reached(Offset{192}).position, Position{3});
}

}  // namespace
}  // namespace caisson::replication
