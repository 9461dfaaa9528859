// SPDX-License-Identifier: BSD-3-Clause
// H1, H1', H3, H4, H5, H6, H9, H11, H16: divergent suffixes, late writes, leftovers; each history
// built by hand.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint64_t kEntryBytes = 64 + 128;  // of a payload of 100 bytes

// H1: the entry at some position is lost on the way to the followers, its successors arrive; the
// leader dies.
Outcome hole_below_the_tail(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t id = script.await_leader();
  for (int i = 0; i < 3; ++i) script.append_acknowledged(id);
  script.hold_all(id, script.tail(id));
  script.append(id);
  const Offset behind = script.tail(id);
  for (int i = 0; i < 3; ++i) script.append(id);
  world.run_for(50 * kUs);
  for (const uint8_t other : script.others(id)) {
    if (world.random().permille(800)) {
      world.fabric().land_now(ReplicaId{id}, ReplicaId{other},
                              [&](Offset at) { return at >= behind; });
    }
  }
  world.run_for(20 * kUs);
  world.kill(id, world.random().permille(500) ? Death::process : Death::power);
  script.release_all(id);
  const uint8_t next = script.await_leader();
  if (next != 0) {
    script.append_acknowledged(next);
    script.append_acknowledged(next);
  }
  world.start(id);
  return conclude(world);
}

TEST(H1, NothingAboveAHoleIsEverExposed) { over_seeds(1, 40, hole_below_the_tail); }

// H1': X stands on the dead leader and is on its way to another; the two that go on choose its
// successors without it. Then X arrives, and its owner is back while one of those that chose is
// away: X is on two of three where it comes after all, and must not be committed below them.
Outcome found_on_two_later(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t first = script.await_leader();
  for (int i = 0; i < 3; ++i) script.append_acknowledged(first);
  script.hold_all(first, script.tail(first));
  const uint64_t x = script.append(first);
  const Position at = script.tail_position(first);
  world.run_for(50 * kUs);
  world.kill(first);
  const uint8_t second = script.await_leader();
  if (second == 0) return conclude(world);
  bool chosen = true;
  for (int i = 0; i < 4; ++i) chosen = script.append_acknowledged(second) && chosen;
  const Term term = world.machine(second).replica->log().term_at(at);
  script.release_all(first);
  world.run_for(500 * kUs);
  world.kill(second, seed % 2 == 0 ? Death::process : Death::power);
  world.start(first);
  const uint8_t third = script.await_service();
  if (third == 0) return conclude(world);
  if (world.machine(third).replica->log().term_at(at) != term) {
    world.breach("I2", "the history that was chosen is not that of the later leader");
  }
  if (script.acknowledged(x))
    world.breach("I5", "X is acknowledged though others are in its place");
  world.start(second);
  return conclude(world, chosen && term != Term{});
}

TEST(H1Prime, WhatWasPassedOverIsNotCommittedBelowItsSuccessors) {
  const Outcome sum = over_seeds(1, 24, found_on_two_later);
  EXPECT_EQ(sum.constructed, 24u);
  EXPECT_GT(sum.lines_refused, 0u);
}

// H1, H15: lines come late and in any order while others are reported; then the power goes.
Outcome late_lines(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.fabric.scatter_permille = 900;
  o.fabric.late_permille = 60;
  o.fabric.late_ns_max = 300 * kUs;
  o.fabric.early_placed_permille = 900;
  World world(o);
  Script script(world);
  ClientOptions c;
  c.pace_ns = 8 * kUs;
  c.replicated_permille = 300;
  add_clients(world, 3, c);
  for (int round = 0; round < 3; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().between(200, 2000) * kUs);
    if (seed % 2 == 0) {
      world.power_cut_all();
    } else {
      world.kill(id);
      world.run_for(world.random().below(3 * kMs));
    }
    for (const uint8_t each : world.ids()) world.start(each);
  }
  return conclude(world);
}

TEST(H15, NoHoleBelowAnAcknowledgedEntryAfterAPowerCut) { over_seeds(1, 40, late_lines); }

// H3: a paused leader's queue drains after the next one has filled the same bytes.
Outcome zombie_queue(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t id = script.await_leader();
  script.append_acknowledged(id);
  script.hold_all(id, script.tail(id) + (world.random().permille(500) ? 0 : 64));
  for (int i = 0; i < 4; ++i) script.append(id);
  world.run_for(40 * kUs);
  world.pause(id);
  const bool taken =
      world.run_until([&] { return world.leader() != 0 && world.leader() != id; }, 40 * kMs);
  const uint8_t next = world.leader();
  for (int i = 0; taken && i < 4; ++i) script.append_acknowledged(next);
  script.release_all(id);
  world.run_for(world.random().between(100, 1000) * kUs);
  world.resume(id);
  world.run_for(kMs);
  return conclude(world);
}

TEST(H3, TheZombiesQueueDrainsIntoNothing) {
  const Outcome sum = over_seeds(1, 30, zombie_queue);
  EXPECT_GT(sum.lines_refused, 10u);
}

// H4: a new leader rewrites a divergent suffix and dies half way; valid old entries lie behind the
// tear.
Outcome torn_repair(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.fabric.scatter_permille = 1000;
  World world(o);
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  const Offset from = script.tail(a);
  script.hold_all(a, from);
  for (int i = 0; i < 4; ++i) script.append(a);
  world.run_for(60 * kUs);
  world.isolate(a);
  world.run_until([&] { return world.leader() != 0 && world.leader() != a; }, 40 * kMs);
  const uint8_t b = world.leader();
  if (b == 0 || b == a) return conclude(world);
  for (int i = 0; i < 4; ++i) script.append_acknowledged(b);
  // The repair of a's ring stops anywhere.
  world.fabric().hold(ReplicaId{b}, ReplicaId{a}, from + 64 * world.random().below(14));
  for (const uint8_t each : world.ids()) {
    if (each == a) continue;
    world.mend(each, a);
    world.mend(a, each);
  }
  world.fabric().hold(ReplicaId{b}, ReplicaId{a}, from + 64 * world.random().below(14));
  world.run_for(world.random().between(500, 3000) * kUs);
  world.kill(b, world.random().permille(500) ? Death::process : Death::power);
  if (world.random().permille(500)) world.kill(a, Death::power);
  script.release_all(b);
  world.start(a);
  script.await_service();
  world.start(b);
  return conclude(world);
}

TEST(H4, ALeftoverTailNeverContinuesANewLog) { over_seeds(1, 60, torn_repair); }

// H5: entries of one size over many laps, so that a stale one sits exactly where the next is
// expected.
Outcome previous_lap(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 128 * 1024;
  o.entry_bytes_max = 4 * 1024;
  o.fabric.scatter_permille = 700;
  o.fabric.own_persist_ns_max = 10 * kUs;
  World world(o);
  Script script(world);
  ClientOptions c;
  c.payload_max = 0;
  c.large_permille = 0;
  c.session_permille = 0;
  c.batch_permille = 0;
  c.claim_permille = 0;
  c.pace_ns = 6 * kUs;
  add_clients(world, 2, c);
  Offset end;
  for (int round = 0; round < 3; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    end = script.tail(id) + o.ring_bytes + world.random().below(o.ring_bytes / 2);
    world.run_until([&] { return world.leader() != 0 && script.tail(world.leader()) > end; },
                    40 * kMs);
    world.power_cut_all();
    for (const uint8_t each : world.ids()) world.start(each);
  }
  Outcome outcome = conclude(world);
  outcome.constructed = end.value > 2 * o.ring_bytes && outcome.committed * 64 > 2 * o.ring_bytes;
  return outcome;
}

TEST(H5, AnEntryOfThePreviousLapIsNeverTakenForTheNext) {
  const Outcome sum = over_seeds(1, 12, previous_lap);
  EXPECT_GT(sum.constructed, 6u) << "the ring hardly ever wrapped";
}

// H6, figure 8 of Raft: X of term 1 reaches a quorum under term 3; the holder of term 2 comes back.
Outcome old_term_commit(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  const Offset p = script.tail(a);
  for (const uint8_t each : world.ids()) script.hold_all(each, p);
  script.append(a);  // X
  world.run_for(100 * kUs);
  world.kill(a);
  // Somebody wins term 2, and writes its start into its own ring only.
  uint8_t c = 0;
  world.run_until(
      [&] {
        for (const uint8_t each : script.others(a)) {
          const Machine& m = world.machine(each);
          const replication::Role role = m.replica->status().role;
          if ((role == replication::Role::attaching || role == replication::Role::leader) &&
              m.replica->log().tail().end > p) {
            c = each;
          }
        }
        return c != 0;
      },
      40 * kMs);
  if (c == 0) return conclude(world);
  world.run_for(20 * kUs);
  world.kill(c);
  // Term 3: X reaches the third machine, the term's start does not.
  const auto b = static_cast<uint8_t>(6 - a - c);
  const Offset behind_x = p + kEntryBytes;
  world.fabric().hold(ReplicaId{a}, ReplicaId{b}, behind_x);
  world.fabric().hold(ReplicaId{b}, ReplicaId{a}, behind_x);
  world.start(a);
  const auto leads = [&](uint8_t id) {
    const auto role = world.machine(id).replica->status().role;
    return role == replication::Role::attaching || role == replication::Role::leader;
  };
  const auto holds_x = [&](uint8_t id) { return script.tail(id) >= behind_x; };
  world.run_until([&] { return (leads(a) || leads(b)) && holds_x(a) && holds_x(b); }, 40 * kMs);
  world.run_for(200 * kUs);
  const bool constructed = holds_x(a) && holds_x(b);
  const uint8_t l = leads(a) ? a : b;
  world.kill(l);
  for (const uint8_t each : world.ids()) script.release_all(each);
  world.start(c);
  script.await_service();
  world.start(l);
  return conclude(world, constructed);
}

TEST(H6, AnEntryOfAnOldTermIsNotCommittedByCountingAlone) {
  const Outcome sum = over_seeds(1, 30, old_term_commit);
  EXPECT_GT(sum.constructed, 10u) << "figure 8 was hardly ever built";
}

// H9: a replica's process dies, its memory goes on taking the old leader's writes; it restarts and
// answers a seal while more are on their way.
Outcome dead_owner(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  const auto others = script.others(a);
  const uint8_t b = others[0];
  script.append_acknowledged(a);
  world.kill(b);
  for (int i = 0; i < 3; ++i) script.append(a);
  world.run_for(world.random().below(30) * kUs);
  world.fabric().hold(ReplicaId{a}, ReplicaId{b}, script.tail(a));
  world.fabric().hold(ReplicaId{a}, ReplicaId{others[1]}, script.tail(a));
  for (int i = 0; i < 3; ++i) script.append(a);
  world.run_for(40 * kUs);
  world.pause(a);
  world.start(b);
  world.run_until([&] { return world.leader() != 0 && world.leader() != a; }, 60 * kMs);
  const uint8_t next = world.leader();
  for (int i = 0; next != 0 && next != a && i < 3; ++i) script.append_acknowledged(next);
  script.release_all(a);
  world.run_for(500 * kUs);
  world.resume(a);
  return conclude(world);
}

TEST(H9, ARestartedProcessShutsOutWhatItsPredecessorLetIn) {
  const Outcome sum = over_seeds(1, 30, dead_owner);
  EXPECT_GT(sum.lines_refused, 10u);
}

// H11: c holds orphans of term 1 where term 2 has committed its own; the idle mark reaches c before
// the repair does.
Outcome mark_before_repair(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t c = script.await_leader();
  script.append_acknowledged(c);
  const Offset from = script.tail(c);
  script.hold_all(c, from);
  for (int i = 0; i < 10; ++i) script.append(c);
  world.run_for(60 * kUs);
  world.isolate(c);
  world.run_until([&] { return world.leader() != 0 && world.leader() != c; }, 40 * kMs);
  const uint8_t a = world.leader();
  if (a == 0 || a == c) return conclude(world);
  for (int i = 0; i < 4; ++i) script.append_acknowledged(a);
  for (const uint8_t each : world.ids()) {
    if (each == c) continue;
    world.mend(each, c);
    world.mend(c, each);
  }
  world.fabric().hold(ReplicaId{a}, ReplicaId{c}, from);
  world.run_for(world.random().between(500, 3000) * kUs);
  world.fabric().release(ReplicaId{a}, ReplicaId{c});
  const bool constructed =
      world.machine(c).replica->status().promised == world.machine(a).replica->status().promised;
  return conclude(world, constructed);
}

TEST(H11, AMarkThatOvertakesTheRepairDeliversNoOrphan) {
  const Outcome sum = over_seeds(1, 20, mark_before_repair);
  EXPECT_GT(sum.constructed, 10u);
}

// H16: batches, cut anywhere by the leader's death; whoever adopts finds all of one or nothing.
Outcome half_a_batch(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t id = script.await_leader();
  script.append_acknowledged(id);
  const Offset from = script.tail(id);
  for (const uint8_t other : script.others(id)) {
    world.fabric().hold(ReplicaId{id}, ReplicaId{other},
                        from + kEntryBytes * world.random().between(1, 4));
  }
  for (int i = 0; i < 2; ++i) script.append_batch(id, 4);
  world.run_for(60 * kUs);
  world.kill(id, world.random().permille(500) ? Death::process : Death::power);
  const uint8_t next = script.await_leader();
  if (next != 0) {
    script.append_batch(next, 3);
    script.append_acknowledged(next);
  }
  script.release_all(id);
  world.start(id);
  return conclude(world);
}

TEST(H16, ABatchIsAdoptedWholeOrNotAtAll) { over_seeds(1, 30, half_a_batch); }

}  // namespace
}  // namespace caisson::simtest
