// SPDX-License-Identifier: BSD-3-Clause
// Running seeds, and saying which one failed and how to see it again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/chaos.hpp"
#include "tests/sim/client.hpp"
#include "tests/sim/world.hpp"

namespace caisson::simtest {

// A sanitizer watches: it looks for other things than what takes thousands of runs to meet.
#ifdef __has_feature
inline constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

struct Outcome {
  std::vector<Violation> violations;
  uint64_t trace = 0;
  uint64_t committed = 0;  // highest position exposed
  uint64_t elections = 0;  // terms that were led
  uint64_t lines_refused = 0;
  uint64_t lines_from_dead = 0;
  uint64_t apologies = 0;    // sequences that were acknowledged and lost, and told so
  uint64_t refused = 0;      // appends resolved as not appended
  uint64_t reads = 0;        // linearizable reads that were answered
  uint64_t constructed = 0;  // directed histories that came about as intended
};

// Finishes the world, and collects. CAISSON_HISTORY=FILE writes the history of a failed run there.
Outcome conclude(World& world, bool constructed = false);

// One random day. Where not a majority decides, no memory is destroyed for good: some of these
// quorum systems cannot do without any voter, not even to replace it.
Outcome swarm_run(uint64_t seed, log::QuorumSystem quorum = {});

// Runs `run` for `count` seeds from `first`; with CAISSON_LONG=N, N times as many; with
// CAISSON_SEEDS=A..B just those; with CAISSON_MINUTES=M, until the time is up. A violation fails
// the test with seed, commit and the invariant's name. Returns what happened in all, so that a test
// can require that its fault did happen.
Outcome over_seeds(uint64_t first, uint64_t count, const std::function<Outcome(uint64_t)>& run);

// Fails the current test if the outcome holds violations.
void expect_sound(const Outcome& outcome, uint64_t seed);

}  // namespace caisson::simtest
