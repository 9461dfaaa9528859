// SPDX-License-Identifier: BSD-3-Clause
// Random days: every seed draws its own cluster, workload and faults.
#include <gtest/gtest.h>

#include "tests/sim/runs.hpp"

namespace caisson::simtest {
namespace {

TEST(Swarm, EveryInvariantHoldsOnEveryBadDay) {
  over_seeds(1, 60, [](uint64_t seed) { return swarm_run(seed); });
}

TEST(Swarm, TheSameSeedIsTheSameRun) {
  for (const uint64_t seed : {3u, 17u, 92u}) {
    const Outcome first = swarm_run(seed);
    const Outcome second = swarm_run(seed);
    EXPECT_EQ(first.trace, second.trace) << "seed " << seed;
    EXPECT_NE(first.trace, swarm_run(seed + 1).trace);
  }
}

}  // namespace
}  // namespace caisson::simtest
