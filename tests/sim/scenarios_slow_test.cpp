// SPDX-License-Identifier: BSD-3-Clause
// S10, R9, R27: a replica that is alive and slow is noticed, and by policy loses its vote; S11: a
// link that is cut one way for good costs little throughput.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

// Slow, not dead: nobody is suspected for being late.
WorldOptions patient_world(uint64_t seed, uint8_t replicas, bool demotes, uint32_t voters_min) {
  WorldOptions o = quiet_world(seed, replicas);
  o.ring_bytes = 128 * 1024;
  o.suspect_after_ns = 100 * kMs;
  o.fault_after_ns = 200 * kMs;
  o.slow_after_ns = 2 * kMs;
  o.demotes_slow = demotes;
  o.demote_after_ns = 4 * kMs;
  o.voters_min = voters_min;
  return o;
}

// None of them waits for every voter.
void add_busy_clients(World& world) {
  ClientOptions c;
  c.pace_ns = 5 * kUs;
  c.window = 32;
  c.session_permille = 0;
  c.all_permille = 0;
  add_clients(world, 2, c);
}

bool called_slow(World& world, uint8_t leader, uint8_t id) {
  std::array<replication::PeerStatus, kReplicaIdMax> peers;
  const size_t count = world.machine(leader).replica->peers(peers);
  for (size_t i = 0; i < count; ++i) {
    if (peers[i].id == ReplicaId{id}) return peers[i].slow;
  }
  return false;
}

bool grows_by(World& world, Script& script, uint64_t bytes, uint64_t within_ns) {
  const uint8_t leader = world.leader();
  if (leader == 0) return false;
  const Offset end = script.tail(leader) + bytes;
  return world.run_until(
      [&] {
        const uint8_t id = world.leader();
        return id != 0 && script.tail(id) > end;
      },
      within_ns);
}

// Reported within bounded time, and so is its recovery. By this policy appends wait for it.
Outcome reported(uint64_t seed) {
  World world(patient_world(seed, 3, false, 2));
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_busy_clients(world);
  const uint8_t slow = script.others(leader)[0];
  world.run_for(5 * kMs);
  if (called_slow(world, leader, slow)) world.breach("R27", "a healthy replica is called slow");
  world.machine(slow).slowness = 500 + 500 * (seed % 3);
  const bool told = world.run_until([&] { return called_slow(world, leader, slow); }, 60 * kMs);
  if (!told) world.breach("R27", "a slow replica goes unnoticed: " + world.describe());
  if (!grows_by(world, script, world.options().ring_bytes, 150 * kMs)) {
    world.breach("LIVE", "a slow replica stops the others: " + world.describe());
  }
  if (!world.view().voters.has(ReplicaId{slow})) world.breach("R9", "it lost its vote");
  world.machine(slow).slowness = 1;
  const bool well = world.run_until([&] { return !called_slow(world, leader, slow); }, 60 * kMs);
  if (!well) world.breach("R27", "its recovery goes unnoticed: " + world.describe());
  return conclude(world, told && well);
}

TEST(R27, ASlowReplicaIsReportedAndSoIsItsRecovery) {
  EXPECT_GE(over_seeds(1, 12, reported).constructed, 12u);
}

// Loses its vote, holds up nobody, and is made a voter again once it is well.
Outcome demoted(uint64_t seed) {
  World world(patient_world(seed, 3, true, 2));
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_busy_clients(world);
  const uint8_t slow = script.others(leader)[0];
  world.run_for(2 * kMs);
  const Offset start = script.tail(leader);
  world.run_for(10 * kMs);
  const uint64_t healthy_bytes = script.tail(leader) - start;
  if (world.view().voters.count() != 3) world.breach("R9", "a healthy replica lost its vote");
  world.machine(slow).slowness = 1000;
  const bool out = world.run_until(
      [&] { return world.view().settled() && world.view().learners.has(ReplicaId{slow}); },
      100 * kMs);
  if (!out) world.breach("R9", "a slow replica keeps its vote: " + world.describe());
  // It is in nobody's way: many laps of the ring in the time of a few of its turns.
  if (!grows_by(world, script, 3 * healthy_bytes, 60 * kMs)) {
    world.breach("LIVE", "a learner slows the voters: " + world.describe());
  }
  world.machine(slow).slowness = 1;
  uint64_t next_ns = 0;
  const bool back = world.run_until(
      [&] {
        if (world.view().settled() && world.view().voters.count() == 3) return true;
        if (world.now() >= next_ns) {
          next_ns = world.now() + 500 * kUs;
          (void)world.change({.add = just(ReplicaId{slow})});
        }
        return false;
      },
      100 * kMs);
  if (!back) world.breach("LIVE", "it does not become a voter again: " + world.describe());
  return conclude(world, out && back);
}

TEST(S10, ASlowReplicaLosesItsVoteByPolicyAndComesBack) {
  EXPECT_GE(over_seeds(1, 12, demoted).constructed, 12u);
}

// Two of five are slow, and four are the least: one of them keeps its vote, and appends wait.
Outcome not_below_the_minimum(uint64_t seed) {
  World world(patient_world(seed, 5, true, 4));
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_busy_clients(world);
  const auto others = script.others(leader);
  world.machine(others[0]).slowness = 1000;
  world.machine(others[1]).slowness = 1000;
  const bool out = world.run_until([&] { return world.view().voters.count() == 4; }, 100 * kMs);
  if (!out) world.breach("R9", "no slow replica loses its vote: " + world.describe());
  world.run_until([&] { return world.view().voters.count() < 4; }, 60 * kMs);
  if (world.view().voters.count() < 4) {
    world.breach("R9", "fewer voters than the least allowed");
  }
  return conclude(world, out);
}

TEST(S10, NeverFewerVotersThanTheLeastAllowed) {
  EXPECT_GE(over_seeds(1, 8, not_below_the_minimum).constructed, 8u);
}

// One of three is dead. The slow one is needed: without its vote the others could not go on.
Outcome needed_all_the_same(uint64_t seed) {
  World world(patient_world(seed, 3, true, 2));
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_busy_clients(world);
  const auto others = script.others(leader);
  world.run_for(2 * kMs);
  world.kill(others[0]);
  world.machine(others[1]).slowness = 1000;
  const bool slow =
      world.run_until([&] { return called_slow(world, leader, others[1]); }, 80 * kMs);
  world.run_for(80 * kMs);
  if (!world.view().settled() || !world.view().voters.has(ReplicaId{others[1]})) {
    world.breach("R9", "who is needed for a majority was to lose its vote: " + world.describe());
  }
  world.start(others[0]);
  return conclude(world, slow);
}

TEST(S10, WhoIsNeededForAMajorityKeepsItsVote) {
  EXPECT_GT(over_seeds(1, 8, needed_all_the_same).constructed, 0u);
}

// S11: one direction of one link is cut for good, its data, its control messages, or both; all else
// is healthy. At least half of what was appended before is appended then, while there is room: a
// voter that is not heard holds the trim.
Outcome one_way(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 4 * 1024 * 1024;
  o.fabric.death_notices = false;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_busy_clients(world);
  world.run_for(5 * kMs);
  const uint64_t start = world.committed_max();
  world.run_for(20 * kMs);
  const uint64_t healthy = world.committed_max() - start;
  const uint8_t other = script.others(leader)[0];
  const bool from_leader = seed % 2 == 0;
  const bool data = seed % 3 != 0;
  const bool control = seed % 3 != 1;
  world.cut(from_leader ? leader : other, from_leader ? other : leader, data, control);
  world.run_for(10 * kMs);
  const uint64_t cut = world.committed_max();
  world.run_for(20 * kMs);
  const uint64_t under_fault = world.committed_max() - cut;
  if (under_fault * 2 < healthy) {
    world.breach("R29", "only " + std::to_string(under_fault) + " entries instead of " +
                            std::to_string(healthy) + " with one link cut one way");
  }
  uint64_t terms = 0;
  for (const Event& e : world.history()) terms += e.what == What::lead;
  if (terms > 4) world.breach("R29", std::to_string(terms) + " terms because of one link");
  return conclude(world, healthy > 0);
}

TEST(S11, ALinkCutOneWayLeavesHalfOfTheThroughput) {
  EXPECT_GE(over_seeds(1, 24, one_way).constructed, 24u);
}

}  // namespace
}  // namespace caisson::simtest
