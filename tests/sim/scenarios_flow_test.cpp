// SPDX-License-Identifier: BSD-3-Clause
// S12: one of the two planes dies, the other does not. S23: more is offered than can be taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

void cut_everywhere(World& world, bool data, bool control) {
  for (const uint8_t from : world.ids()) {
    for (const uint8_t to : world.ids()) {
      if (from != to) world.cut(from, to, data, control);
    }
  }
}

uint64_t terms_led(World& world) {
  uint64_t terms = 0;
  for (const Event& e : world.history()) terms += e.what == What::lead;
  return terms;
}

// No message arrives anywhere, every write does (R28).
Outcome control_plane_dead(uint64_t seed) {
  World world(quiet_world(seed, seed % 2 == 0 ? 5 : 3));
  Script script(world);
  if (script.await_leader() == 0) return conclude(world);
  add_clients(world, 2);
  world.run_for(5 * kMs);
  const uint64_t start = world.committed_max();
  world.run_for(20 * kMs);
  const uint64_t healthy = world.committed_max() - start;
  const uint64_t terms = terms_led(world);
  cut_everywhere(world, false, true);
  world.run_for(10 * kMs);
  const uint64_t cut = world.committed_max();
  world.run_for(20 * kMs);
  const uint64_t alone = world.committed_max() - cut;
  if (alone * 2 < healthy) {
    world.breach("R28", "only " + std::to_string(alone) + " entries instead of " +
                            std::to_string(healthy) + " without a control plane");
  }
  if (terms_led(world) != terms) world.breach("R28", "the term ended");
  return conclude(world, healthy > 0);
}

TEST(S12, WithoutTheControlPlaneAppendsGoOnWithinTheTerm) {
  EXPECT_EQ(over_seeds(1, 16, control_plane_dead).constructed, 16u);
}

// No write arrives anywhere, every message does: the stall is noticed in bounded time, and said.
Outcome data_plane_dead(uint64_t seed) {
  World world(quiet_world(seed, seed % 2 == 0 ? 5 : 3));
  Script script(world);
  const uint8_t leader = script.await_leader();
  if (leader == 0) return conclude(world);
  add_clients(world, 2);
  world.run_for(5 * kMs);
  cut_everywhere(world, true, false);
  world.run_for(kMs);  // what had landed is still being reported
  const uint64_t before = world.committed_max();
  const bool told =
      world.run_until([&] { return world.machine(leader).replica->leading() == Term{}; }, 60 * kMs);
  if (!told) world.breach("R20", "a leader that reaches nobody goes on: " + world.describe());
  world.run_for(20 * kMs);
  if (world.committed_max() != before) world.breach("R20", "committed without a quorum");
  return conclude(world, told);
}

TEST(S12, WithoutTheDataPlaneTheStallIsNoticedAndNothingIsAcknowledged) {
  EXPECT_EQ(over_seeds(1, 16, data_plane_dead).constructed, 16u);
}

constexpr uint32_t kClients = 4;
constexpr uint32_t kPerTurn = 4;
constexpr uint64_t kMeasuredNs = 20 * kMs;

// What is committed in `kMeasuredNs` when every client asks for `kPerTurn` appends every `pace_ns`.
uint64_t taken(uint64_t seed, uint64_t pace_ns, Outcome& outcome) {
  World world(quiet_world(seed));
  Script script(world);
  uint64_t taken = 0;
  if (script.await_leader() != 0) {
    ClientOptions c;
    c.pace_ns = pace_ns;
    c.per_turn = kPerTurn;
    c.window = 512;
    c.large_permille = c.batch_permille = c.claim_permille = c.all_permille = 0;
    c.lost_answer_permille = c.again_permille = c.reused_permille = c.session_permille = 0;
    add_clients(world, kClients, c);
    world.run_for(10 * kMs);
    const uint64_t start = world.committed_max();
    world.run_for(kMeasuredNs);
    taken = world.committed_max() - start;
  }
  Outcome one = conclude(world);
  outcome.violations.insert(outcome.violations.end(), one.violations.begin(), one.violations.end());
  return taken;
}

// S23: below capacity everything offered is taken; above it the rest waits or is refused, and what
// is taken stays what it was.
Outcome overloaded(uint64_t seed) {
  Outcome outcome;
  const uint64_t capacity = taken(seed, 1 * kUs, outcome);
  outcome.constructed = capacity > 0;
  for (const uint64_t percent : {10u, 50u, 100u, 150u, 300u}) {
    const uint64_t offered = capacity * percent / 100;
    const uint64_t pace_ns = kMeasuredNs * kClients * kPerTurn / std::max<uint64_t>(offered, 1);
    const uint64_t got = taken(seed, pace_ns, outcome);
    const uint64_t due = std::min(offered, capacity);
    if (got * 10 < due * 7) {
      outcome.violations.push_back({"S23", "at " + std::to_string(percent) +
                                               " % of the capacity of " + std::to_string(capacity) +
                                               " only " + std::to_string(got) + " are taken"});
    }
  }
  return outcome;
}

TEST(S23, ThroughputStaysWhenMoreIsOfferedThanCanBeTaken) {
  EXPECT_EQ(over_seeds(1, 8, overloaded).constructed, 8u);
}

}  // namespace
}  // namespace caisson::simtest
