// SPDX-License-Identifier: BSD-3-Clause
// R17: other quorum systems than majorities. What commits meets what elects, and nothing more is
// needed.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr log::QuorumSystem kTwo{2};
constexpr log::QuorumSystem kAll{log::QuorumSystem::kAll};

// Two of five copies commit. Those two die; the three that are left are a majority, and know
// nothing of what was acknowledged.
Outcome two_of_five(uint64_t seed) {
  WorldOptions o = quiet_world(seed, 5);
  o.quorum = kTwo;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  if (leader == 0) return conclude(world);
  const auto others = script.others(leader);
  for (size_t i = 1; i < others.size(); ++i) {
    world.fabric().hold(ReplicaId{leader}, ReplicaId{others[i]}, script.tail(leader));
  }
  const bool acknowledged = script.append_acknowledged(leader);
  if (!acknowledged) world.breach("R17", "two copies of five do not commit: " + world.describe());
  const Death how = seed % 2 == 0 ? Death::process : Death::power;
  world.kill(leader, how);
  world.kill(others[0], how);
  script.release_all(leader);
  // The lines that were on their way are lost with the power, or arrive: both may be.
  world.run_for(60 * kMs);
  const uint8_t back = seed % 4 < 2 ? leader : others[0];
  world.start(back);
  script.await_service();
  world.start(leader);
  world.start(others[0]);
  return conclude(world, acknowledged);
}

TEST(R17, WhoeverIsElectedFindsWhatFewCopiesCommitted) {
  const Outcome sum = over_seeds(1, 24, two_of_five);
  EXPECT_GT(sum.constructed, 20u);
}

// Both copies of two commit: whichever replica is left has everything, and nothing is acknowledged
// that only one of them has.
Outcome all_of_two(uint64_t seed) {
  WorldOptions o = quiet_world(seed, 2);
  o.quorum = kAll;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  if (leader == 0 || !script.append_acknowledged(leader)) return conclude(world);
  const uint8_t other = static_cast<uint8_t>(3 - leader);
  world.kill(other, Death::power);
  const uint64_t alone = script.append(leader);
  world.run_for(20 * kMs);
  if (script.acknowledged(alone)) world.breach("R17", "one copy of two commits");
  world.kill(leader, Death::power);
  world.start(other);
  world.run_for(20 * kMs);
  world.start(leader);
  const uint8_t next = script.await_service();
  return conclude(world, next != 0);
}

TEST(R17, WhereAllCommitOneElects) {
  const Outcome sum = over_seeds(1, 16, all_of_two);
  EXPECT_EQ(sum.constructed, 16u);
}

// One of five was created to elect by majorities, the others to commit by two copies. Those two
// die, and it would find three votes. (That it could not serve even then is the chain's doing: its
// log begins with another founding entry, for which the judge of histories is not made either.)
void one_counts_otherwise(uint64_t seed, int& constructed) {
  WorldOptions o = quiet_world(seed, 5);
  o.quorum = kTwo;
  o.odd = 5;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  if (leader == 0 || leader == o.odd) return;
  const uint8_t holder = static_cast<uint8_t>(leader % 4 + 1);
  for (const uint8_t id : script.others(leader)) {
    if (id != holder) world.fabric().hold(ReplicaId{leader}, ReplicaId{id}, script.tail(leader));
  }
  if (!script.append_acknowledged(leader)) return;
  const Position held = script.tail_position(holder);
  const Death how = seed % 2 == 0 ? Death::process : Death::power;
  world.kill(leader, how);
  world.kill(holder, how);
  script.release_all(leader);
  world.run_for(60 * kMs);
  EXPECT_EQ(world.machine(o.odd).replica->status().elections, 0u)
      << "R17 violated: it is elected by other quorums, seed " << seed;
  EXPECT_EQ(world.leader(), 0) << "R17 violated: it leads by other quorums, seed " << seed;
  world.start(holder);
  world.start(leader);  // all four are needed, and suffice
  const uint8_t next = script.await_service();
  EXPECT_NE(next, o.odd) << "seed " << seed;
  EXPECT_TRUE(next != 0 && script.tail_position(next) > held) << "LIVE violated, seed " << seed;
  ++constructed;
}

TEST(R17, WhoWasCreatedToCountOtherwiseCountsForNothing) {
  int constructed = 0;
  for (uint64_t seed = 1; seed <= 24 && !HasFailure(); ++seed) {
    one_counts_otherwise(seed, constructed);
  }
  EXPECT_TRUE(HasFailure() || constructed > 16);
}

// Random days of every system.
Outcome random_day(uint64_t seed) {
  constexpr log::QuorumSystem kSystems[] = {{2}, {3}, kAll, {2}, {4}};
  return swarm_run(seed, kSystems[seed % 5]);
}

TEST(R17, EveryInvariantHoldsInEveryQuorumSystem) {
  const Outcome sum = over_seeds(1, 40, random_day);
  EXPECT_GT(sum.committed, 0u);
  EXPECT_GT(sum.elections, 40u);
}

}  // namespace
}  // namespace caisson::simtest
