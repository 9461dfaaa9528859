// SPDX-License-Identifier: BSD-3-Clause
// S12: one of the two planes dies, the other does not. S23: more is offered than can be taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

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
  EXPECT_GE(over_seeds(1, 16, control_plane_dead).constructed, 16u);
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
  EXPECT_GE(over_seeds(1, 16, data_plane_dead).constructed, 16u);
}

constexpr uint32_t kClients = 4;
constexpr uint32_t kPerTurn = 4;
constexpr uint64_t kMeasuredNs = 20 * kMs;

// What is committed in `kMeasuredNs` when every client asks for `kPerTurn` appends every `pace_ns`,
// after as long at that pace as a ring takes to fill several times.
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

struct Load {
  uint64_t offered = 0;
  uint64_t taken = 0;
};

// S23: below capacity everything offered is taken; above it the rest waits or is refused, and what
// is taken stays what it was: appends never take the room that a trim needs. The capacity is the
// most that is taken at any load, so that one which more load breaks is known from the load before.
Outcome overloaded(uint64_t seed) {
  Outcome outcome;
  std::vector<Load> loads;
  uint64_t capacity = 0;
  for (uint64_t pace_ns = 128 * kUs; pace_ns >= 2 * kUs; pace_ns /= 2) {
    const uint64_t offered = kMeasuredNs * kClients * kPerTurn / pace_ns;
    loads.push_back({offered, taken(seed, pace_ns, outcome)});
    capacity = std::max(capacity, loads.back().taken);
  }
  for (const Load& load : loads) {
    if (load.taken * 10 >= std::min(load.offered, capacity) * 7) continue;
    outcome.violations.push_back({"S23", "where " + std::to_string(load.offered) +
                                             " are offered, only " + std::to_string(load.taken) +
                                             " are taken; the capacity is " +
                                             std::to_string(capacity)});
  }
  // From a tenth of the capacity to three times as much.
  outcome.constructed =
      loads.front().offered * 10 <= capacity && loads.back().offered >= capacity * 3;
  return outcome;
}

TEST(S23, ThroughputStaysWhenMoreIsOfferedThanCanBeTaken) {
  EXPECT_GE(over_seeds(1, 6, overloaded).constructed, 6u);
}

}  // namespace
}  // namespace caisson::simtest
