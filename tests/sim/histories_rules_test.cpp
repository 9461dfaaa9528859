// SPDX-License-Identifier: BSD-3-Clause
// Rules whose breach needs a history of its own: P2, P3, P14, P23, P26.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint64_t kEntryBytes = 64 + 128;  // of a payload of 100 bytes

// P23: every control message comes twice, half of them late. A grant request that comes again must
// cut nothing that was counted since.
Outcome messages_come_again(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.message_twice_permille = 1000;
  o.message_late_permille = 500;
  o.message_late_ns_max = 1500 * kUs;
  World world(o);
  Script script(world);
  for (int round = 0; round < 5; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    // Only one follower has what is acknowledged next.
    const std::vector<uint8_t> others = script.others(id);
    world.cut(id, others[0], true, false);
    for (uint64_t i = world.random().between(3, 9); i > 0; --i) {
      script.append_acknowledged(id);
      world.run_for(world.random().below(200 * kUs));
    }
    world.kill(id);
    world.mend(id, others[0]);
    script.await_service();
    world.start(id);
    world.run_for(2 * kMs);
  }
  return conclude(world);
}

TEST(P23, AGrantRequestThatComesAgainCutsNothing) { over_seeds(1, 40, messages_come_again); }

// P23: c answers a candidate whose log ends in its own last term, and lets it in behind its tail.
// The candidate then adopts a third log, of a later term, that parts from c's below that tail: the
// grant is none for writing there.
Outcome granted_behind_what_is_not_chosen(uint64_t seed) {
  World world(quiet_world(seed, 5));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  const uint8_t c = script.others(a)[0];
  for (const uint8_t id : world.ids()) {
    if (id != a && id != c) world.fabric().hold(ReplicaId{a}, ReplicaId{id}, script.tail(a));
  }
  for (int i = 0; i < 4; ++i) script.append(a);
  world.run_for(60 * kUs);
  world.isolate(c);
  world.kill(a);
  script.release_all(a);
  const auto of_three = [&](uint8_t id) { return id != a && id != c; };
  uint8_t d = 0;
  for (const uint8_t id : world.ids()) {
    if (of_three(id)) script.hold_all(id);
  }
  world.run_until(
      [&] {
        for (const uint8_t id : world.ids()) {
          if (of_three(id) &&
              world.machine(id).replica->status().role == replication::Role::attaching)
            d = id;
        }
        return d != 0;
      },
      100 * kMs);
  if (d == 0) return conclude(world);
  world.run_for(40 * kUs);
  world.kill(d);  // its term start is in its own ring, and nowhere else
  // The other two ask, in vain; with d there they are enough.
  const auto asks = [&](uint8_t id) {
    return of_three(id) && id != d &&
           world.machine(id).replica->status().role == replication::Role::asking;
  };
  world.run_until(
      [&] {
        const auto ids = world.ids();
        return std::any_of(ids.begin(), ids.end(), asks);
      },
      100 * kMs);
  for (const uint8_t id : world.ids()) {
    if (of_three(id)) script.release_all(id);
    if (id != c) world.mend(id, c), world.mend(c, id);
  }
  world.start(d);
  // Neither is to be the next candidate, and c is to answer it last.
  world.machine(d).slowness = 20;
  world.machine(c).slowness = 100;
  const uint8_t next = script.await_leader();
  world.run_for(2 * kMs);
  world.machine(d).slowness = world.machine(c).slowness = 1;
  world.run_for(20 * kMs);
  const bool constructed =
      next != 0 && next != c && next != d && world.machine(c).replica->status().repairs > 0;
  if (next == 0) return conclude(world);
  // What is acknowledged now is at `next`, a and c; then c's copy is the only one.
  world.start(a);
  world.run_for(5 * kMs);
  for (const uint8_t id : world.ids()) {
    if (of_three(id) && id != next) world.isolate(id);
  }
  for (int i = 0; i < 3; ++i) script.append_acknowledged(next);
  world.kill(next);
  world.kill(a);
  for (const uint8_t id : world.ids()) {
    for (const uint8_t other : world.ids()) {
      if (id != other) world.mend(id, other);
    }
  }
  script.await_service();
  return conclude(world, constructed);
}

TEST(P23, AGrantGivenAlongIsForItsOwnDivergenceOnly) {
  const Outcome sum = over_seeds(1, 60, granted_behind_what_is_not_chosen);
  EXPECT_GT(sum.constructed, 10u);
}

// P26: b has a hole with old entries behind it; repair fills the hole with the very bytes that were
// lost, and the old entries chain before the new leader's own have landed.
Outcome leftovers_behind_a_filled_hole(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  const std::vector<uint8_t> others = script.others(a);
  const uint8_t b = others[0];
  const uint8_t c = others[1];
  const Offset hole = script.tail(a);
  const Offset behind = hole + kEntryBytes;
  world.fabric().hold(ReplicaId{a}, ReplicaId{b}, hole);
  world.fabric().hold(ReplicaId{a}, ReplicaId{c}, behind);
  world.fabric().hold(ReplicaId{c}, ReplicaId{b}, behind);
  for (int i = 0; i < 6; ++i) script.append(a);
  world.run_for(50 * kUs);
  world.fabric().land_now(ReplicaId{a}, ReplicaId{b}, [&](Offset at) { return at >= behind; });
  world.run_for(20 * kUs);
  world.kill(a);
  script.release_all(a);
  world.run_until([&] { return world.machine(b).replica->log().tail().end >= behind; }, 20 * kMs);
  world.run_for(world.random().below(60 * kUs));
  const bool constructed = script.tail(b) > behind && script.tail(c) <= behind + kEntryBytes;
  world.fabric().release(ReplicaId{c}, ReplicaId{b});
  const uint8_t next = script.await_service();
  if (next != 0) world.kill(next);
  world.start(a);
  script.await_service();
  if (next != 0) world.start(next);
  return conclude(world, constructed);
}

TEST(P26, WhatChainsBehindAFilledHoleIsALeftover) {
  const Outcome sum = over_seeds(1, 60, leftovers_behind_a_filled_hole);
  EXPECT_GT(sum.constructed, 3u);
}

// A longer log of an older term against a shorter one that holds what was acknowledged.
Outcome longer_but_older(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  script.hold_all(a, script.tail(a));
  for (int i = 0; i < 12; ++i) script.append(a);
  world.run_for(60 * kUs);
  world.kill(a, Death::power);
  script.release_all(a);
  const uint8_t b = script.await_service();
  if (b != 0) world.kill(b);
  world.start(a);
  script.await_service();
  if (b != 0) world.start(b);
  return conclude(world);
}

TEST(P3, TheLastTermWinsNotTheLongestLog) { over_seeds(1, 30, longer_but_older); }

// What a seal answers for is persistent: entries that were visible, and not yet flushed, are
// adopted, and must outlive a power cut at whoever answered.
Outcome unflushed_at_the_seal(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  const std::vector<uint8_t> others = script.others(a);
  const uint8_t b = others[0];
  const uint8_t c = others[1];
  world.fabric().hold(ReplicaId{a}, ReplicaId{c}, script.tail(a));
  for (int i = 0; i < 3; ++i) script.append(a);
  world.run_for(world.random().between(1, 12) * kUs);
  world.kill(a, Death::power);
  script.release_all(a);
  script.await_service();
  world.kill(c);
  world.kill(b, Death::power);
  world.start(a);
  world.start(b);
  script.await_service();
  world.start(c);
  return conclude(world);
}

TEST(P2, WhatASealAnswersForOutlivesThePower) { over_seeds(1, 120, unflushed_at_the_seal); }

// A follower comes back with an older commit mark. Repair starts at what both hold, not at that
// mark: what lies between was acknowledged, and may be nowhere else.
Outcome back_with_an_older_mark(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.kill(a);
  const uint8_t b = script.await_leader();
  if (b == 0) return conclude(world);
  const uint8_t c = static_cast<uint8_t>(6 - a - b);
  world.run_for(kMs);
  const Offset from = script.tail(b);
  for (int i = 0; i < 5; ++i) script.append_acknowledged(b);
  world.kill(c);
  world.fabric().hold(ReplicaId{b}, ReplicaId{c}, from);
  world.start(c);
  world.run_for(world.random().between(500, 2500) * kUs);
  world.kill(b);
  world.fabric().release(ReplicaId{b}, ReplicaId{c});
  world.start(a);
  script.await_service();
  world.start(b);
  return conclude(world);
}

TEST(P14, RepairStartsAtTheDivergence) { over_seeds(1, 30, back_with_an_older_mark); }

}  // namespace
}  // namespace caisson::simtest
