// SPDX-License-Identifier: BSD-3-Clause
// S17, R44: entries that rot at rest, and pages of memory that are gone.
#include <gtest/gtest.h>

#include "core/replication/recovery.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint64_t kLongEnough = 40 * kMs;  // for a round of every scrubber, and a repair

// What was appended, lies committed between these offsets of every ring that has it.
struct Stretch {
  Offset begin;
  Offset end;
};

Stretch append_some(Script& script, uint8_t leader, int count) {
  const Offset begin = script.tail(leader);
  for (int i = 0; i < count; ++i) {
    if (!script.append_acknowledged(leader, 100 + 70 * static_cast<size_t>(i))) return {};
  }
  return {begin, script.tail(leader)};
}

// A bit of an entry, not of the zeros behind it: nobody sums those.
void rot(World& world, uint8_t id, Offset at) {
  world.machine(id).region->flip_ring_bit(at, static_cast<unsigned>(world.random().below(8)));
}

replication::ScrubStatus scrub_of(World& world, uint8_t id) {
  return world.machine(id).replica->status().scrub;
}

WorldOptions still_world(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.trims = false;  // what rots stays where it is
  return o;
}

// S17: one copy after the other rots. Each is found and copied anew before the next one goes.
Outcome one_copy_after_the_other(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t leader = script.await_leader();
  const Stretch stretch = append_some(script, leader, 8);
  if (stretch.end == Offset{}) return conclude(world, false);
  world.run_for(2 * kMs);
  // Of a header: the same one everywhere.
  const Offset victim = stretch.begin + world.random().below(log::kHeaderBytes);
  for (const uint8_t id : world.ids()) {
    rot(world, id, victim);
    world.run_for(kLongEnough);
    const replication::ScrubStatus scrub = scrub_of(world, id);
    if (scrub.findings != 1 || scrub.repaired != 1 || scrub.rotten != Position{}) {
      world.breach("R44", "replica " + std::to_string(id) + " found " +
                              std::to_string(scrub.findings) + ", repaired " +
                              std::to_string(scrub.repaired));
    }
  }
  return conclude(world, true);
}

TEST(S17, AScrubbedCopyIsRepairedBeforeTheNextOneRots) {
  const Outcome sum = over_seeds(1, 20, one_copy_after_the_other);
  EXPECT_EQ(sum.constructed, 20u);
}

// S17: two copies, of which one rots. It is repaired from the other, which then is lost for good,
// with its machine.
Outcome the_sound_copy_dies(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t leader = script.await_leader();
  world.run_for(2 * kMs);
  const auto others = script.others(leader);
  world.isolate(others[1]);
  const Stretch stretch = append_some(script, leader, 8);
  if (stretch.end == Offset{}) return conclude(world, false);
  world.run_for(2 * kMs);
  rot(world, others[0], stretch.begin + world.random().below(log::kHeaderBytes));
  world.run_for(kLongEnough);
  world.destroy(leader);
  return conclude(world, true);
}

TEST(S17, WhatWasRepairedOutlivesTheCopyItCameFrom) {
  const Outcome sum = over_seeds(1, 20, the_sound_copy_dies);
  EXPECT_EQ(sum.constructed, 20u);
}

// S17: only a deposed leader's ring can be read, and there an orphan stands in the entry's place
// and continues the same chain. It repairs nothing.
Outcome only_an_orphan_to_copy(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t old = script.await_leader();
  world.run_for(2 * kMs);
  const auto others = script.others(old);
  world.isolate(old);
  const Offset place = script.tail(old);
  script.append(old, 20);  // as long as what will stand in its place: the start of a term
  const uint8_t now = [&] {
    world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 50 * kMs);
    return world.leader();
  }();
  if (now == 0 || now == old) return conclude(world, false);
  world.run_for(2 * kMs);
  const uint8_t third = now == others[0] ? others[1] : others[0];
  // Its bytes can be read again, and nothing else.
  world.cut(now, third);
  world.cut(third, now);
  world.fabric().set_cut(ReplicaId{old}, ReplicaId{now}, false);
  world.fabric().set_cut(ReplicaId{now}, ReplicaId{old}, false);
  // A reader that comes by meanwhile is told so.
  world.record({.what = What::damage, .replica = now});
  rot(world, now, place + 8);
  const bool found = world.run_until([&] { return scrub_of(world, now).findings == 1; }, 5 * kMs);
  if (scrub_of(world, now).repaired != 0) world.breach("R44", "an orphan took an entry's place");
  world.heal();
  world.run_for(kLongEnough);
  // By its own scrubber; or it gave up the lead and its vote, and the next leader did it.
  const replication::ReplicaStatus after = world.machine(now).replica->status();
  if (after.faults != 0 || after.scrub.rotten != Position{}) {
    world.breach("R44", "was not repaired: " + world.describe());
  }
  return conclude(world, found);
}

TEST(S17, AnOrphanRepairsNothing) {
  const Outcome sum = over_seeds(1, 20, only_an_orphan_to_copy);
  EXPECT_GT(sum.constructed, 10u);
}

// P12: a leader whose own copy has rotted catches up a follower that lacks the entry. What it
// copied would be counted there, and nobody could read it.
Outcome a_rotten_copy_is_copied(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world, false);
  world.run_for(2 * kMs);
  const auto others = script.others(leader);
  const uint8_t away = others[0], sound = others[1];
  world.isolate(away);
  const Stretch stretch = append_some(script, leader, 8);
  if (stretch.end == Offset{}) return conclude(world, false);
  world.run_for(2 * kMs);
  // Nobody is there to repair it from.
  world.kill(sound, Death::power);
  world.wreck(leader);
  rot(world, leader, stretch.begin + world.random().below(log::kHeaderBytes));
  world.mend(leader, away);
  world.mend(away, leader);
  world.run_for(4 * kMs);
  const uint64_t more = script.append(leader);
  world.run_for(4 * kMs);
  const bool counted = script.acknowledged(more);
  world.kill(leader, Death::power);
  world.mend(away, sound);
  world.mend(sound, away);
  world.start(sound);
  const uint8_t now = script.await_leader();
  if (now == 0 || counted) world.breach("I6", "what nobody can read was counted as a copy");
  return conclude(world, true);
}

TEST(S17, ARottenCopyIsNotCopied) {
  const Outcome sum = over_seeds(1, 20, a_rotten_copy_is_copied);
  EXPECT_GT(sum.constructed, 15u);
}

// Followers lose their power; an entry reaches nobody but the leader, and `have` more; there it
// rots before anything commits it. Then they are back, and have to be caught up. 0: not built.
uint64_t rot_before_the_commit(World& world, Script& script, uint8_t leader, size_t have) {
  world.run_for(2 * kMs);
  const auto others = script.others(leader);
  for (size_t i = have; i < others.size(); ++i) world.kill(others[i], Death::power);
  const Offset at = script.tail(leader);
  const uint64_t more = script.append(leader);
  world.run_for(kMs);
  if (script.acknowledged(more) || script.tail(leader) == at) return 0;
  world.wreck(leader);
  rot(world, leader, at + world.random().below(log::kHeaderBytes));
  for (size_t i = have; i < others.size(); ++i) world.start(others[i]);
  return more;
}

Outcome one_follower_has_it(uint64_t seed) {
  WorldOptions o = still_world(seed);
  o.replicas = 5;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world, false);
  const Term term = world.machine(leader).replica->leading();
  const uint64_t more = rot_before_the_commit(world, script, leader, 1);
  if (more == 0) return conclude(world, false);
  world.run_until([&] { return script.acknowledged(more); }, 20 * kMs);
  if (!script.acknowledged(more) || world.machine(leader).replica->leading() != term) {
    world.breach("R44", "the lead was lost, though a follower had what had rotted");
  }
  return conclude(world, true);
}

TEST(S17, ALeaderMendsWhatItHasToCopy) {
  const Outcome sum = over_seeds(1, 20, one_follower_has_it);
  EXPECT_GT(sum.constructed, 15u);
}

Outcome nobody_else_has_it(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world, false);
  const uint64_t more = rot_before_the_commit(world, script, leader, 0);
  if (more == 0) return conclude(world, false);
  const auto faults = [&] { return world.machine(leader).replica->status().faults; };
  if (!world.run_until([&] { return faults() != 0; }, 20 * kMs)) {
    world.breach("P16", "votes with a log that it cannot read");
  }
  world.run_until([&] { return world.leader() != 0 && world.leader() != leader; }, 60 * kMs);
  const uint8_t now = world.leader();
  if (now == 0 || now == leader || !script.append_acknowledged(now)) {
    world.breach("LIVE", "a leader that cannot read its own log keeps everybody from service: " +
                             world.describe());
  }
  world.run_for(kLongEnough);
  if (faults() != 0) {
    world.breach("R44", "was not repaired: " + world.describe());
  }
  return conclude(world, true);
}

TEST(S17, ALeaderThatCannotMendItsLogGivesUpTheLead) {
  const Outcome sum = over_seeds(1, 20, nobody_else_has_it);
  EXPECT_GT(sum.constructed, 15u);
}

// P13: a follower is being caught up, and knows from what it was sent how far the log is committed.
// Some of that rots before the leader's own term has reached it, and the leader dies. It is one of
// the two that are left.
Outcome rot_while_it_is_caught_up(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t first = script.await_service();
  if (first == 0) return conclude(world, false);
  const auto others = script.others(first);
  const uint8_t second = others[0], behind = others[1];
  world.run_for(2 * kMs);
  world.kill(behind, Death::power);
  const Stretch stretch = append_some(script, first, 8);
  if (stretch.end == Offset{}) return conclude(world, false);
  world.run_for(2 * kMs);
  world.kill(first, Death::process);
  world.fabric().hold(ReplicaId{second}, ReplicaId{behind}, stretch.end);
  world.start(behind);
  Machine& m = world.machine(behind);
  const auto caught_up = [&] { return script.tail(behind) >= stretch.end; };
  const bool built =
      world.run_until(caught_up, 20 * kMs) && m.replica->status().marks.committed > Position{4};
  if (!built) return conclude(world, false);
  world.wreck(behind);
  // Of a payload: all headers say still where the log goes on.
  rot(world, behind, stretch.begin + log::kHeaderBytes + world.random().below(100));
  world.kill(second, Death::process);
  world.start(first);
  world.fabric().release(ReplicaId{second}, ReplicaId{behind});
  if (script.await_service() == 0) world.breach("LIVE", "what is committed there was given up");
  return conclude(world, true);
}

TEST(S17, WhatIsCommittedIsNotForgottenForALaterLeader) {
  const Outcome sum = over_seeds(1, 40, rot_while_it_is_caught_up);
  EXPECT_GT(sum.constructed, 15u);
}

// R44: the page that is gone held an entry that was counted there and not looked at yet. What
// stands in for it looks like the end of the log.
Outcome a_page_behind_the_tail(uint64_t seed) {
  World world(still_world(seed));
  Script script(world);
  const uint8_t leader = script.await_leader();
  world.run_for(2 * kMs);
  const auto others = script.others(leader);
  const uint8_t poisoned = others[0];
  world.isolate(others[1]);
  world.pause(poisoned);
  const Offset at = script.tail(leader);
  if (!script.append_acknowledged(leader)) return conclude(world, false);
  Machine& m = world.machine(poisoned);
  m.region->poison_ring_page(at);
  m.wrecked = true;
  world.kill(leader);
  world.resume(poisoned);
  for (const uint8_t id : {poisoned, others[1]}) {
    const uint8_t other = id == poisoned ? others[1] : poisoned;
    world.mend(id, other);
  }
  world.run_for(20 * kMs);
  if (world.leader() != 0) world.breach("R44", "zeros were taken for the end of the log");
  if (m.replica->status().role != replication::Role::damaged || !m.replica->status().poisoned) {
    world.breach("R44", "the loss of a page is not told");
  }
  world.start(leader);
  world.heal();
  script.await_service();
  // Its process may end: what another one finds there is damaged for good.
  if (seed % 2 == 0) {
    world.kill(poisoned);
    if (world.start(poisoned) || m.refused != Code::damaged) {
      world.breach("R44", "a poisoned region was opened again");
    }
    if (const auto ground = replication::last_view(*m.region);
        ground || ground.error().code != Code::damaged) {
      world.breach("R43", "a poisoned replica is taken for a survivor");
    }
  }
  world.destroy(poisoned);
  const auto reached = [&](const MemberChange& change, int voters) {
    return world.run_until(
        [&] {
          (void)world.change(change);
          const log::Membership view = world.view();
          return view.settled() && view.voters.count() == voters;
        },
        100 * kMs);
  };
  const ReplicaSet it = just(ReplicaId{poisoned});
  if (!reached({.remove = it}, 2) || !reached({.add = it}, 3)) {
    world.breach("R43", "who lost a page is not admitted anew: " + world.describe());
  }
  return conclude(world, true);
}

TEST(R44, AZeroPageVouchesForNothing) {
  const Outcome sum = over_seeds(1, 20, a_page_behind_the_tail);
  EXPECT_GT(sum.constructed, 15u);
}

// R44: a leader's own page is gone: it leads no more, though its process is well.
Outcome a_page_of_the_leader(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  const uint8_t leader = script.await_leader();
  world.run_for(world.random().between(1, 6) * kMs);
  Machine& m = world.machine(leader);
  m.region->poison_ring_page(Offset{world.random().below(script.tail(leader).value)});
  m.wrecked = true;
  const bool others_lead =
      world.run_until([&] { return world.leader() != 0 && world.leader() != leader; }, 50 * kMs);
  if (!others_lead) world.breach("LIVE", "a poisoned leader holds its place");
  if (m.replica->leading() != Term{}) world.breach("R44", "a poisoned leader leads");
  world.run_for(5 * kMs);
  world.destroy(leader);
  return conclude(world, true);
}

TEST(R44, APoisonedLeaderMakesRoomThoughItsProcessIsWell) {
  over_seeds(1, 20, a_page_of_the_leader);
}

}  // namespace
}  // namespace caisson::simtest
