// SPDX-License-Identifier: BSD-3-Clause
// R31 and P19: linearizable reads, each way, and every moment at which one must not be answered.
#include <gtest/gtest.h>

#include <optional>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr ReadPath kPaths[] = {ReadPath::log, ReadPath::leader, ReadPath::proof};

// A read, and what came of it.
class Read {
 public:
  Read(World& world, uint8_t id, ReadPath path, uint64_t timeout_ns)
      : point_(std::make_shared<std::optional<replication::ReadPoint>>()) {
    world.read(id, path, timeout_ns, [point = point_](const auto& answer) { *point = answer; });
  }
  bool answered() const { return point_->has_value(); }
  bool ok() const { return answered() && (*point_)->code == Code::ok; }
  Code code() const { return answered() ? (*point_)->code : Code::not_yet; }

 private:
  std::shared_ptr<std::optional<replication::ReadPoint>> point_;
};

void apart(World& world, uint8_t a, uint8_t b, bool data = true, bool control = true) {
  world.cut(a, b, data, control);
  world.cut(b, a, data, control);
}

// Everybody, each way, while clients append; after each read the judge compares.
Outcome three_ways(uint64_t seed) {
  WorldOptions o = quiet_world(seed, seed % 2 == 0 ? 5 : 3);
  o.spares = 1;
  World world(o);
  Script script(world);
  add_clients(world, 2);
  if (script.await_service() == 0) return conclude(world);
  const ReplicaSet learner = just(ReplicaId{static_cast<uint8_t>(o.replicas + 1)});
  for (int i = 0; i < 100 && world.view().learners != learner; ++i) {
    (void)world.change({.learn = learner});
    world.run_for(100 * kUs);
  }
  world.run_for(3 * kMs);
  uint64_t answered = 0;
  for (const uint8_t id : world.ids()) {
    for (const ReadPath path : kPaths) {
      const Read read(world, id, path, 20 * kMs);
      world.run_until([&] { return read.answered(); }, 30 * kMs);
      if (!read.ok()) {
        world.breach("LIVE", "replica " + std::to_string(id) + " answers no read, path " +
                                 std::to_string(static_cast<int>(path)) + ": " +
                                 std::string(name(read.code())));
      }
      answered += read.ok();
    }
  }
  Outcome outcome = conclude(world);
  outcome.reads = answered;
  return outcome;
}

TEST(R31, EveryReplicaReadsEachWay) {
  const Outcome sum = over_seeds(1, 20, three_ways);
  EXPECT_GE(sum.reads, 20u * 12);
}

// Many that read through the log together cost few entries of it.
TEST(R31, ReadersThroughTheLogShareAnEntry) {
  World world(quiet_world(5));
  Script script(world);
  const uint8_t leader = script.await_service();
  ASSERT_NE(leader, 0);
  world.run_for(kMs);
  const uint64_t before = world.committed_max();
  std::vector<Read> reads;
  for (int i = 0; i < 200; ++i) {
    reads.emplace_back(world, static_cast<uint8_t>(1 + i % 3), ReadPath::log, 20 * kMs);
  }
  EXPECT_TRUE(world.run_until(
      [&] { return std::all_of(reads.begin(), reads.end(), [](auto& r) { return r.ok(); }); },
      30 * kMs));
  EXPECT_LE(world.committed_max(), before + 6);
  expect_sound(conclude(world), 5);
}

// S20, P19: stopped while it leads; others elect, and acknowledge; then it goes on and is asked
// before it has looked at anything.
Outcome deposed_leader_is_asked(uint64_t seed) {
  World world(quiet_world(seed, seed % 2 == 0 ? 5 : 3));
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  world.pause(old);
  if (!world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 40 * kMs)) {
    world.breach("LIVE", "nobody takes over from a paused leader");
    return conclude(world);
  }
  const bool constructed = script.append_acknowledged(world.leader());
  // Of those who have promised anew it reaches only some.
  const auto others = script.others(old);
  const size_t far = world.random().below(others.size());
  for (size_t i = 0; i < far; ++i) apart(world, old, others[i]);
  world.resume(old);
  std::vector<Read> reads;
  for (const ReadPath path : kPaths) reads.emplace_back(world, old, path, 0);
  for (const ReadPath path : kPaths) reads.emplace_back(world, old, path, kMs);
  world.run_for(2 * kMs);
  return conclude(world, constructed);
}

TEST(P19, ADeposedLeaderAnswersNoRead) {
  EXPECT_GT(over_seeds(1, 40, deposed_leader_is_asked).constructed, 30u);
}

// R44, P19: a follower lacks what is acknowledged. The leader cannot be read; of the one other,
// what it lacks has rotted, or its process has found that and started anew without.
Outcome what_is_acknowledged_has_rotted(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.trims = false;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world);
  const auto others = script.others(leader);
  const uint8_t reader = others[0], rotten = others[1];
  world.run_for(3 * kMs);
  world.fabric().hold(ReplicaId{leader}, ReplicaId{reader}, script.tail(leader));
  const Offset at = script.tail(leader);
  const bool constructed = script.append_acknowledged(leader);
  world.run_for(kMs);
  apart(world, leader, reader);
  Machine& m = world.machine(rotten);
  world.wreck(rotten);
  m.region->flip_ring_bit(at + world.random().below(log::kHeaderBytes), 0);
  if (seed % 2 == 0) {
    apart(world, leader, rotten);
    world.kill(rotten, Death::process);
    world.start(rotten);
  }
  std::vector<Read> reads;
  for (int i = 0; i < 8; ++i) reads.emplace_back(world, reader, ReadPath::proof, 200 * kUs);
  world.run_for(300 * kUs);
  world.fabric().release(ReplicaId{leader}, ReplicaId{reader});
  return conclude(world, constructed);
}

TEST(P19, WhatHasRottedIsNotTheEndOfALog) {
  EXPECT_GT(over_seeds(1, 40, what_is_acknowledged_has_rotted).constructed, 30u);
}

// P19: the leader has handed over and promised the new term itself; the one other whom it can read
// was not reached by the new leader, and promises the old one still.
Outcome own_seal(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  const auto others = script.others(old);
  world.run_for(kMs);
  apart(world, others[0], others[1]);
  (void)world.hand_over(others[0]);
  bool constructed = false;
  if (world.run_until([&] { return world.leader() == others[0]; }, 10 * kMs)) {
    constructed = script.append_acknowledged(others[0]);
    apart(world, old, others[0]);
    for (const ReadPath path : kPaths) const Read read(world, old, path, 0);
    world.run_for(100 * kUs);
  }
  return conclude(world, constructed);
}

TEST(P19, TheLeadersOwnPromiseCounts) { EXPECT_GT(over_seeds(1, 20, own_seal).constructed, 10u); }

// P19, H6: what the old leader acknowledged, the new one holds, and does not know that it is
// committed until its term start is.
Outcome before_the_term_start(uint64_t seed) {
  World world(quiet_world(seed, seed % 2 == 0 ? 5 : 3));
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  world.run_for(kMs);
  const bool acknowledged = script.append_acknowledged(old);
  for (const uint8_t other : script.others(old)) {
    apart(world, old, other);  // nobody hears of the commit
    script.hold_all(other);
  }
  world.kill(old);
  const auto elected = [&]() -> uint8_t {
    for (const uint8_t id : world.ids()) {
      const Machine& m = world.machine(id);
      if (m.turns() && m.replica->status().role == replication::Role::attaching) return id;
    }
    return 0;
  };
  const bool constructed =
      acknowledged && world.run_until([&] { return elected() != 0; }, 20 * kMs);
  for (int i = 0; constructed && i < 20; ++i) {
    if (const uint8_t id = elected(); id != 0) {
      for (const ReadPath path : kPaths) const Read read(world, id, path, 0);
    }
    world.run_for(20 * kUs);
  }
  for (const uint8_t other : script.others(old)) script.release_all(other);
  return conclude(world, constructed);
}

TEST(P19, NothingIsReadBeforeTheTermStartIsCommitted) {
  EXPECT_GT(over_seeds(1, 20, before_the_term_start).constructed, 10u);
}

// P19: the leader's view is joint, and nobody else of the outgoing voters holds it: they elect
// under the one before. Those that join still promise the leader's term.
Outcome joint_view(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.spares = 2;
  World world(o);
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  world.run_for(2 * kMs);
  const auto others = [&] {
    std::vector<uint8_t> founders{1, 2, 3};
    std::erase(founders, old);
    return founders;
  }();
  MemberChange replace;
  replace.add = just(ReplicaId{4}) | just(ReplicaId{5});
  for (const uint8_t id : others) replace.remove.add(ReplicaId{id});
  const Code asked = world.change(replace);
  for (const uint8_t id : others) {
    world.fabric().hold(ReplicaId{old}, ReplicaId{id}, script.tail(old));
  }
  const Machine& m = world.machine(old);
  bool constructed =
      asked == Code::ok &&
      world.run_until([&] { return m.replica->status().membership.joint(); }, 20 * kMs);
  for (const uint8_t id : others) apart(world, old, id);
  constructed =
      constructed &&
      world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 20 * kMs) &&
      script.append_acknowledged(world.leader());
  constructed = constructed && m.replica->leading() != Term{};
  for (const ReadPath path : kPaths) const Read read(world, old, path, 0);
  world.run_for(100 * kUs);
  for (const uint8_t id : others) world.fabric().release(ReplicaId{old}, ReplicaId{id});
  return conclude(world, constructed);
}

TEST(P19, AJointViewAsksBothMajorities) {
  EXPECT_GT(over_seeds(1, 20, joint_view).constructed, 10u);
}

// P19: a follower proves it for itself. What was acknowledged lies in the others' rings, and has
// not arrived in its own.
Outcome follower_behind(uint64_t seed) {
  World world(quiet_world(seed, seed % 2 == 0 ? 5 : 3));
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world);
  world.run_for(kMs);
  const uint8_t behind = script.others(leader).front();
  world.fabric().hold(ReplicaId{leader}, ReplicaId{behind}, script.tail(leader));
  const bool acknowledged = script.append_acknowledged(leader);
  const Read early(world, behind, ReadPath::proof, 300 * kUs);
  world.run_for(500 * kUs);
  if (early.code() != Code::timed_out) {
    world.breach("I7", "a follower that is behind says " + std::string(name(early.code())));
  }
  const Read late(world, behind, ReadPath::proof, 20 * kMs);
  world.fabric().release(ReplicaId{leader}, ReplicaId{behind});
  if (!world.run_until([&] { return late.ok(); }, 30 * kMs)) {
    world.breach("LIVE", "a follower that has caught up proves nothing");
  }
  return conclude(world, acknowledged);
}

TEST(P19, AFollowerFindsWhatOnlyTheOthersHold) {
  EXPECT_GT(over_seeds(1, 30, follower_behind).constructed, 20u);
}

// P19: a follower whose leader was deposed, and who has heard nothing of it, reads the words.
Outcome follower_of_the_deposed(uint64_t seed) {
  World world(quiet_world(seed, 5));
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  world.run_for(kMs);
  const auto others = script.others(old);
  const uint8_t loyal = others[0];
  for (size_t i = 1; i < others.size(); ++i) {
    apart(world, old, others[i]);
    apart(world, loyal, others[i], false, true);  // nobody tells it; its memory can be reached
  }
  bool constructed =
      world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 20 * kMs) &&
      script.append_acknowledged(world.leader());
  constructed = constructed && world.machine(loyal).replica->status().leader == ReplicaId{old};
  for (const ReadPath path : kPaths) const Read read(world, loyal, path, 200 * kUs);
  world.run_for(kMs);
  return conclude(world, constructed);
}

TEST(P19, AFollowerOfADeposedLeaderProvesNothing) {
  EXPECT_GT(over_seeds(1, 20, follower_of_the_deposed).constructed, 5u);
}

}  // namespace
}  // namespace caisson::simtest
