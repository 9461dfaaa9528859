// SPDX-License-Identifier: BSD-3-Clause
// S4, S5: power lost at every persistence point, of the append, seal, trim and recovery paths, and
// again during recovery.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "core/log/superblock_format.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

WorldOptions small_world(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.auto_apply = seed % 2 == 0;
  // Slow to persist, so that much is visible and not yet persistent.
  o.fabric.persist_ns_max = 20 * kUs;
  o.fabric.own_persist_ns_max = 20 * kUs;
  o.fabric.early_placed_permille = 800;
  return o;
}

void start_all(World& world) {
  for (const uint8_t id : world.ids()) world.start(id);
}

// The point is the `k`-th step of machine `id` since `from_ns`: stores, flushes, fences and fabric
// calls.
Outcome cut_at(uint64_t seed, uint64_t k, bool all) {
  World world(small_world(seed));
  ClientOptions c;
  c.pace_ns = 8 * kUs;
  c.session_permille = 0;
  add_clients(world, 2, c);
  Script script(world);
  const auto id = static_cast<uint8_t>(1 + seed % 3);
  // Elections, appends and trims all lie within the next steps.
  world.kill_at(id, "", k, all ? Death::power_all : Death::power);
  world.run_for(4 * kMs);
  if (world.machine(id).up()) world.kill(id, all ? Death::power_all : Death::power);
  world.run_for(world.random().below(kMs));
  start_all(world);
  world.run_for(2 * kMs);
  return conclude(world);
}

TEST(S4, WhatWasAcknowledgedSurvivesAPowerCutAtEveryPoint) {
  // Every step of the first 240, then ever wider apart, on each of the three machines.
  const Outcome sum = over_seeds(1, 300, [](uint64_t seed) {
    const uint64_t k = seed <= 240 ? seed : 240 + (seed - 240) * (seed - 240) / 2;
    return cut_at(seed, k, seed % 4 != 0);
  });
  EXPECT_GT(sum.committed, 300u);
}

// A follower's cursor moves on over entries that its leader has yet to make persistent there.
Outcome cursor_ahead_of_its_leader(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world);
  const uint8_t follower = script.others(leader)[0];
  const uint64_t usual_ns = std::exchange(world.fabric().options().persist_ns_max, 100 * kMs);
  for (int i = 0; i < 3; ++i) script.append(leader);
  world.run_for(2 * kMs);
  Machine& m = world.machine(follower);
  const auto bytes = m.region->read_superblock();
  const auto superblock = log::decode_superblock(bytes ? *bytes : std::vector<std::byte>());
  const bool ahead = superblock && superblock->validated.end == script.tail(leader);
  world.kill(follower, Death::power);
  world.start(follower);
  if (m.up() && m.replica->status().role == replication::Role::damaged) {
    world.breach("P24", "a power cut has made damage of what a cursor was persisted over");
  }
  world.fabric().options().persist_ns_max = usual_ns;
  return conclude(world, ahead);
}

TEST(P24, ACursorIsPersistedWithWhatItCovers) {
  EXPECT_GT(over_seeds(1, 20, cursor_ahead_of_its_leader).constructed, 15u);
}

// S4: recovery repeated any number of times finds the same log.
TEST(S4, RecoveryRepeatedGivesTheSameLog) {
  over_seeds(1, 15, [](uint64_t seed) {
    World world(small_world(seed));
    add_clients(world, 2);
    world.run_for(world.random().between(1, 6) * kMs);
    world.power_cut_all();
    const auto id = static_cast<uint8_t>(1 + seed % 3);
    std::vector<std::byte> ring;
    log::Cursor tail;
    for (int again = 0; again < 4; ++again) {
      if (!world.start(id)) break;
      Machine& m = world.machine(id);
      const std::vector<std::byte> now(m.region->ring_data(),
                                       m.region->ring_data() + world.options().ring_bytes);
      if (again > 0 && (now != ring || m.replica->log().tail() != tail)) {
        world.breach("R16", "recovery " + std::to_string(again) + " finds another log");
      }
      ring = now;
      tail = m.replica->log().tail();
      world.kill(id, again % 2 == 0 ? Death::process : Death::power);
    }
    start_all(world);
    return conclude(world);
  });
}

// S5: power is lost again while recovering, and again.
Outcome cut_in_recovery(uint64_t seed) {
  World world(small_world(seed));
  ClientOptions c;
  c.pace_ns = 8 * kUs;
  add_clients(world, 2, c);
  for (int round = 0; round < 3; ++round) {
    world.run_for(world.random().between(500, 4000) * kUs);
    world.power_cut_all();
    for (int again = 0; again < 4; ++again) {
      for (const uint8_t id : world.ids()) {
        if (world.machine(id).up()) continue;
        world.kill_at(id, "", world.random().between(1, 60),
                      world.random().permille(300) ? Death::power_all : Death::power);
        world.start(id);
      }
      world.run_for(world.random().below(2 * kMs));
    }
    for (const uint8_t id : world.ids()) world.machine(id).plan = {};
    start_all(world);
  }
  return conclude(world);
}

TEST(S5, PowerLostDuringRecoveryLosesNothing) { over_seeds(1, 60, cut_in_recovery); }

}  // namespace
}  // namespace caisson::simtest
