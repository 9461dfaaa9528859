// SPDX-License-Identifier: BSD-3-Clause
// Runs one schedule from its first moment to its judgement, and says what happened.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/canary.hpp"
#include "tests/sim/checker.hpp"
#include "tests/sim/performer.hpp"

namespace caisson::simtest {

// What the simulator did besides what was scheduled, and what came of it all. Adds up over seeds.
struct Totals {
  uint64_t seeds = 0;
  uint64_t events =
      0;  // steps of the simulation: turns, messages, lines that land, answers, faults
  uint64_t events_least = 0;  // of any seed
  uint64_t virtual_ns = 0;
  uint64_t faults = 0;  // scheduled ones that struck
  uint64_t faults_least = 0;
  FaultCounts by_class{};
  uint64_t failovers = 0;    // terms that were led, but for each cluster's first
  uint64_t power_cuts = 0;   // machine by machine
  uint64_t deaths = 0;       // of processes
  uint64_t died_inside = 0;  // … or power cuts, between two steps of what they were doing
  uint64_t messages = 0;
  uint64_t messages_lost = 0;
  uint64_t messages_twice = 0;
  uint64_t messages_late = 0;
  uint64_t messages_clogged = 0;
  uint64_t lines = 0;
  uint64_t lines_scattered = 0;
  uint64_t lines_again = 0;
  uint64_t lines_dropped = 0;
  uint64_t lines_refused = 0;
  uint64_t lines_from_dead = 0;
  uint64_t late = 0;
  uint64_t committed = 0;  // entries
  uint64_t acknowledged = 0;
  uint64_t reads = 0;
  uint64_t views = 0;
  uint64_t takeovers = 0;
  uint64_t apologies = 0;
  uint64_t quorums_damaged = 0;  // days that ended without a quorum that is sound
  uint64_t recovery_ns_max = 0;  // from the end of the faults until all agree
};
void add(Totals& sum, const Totals& one);

struct Verdict {
  std::vector<Violation> violations;
  uint64_t trace = 0;  // over every event, in order
  Totals totals;
  // No quorum served in time, and nothing worse.
  bool only_stuck() const;
  bool sound() const { return violations.empty(); }
};

struct DayOptions {
  Witness* witness = nullptr;
  History* history = nullptr;  // gets what was judged
  Canary canary = Canary::none;
};

Verdict run_day(const Schedule& day, const DayOptions& options = {});

}  // namespace caisson::simtest
