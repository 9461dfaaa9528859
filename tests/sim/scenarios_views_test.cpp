// SPDX-License-Identifier: BSD-3-Clause
// S14, S15 and H2: who takes part changes under load, with crashes in the middle; memory that is
// gone for good; the lead handed over.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

WorldOptions with_spares(uint64_t seed, uint8_t replicas, uint8_t spares) {
  WorldOptions o = quiet_world(seed, replicas);
  o.spares = spares;
  o.auto_apply = seed % 3 != 0;
  return o;
}

bool settled_with(const World& world, ReplicaSet voters) {
  const log::Membership now = world.view();
  return now.settled() && now.voters == voters;
}

ReplicaSet set_of(std::initializer_list<uint8_t> ids) {
  ReplicaSet set;
  for (const uint8_t id : ids) set.add(ReplicaId{id});
  return set;
}

// Asks whoever leads, as an operator would: again, since a leader may die before it has told
// anybody. The view comes, or the run is a failure.
bool reach_view(World& world, const MemberChange& change, ReplicaSet voters) {
  uint64_t next_ns = 0;
  Code last = Code::ok;
  const bool reached = world.run_until(
      [&] {
        if (settled_with(world, voters)) return true;
        if (world.now() >= next_ns) {
          next_ns = world.now() + 500 * kUs;
          last = world.change(change);
        }
        return false;
      },
      150 * kMs);
  if (!reached) {
    world.breach("LIVE",
                 "a view does not come (" + std::string(name(last)) + "): " + world.describe());
  }
  return reached;
}

// The call that kills it may be long in coming.
void start_again(World& world, uint8_t id) {
  for (uint64_t ms = 3; ms < 100; ms += 5) {
    world.after(world.random().below(ms * kMs), [&world, id] { world.start(id); });
  }
}

// S14: three grow to five, shrink, and are replaced, while clients append and machines die.
Outcome members_change(uint64_t seed) {
  World world(with_spares(seed, 3, 2));
  Script script(world);
  add_clients(world, 3);
  script.await_leader();
  world.run_for(world.random().below(2 * kMs));
  const auto strike = [&] {
    const uint8_t id = world.random().permille(600)
                           ? world.leader()
                           : static_cast<uint8_t>(1 + world.random().below(world.size()));
    if (id == 0) return;
    world.kill_at(id, "", 1 + world.random().below(60),
                  world.random().permille(300) ? Death::power : Death::process);
    start_again(world, id);
  };
  const MemberChange steps[] = {{.add = set_of({4, 5})},
                                {.remove = set_of({1})},
                                {.remove = set_of({2, 3})},
                                {.add = set_of({1}), .remove = set_of({4})},
                                {.learn = set_of({4})}};
  const ReplicaSet views[] = {set_of({1, 2, 3, 4, 5}), set_of({2, 3, 4, 5}), set_of({4, 5}),
                              set_of({1, 5}), set_of({1, 5})};
  // A founding member that was dismissed comes back as a new one.
  for (size_t i = 0; i < std::size(steps); ++i) {
    if (i == 3) world.destroy(1);
    if (world.random().permille(700)) strike();
    if (!reach_view(world, steps[i], views[i])) break;
    world.run_for(world.random().below(kMs));
  }
  return conclude(world);
}

TEST(S14, MembersComeAndGoWhileMachinesDie) {
  const Outcome sum = over_seeds(1, 40, members_change);
  EXPECT_GT(sum.committed, 4'000u);
}

// S14: the machine that is replaced is the one that leads, at every step of it.
Outcome leader_replaced(uint64_t seed) {
  World world(with_spares(seed, 3, 1));
  Script script(world);
  add_clients(world, 2);
  const uint8_t old = script.await_leader();
  if (old == 0) return conclude(world);
  ReplicaSet voters = set_of({1, 2, 3, 4});
  voters.remove(ReplicaId{old});
  const MemberChange replace{.add = set_of({4}), .remove = just(ReplicaId{old})};
  if (seed % 2 == 0) world.kill_at(old, "", 1 + world.random().below(200));
  world.after(5 * kMs, [&world, old] { world.start(old); });
  reach_view(world, replace, voters);
  // Who was dismissed may be lost for good.
  world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 20 * kMs);
  world.run_for(kMs);
  world.destroy(old);
  if (script.await_service() == old) world.breach("R18", "a dismissed replica leads");
  return conclude(world);
}

TEST(S14, ALeaderThatIsReplacedHandsOver) { over_seeds(1, 30, leader_replaced); }

// Both majorities of a joint view, and none before it: while the outgoing ones are cut off, those
// that join do not decide with the leader alone, whatever they hold.
Outcome outgoing_cut_off(uint64_t seed) {
  World world(with_spares(seed, 3, 2));
  Script script(world);
  if (!script.make_leader(1)) return conclude(world);
  script.await_service();
  for (const uint8_t joiner : std::initializer_list<uint8_t>{4, 5})
    world.fabric().hold(ReplicaId{1}, ReplicaId{joiner});
  if (!world.run_until(
          [&] {
            return world.change({.add = set_of({4, 5}), .remove = set_of({2, 3})}) == Code::ok;
          },
          10 * kMs)) {
    return conclude(world);
  }
  const bool agreed = world.run_until(
      [&] {
        const auto status = world.machine(1).replica->status();
        return !status.membership.joining.empty() && status.view_position <= status.marks.committed;
      },
      5 * kMs);
  if (!agreed) world.breach("LIVE", "a change is not agreed upon");
  for (const uint8_t inside : std::initializer_list<uint8_t>{1, 4, 5}) {
    for (const uint8_t outside : std::initializer_list<uint8_t>{2, 3}) {
      world.cut(inside, outside);
      world.cut(outside, inside);
    }
  }
  script.release_all(1);
  world.run_for(2 * kMs);
  script.append(1);
  // The outgoing ones are a majority of the view that they know of.
  world.run_until([&] { return world.leader() == 2 || world.leader() == 3; }, 20 * kMs);
  if (world.leader() != 0) script.append_acknowledged(world.leader());
  world.run_for(2 * kMs);
  return conclude(world, world.leader() == 2 || world.leader() == 3);
}

TEST(S14, WhoJoinsDoesNotDecideWithoutTheOutgoing) {
  const Outcome sum = over_seeds(1, 10, outgoing_cut_off);
  EXPECT_GT(sum.constructed, 5u);
}

// Bytes of a view entry that names `members` replicas.
uint64_t view_bytes(uint64_t members) {
  return log::entry_bytes(sizeof(log::ViewPayloadHeader) +
                          members * sizeof(log::ViewPayloadMember));
}

// P18: replica 2 knows the first view only, 3 the joint one; 1 and 4 have gone on to the last one
// and acknowledged X. A majority of the first view elects nobody.
Outcome own_view_is_not_enough(uint64_t seed) {
  World world(with_spares(seed, 3, 1));
  Script script(world);
  if (!script.make_leader(1)) return conclude(world);
  script.await_service();
  world.run_for(kMs);
  for (const uint8_t other : std::initializer_list<uint8_t>{1, 4}) {
    world.cut(2, other);
    world.cut(other, 2);
  }
  const Offset joint_end = script.tail(1) + 2 * view_bytes(4);
  world.fabric().hold(ReplicaId{1}, ReplicaId{3}, joint_end);
  if (!world.run_until(
          [&] { return world.change({.add = set_of({4}), .remove = set_of({3})}) == Code::ok; },
          10 * kMs)) {
    return conclude(world);
  }
  // X goes out before anybody but the leader can know that the last view is committed.
  uint64_t x = 0;
  const bool settled = world.run_until(
      [&] {
        const auto status = world.machine(1).replica->status();
        if (status.membership.voters != set_of({1, 2, 4}) || !status.membership.settled()) {
          return false;
        }
        x = script.append(1);
        return true;
      },
      10 * kMs);
  const bool acknowledged =
      settled && world.run_until([&] { return script.acknowledged(x); }, 5 * kMs);
  for (const uint8_t gone : std::initializer_list<uint8_t>{1, 4}) world.kill(gone);
  world.run_for(world.random().between(1, 8) * kMs);
  if (acknowledged && world.leader() != 0) {
    world.breach("R18", "elected by a view of the past: " + world.describe());
  }
  world.mend(2, 4);
  world.mend(4, 2);
  world.start(4);
  world.run_for(10 * kMs);
  world.start(1);
  return conclude(world, acknowledged);
}

TEST(P18, AnElectionAsksTheViewOfTheLogThatItAdopts) {
  const Outcome sum = over_seeds(1, 20, own_view_is_not_enough);
  EXPECT_GT(sum.constructed, 5u);
}

// R8: whoever is about to be dismissed, by a view that is not committed yet, still holds the log.
Outcome outgoing_holds_the_log(uint64_t seed) {
  WorldOptions o = with_spares(seed, 3, 0);
  o.auto_apply = false;
  o.trims = false;
  World world(o);
  Script script(world);
  if (!script.make_leader(1)) return conclude(world);
  script.await_service();
  world.run_for(kMs);
  world.pause(3);
  for (int i = 0; i < 60; ++i) script.append_acknowledged(1);
  const Position p = script.tail_position(1);
  const auto applied = [&](uint8_t id) {
    return world.machine(id).replica->status().marks.applied;
  };
  world.run_until([&] { return applied(1) >= Position{20} && applied(2) >= Position{20}; },
                  10 * kMs);
  world.run_for(kMs);
  world.fabric().hold(ReplicaId{1}, ReplicaId{2}, script.tail(1) + 2 * view_bytes(3));
  (void)world.change({.remove = set_of({3})});
  const bool last = world.run_until(
      [&] {
        const auto status = world.machine(1).replica->status();
        return status.membership.voters == set_of({1, 2}) && status.membership.settled() &&
               status.view_position > status.marks.committed;
      },
      5 * kMs);
  ReplicaId holder;
  Code code = Code::ok;
  const Position to{std::min(Position{20}, p)};
  world.inside(world.machine(1), [&] { code = world.machine(1).replica->trim(to, &holder); });
  if (last && (code != Code::held || holder != ReplicaId{3})) {
    world.breach(
        "R8", "trimmed what a voter needs that is not dismissed yet: " + std::string(name(code)));
  }
  world.resume(3);
  return conclude(world, last);
}

TEST(S9, WhoIsNotDismissedYetHoldsTheLog) {
  const Outcome sum = over_seeds(1, 10, outgoing_holds_the_log);
  EXPECT_GT(sum.constructed, 5u);
}

// S15: one memory is lost for good; the others go on; an empty one takes its place, from the ring
// or, where that does not reach back any more, behind a state of the application.
Outcome memory_lost(uint64_t seed) {
  World world(with_spares(seed, 3, 0));
  Script script(world);
  add_clients(world, 2);
  script.await_leader();
  world.run_for(world.random().between(1, 8) * kMs);
  const auto lost = static_cast<uint8_t>(1 + world.random().below(3));
  world.destroy(lost);
  script.await_service();
  ReplicaSet rest = set_of({1, 2, 3});
  rest.remove(ReplicaId{lost});
  reach_view(world, {.remove = just(ReplicaId{lost})}, rest);
  world.run_for(world.random().below(4 * kMs));
  if (seed % 2 == 0) {
    world.kill_at(lost, "", 1 + world.random().below(100));
    start_again(world, lost);
  }
  reach_view(world, {.add = just(ReplicaId{lost})}, set_of({1, 2, 3}));
  return conclude(world);
}

TEST(S15, AnEmptyMemoryTakesTheLostOnesPlace) {
  const Outcome sum = over_seeds(1, 40, memory_lost);
  EXPECT_GT(sum.committed, 2'000u);
}

// Nothing that the old life of a number held or promised speaks for the new one, and an empty
// region that was never admitted speaks for nobody.
Outcome reborn_has_no_voice(uint64_t seed) {
  World world(with_spares(seed, 3, 0));
  Script script(world);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  const auto others = script.others(id);
  const uint8_t amnesiac = others[0];
  const uint8_t behind = others[1];
  // X is acknowledged by the leader and the one whose memory is then lost.
  world.fabric().hold(ReplicaId{id}, ReplicaId{behind}, script.tail(id));
  const uint64_t x = script.append(id);
  if (!world.run_until([&] { return script.acknowledged(x); }, 5 * kMs)) return conclude(world);
  world.kill(id);
  world.destroy(amnesiac);
  // Two of three are up; only one of them has a voice.
  world.run_for(20 * kMs);
  if (world.leader() != 0)
    world.breach("P17", "an empty region has elected a leader: " + world.describe());
  script.release_all(id);
  world.start(id);
  script.await_service();
  return conclude(world);
}

// A leader is cut off, dismissed and deposed, and has nothing to write meanwhile that could be
// refused. Nobody talks to it any more: it has to see for itself.
Outcome dismissed_unheard(uint64_t seed) {
  World world(with_spares(seed, 3, 0));
  Script script(world);
  const uint8_t old = script.await_service();
  if (old == 0) return conclude(world);
  world.run_for(2 * kMs);
  world.isolate(old);
  world.run_until([&] { return world.leader() != 0 && world.leader() != old; }, 20 * kMs);
  ReplicaSet others = set_of({1, 2, 3});
  others.remove(ReplicaId{old});
  reach_view(world, {.remove = just(ReplicaId{old})}, others);
  world.run_for(kMs);  // the new one has let go of it
  const bool constructed = world.machine(old).replica->leading() != Term{};
  world.heal();
  world.run_for(10 * kMs);
  if (world.machine(old).replica->leading() != Term{}) {
    world.breach("R20", "nobody tells a dismissed leader: " + world.describe());
  }
  return conclude(world, constructed);
}

TEST(R20, ADismissedLeaderThatWritesNothingSeesThatItIsDeposed) {
  const Outcome sum = over_seeds(1, 20, dismissed_unheard);
  EXPECT_GT(sum.constructed, 10u);
}

// A replica that its leader has known for some restarts loses its memory, and is admitted anew
// while the same one leads: the answers of the empty region are numbered from the beginning.
Outcome reborn_under_one_leader(uint64_t seed) {
  WorldOptions options = with_spares(seed, 3, 0);
  options.auto_apply = true;
  World world(options);
  Script script(world);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  const uint8_t lost = script.others(id)[0];
  for (int i = 0; i < 3; ++i) {
    world.kill(lost);
    world.start(lost);
    world.run_for(5 * kMs);
  }
  world.destroy(lost);
  world.run_for(2 * kMs);
  const ReplicaSet all = set_of({1, 2, 3});
  reach_view(world, {.remove = just(ReplicaId{lost})}, all - just(ReplicaId{lost}));
  // At once: the leader has not let go of it yet.
  const MemberChange admit{.add = just(ReplicaId{lost})};
  world.run_until([&] { return world.change(admit) == Code::ok; }, 20 * kMs);
  reach_view(world, admit, all);
  return conclude(world, world.leader() == id);
}

TEST(R43, WhoIsBornAgainIsHeardByTheLeaderOfItsFormerLife) {
  const Outcome sum = over_seeds(1, 20, reborn_under_one_leader);
  EXPECT_GT(sum.constructed, 15u);
}

// A member is removed and says hello as a stranger; it loses its memory, and is admitted before the
// new life has said anything: by the birth of the old one. Who asks on gets the one that is there.
Outcome admitted_by_a_former_life(uint64_t seed) {
  World world(with_spares(seed, 3, 0));
  Script script(world);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  const uint8_t lost = script.others(id)[0];
  const ReplicaSet all = set_of({1, 2, 3});
  const MemberChange dismiss{.remove = just(ReplicaId{lost})};
  const MemberChange admit{.add = just(ReplicaId{lost})};
  reach_view(world, dismiss, all - just(ReplicaId{lost}));
  world.destroy(lost);  // a founder has no birth
  world.run_for(20 * kMs);
  reach_view(world, admit, all);
  reach_view(world, dismiss, all - just(ReplicaId{lost}));
  world.run_for(20 * kMs);
  const uint64_t former = world.machine(lost).birth;
  world.destroy(lost);
  const bool at_once = world.change(admit) == Code::ok && world.view().births[lost] == former &&
                       former != world.machine(lost).birth;
  reach_view(world, admit, all);
  return conclude(world, at_once);
}

TEST(R43, WhoWasAdmittedByItsFormerLifeIsAdmittedWhenAskedAgain) {
  const Outcome sum = over_seeds(1, 20, admitted_by_a_former_life);
  EXPECT_GT(sum.constructed, 15u);
}

// … and loses it again and again, wherever its admission stands: asked for an answer, for a grant,
// or being caught up. What its former lives still say arrives late, and speaks for none of them.
Outcome lost_while_it_is_admitted(uint64_t seed) {
  WorldOptions options = with_spares(seed, 3, 0);
  options.message_late_permille = 200;
  World world(options);
  Script script(world);
  add_clients(world, 1);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  const uint8_t lost = script.others(id)[0];
  const ReplicaSet it = just(ReplicaId{lost});
  const bool learns = seed % 2 == 0;
  const MemberChange admit = learns ? MemberChange{.learn = it} : MemberChange{.add = it};
  const ReplicaSet all = set_of({1, 2, 3});
  reach_view(world, {.remove = it}, all - it);
  world.destroy(lost);
  int lives = 0;
  for (; lives < 5 && !world.view().electors().has(ReplicaId{lost}); ++lives) {
    world.run_until([&] { return world.change(admit) == Code::ok; }, 20 * kMs);
    world.run_for(world.random().below(lives < 3 ? 100 * kUs : 2 * kMs));
    if (world.view().electors().has(ReplicaId{lost})) break;
    world.destroy(lost);
  }
  if (!learns) {
    reach_view(world, admit, all);
  } else if (!world.run_until(
                 [&] {
                   (void)world.change(admit);
                   const auto followed = world.machine(lost).replica->log().committed();
                   return followed.value + 8 > world.committed_max();
                 },
                 150 * kMs)) {
    world.breach("LIVE", "the learner is not caught up: " + world.describe());
  }
  return conclude(world, lives > 1);
}

TEST(R43, WhoLosesItsMemoryWhileItIsAdmittedIsAdmittedInTheEnd) {
  const Outcome sum = over_seeds(1, 60, lost_while_it_is_admitted);
  EXPECT_GT(sum.constructed, 40u);
}

TEST(P17, ARegionThatWasNeverAdmittedHasNoVoice) { over_seeds(1, 20, reborn_has_no_voice); }

// Who joins has what was posted to it only once it is persistent: what is trimmed meanwhile cannot
// be given to it again, and a voter is given no base.
Outcome joins_without_what_is_trimmed(uint64_t seed) {
  WorldOptions options = with_spares(seed, 3, 1);
  options.auto_apply = true;
  options.trims = false;
  World world(options);
  Script script(world);
  const uint8_t a = script.await_service();
  if (a == 0) return conclude(world);
  world.run_until([&] { return world.change({.learn = set_of({4})}) == Code::ok; }, 5 * kMs);
  const auto follows = [&] { return script.tail(4) == script.tail(a); };
  const bool learnt = world.run_until(follows, 20 * kMs);
  world.fabric().hold(ReplicaId{a}, ReplicaId{4}, script.tail(a));
  const Position has = script.tail_position(4);
  for (int i = 0; i < 20; ++i) script.append_acknowledged(a);
  const bool trimmed = world.run_until(
      [&] {
        world.trim();
        return world.machine(a).replica->log().trimmed() > has;
      },
      20 * kMs);
  world.change({.add = set_of({4})});
  world.run_for(3 * kMs);
  if (world.view().electors().has(ReplicaId{4})) {
    world.breach("R25", "a joiner that lacks what is trimmed has a voice");
  }
  world.power_cut_all();
  script.release_all(a);
  for (const uint8_t id : world.ids()) world.start(id);
  reach_view(world, {.add = set_of({4})}, set_of({1, 2, 3, 4}));
  return conclude(world, learnt && trimmed);
}

TEST(R25, WhoJoinsHoldsWhatTheOthersMayTrim) {
  const Outcome sum = over_seeds(1, 20, joins_without_what_is_trimmed);
  EXPECT_EQ(sum.constructed, 20u);
}

// ---- H2: what a copied entry must not do -------------------------------------------------------

// H2a: X reached one replica and was never chosen. A joiner that holds a copy of it changes
// nothing.
Outcome copies_do_not_choose(uint64_t seed) {
  World world(with_spares(seed, 3, 1));
  Script script(world);
  const uint8_t a = script.await_service();
  if (a == 0) return conclude(world);
  const auto others = script.others(a);
  const uint8_t b = others[0] == 4 ? others[1] : others[0];
  // The joiner is being caught up already when X is appended; nobody with a voice receives X.
  for (uint8_t id = 1; id <= 3; ++id) {
    if (id != a) world.fabric().hold(ReplicaId{a}, ReplicaId{id}, script.tail(a));
  }
  world.run_until([&] { return world.change({.add = set_of({4})}) == Code::ok; }, 5 * kMs);
  world.run_for(kMs);
  const uint64_t x = script.append(a);
  world.run_for(2 * kMs);
  if (script.acknowledged(x)) world.breach("R25", "a joiner's copy was counted");
  // The others go on without the leader; X has no future, whatever the joiner holds.
  world.kill(a);
  world.run_until([&] { return world.leader() != 0 && world.leader() != a; }, 40 * kMs);
  script.release_all(a);
  script.append_acknowledged(world.leader() != 0 ? world.leader() : b);
  world.start(a);
  return conclude(world, true);
}

TEST(H2a, ACopyDoesNotChoose) { over_seeds(1, 30, copies_do_not_choose); }

// H2b and H2c: what {B, C} have chosen while A lags survives that C is replaced: its successor's
// state comes from the voters of the old view, never from A alone.
Outcome chosen_survives(uint64_t seed, bool term_start) {
  World world(with_spares(seed, 3, 1));
  Script script(world);
  uint8_t b = script.await_service();
  if (b == 0) return conclude(world);
  auto others = script.others(b);
  std::erase(others, uint8_t{4});
  const uint8_t a = others[0];
  const uint8_t c = others[1];
  world.fabric().hold(ReplicaId{b}, ReplicaId{a}, script.tail(b));
  if (term_start) {
    // The decided entry is the no-op with which a term begins.
    world.isolate(a);
    world.kill(b);
    world.start(b);
    b = script.await_service();
    if (b == 0) b = c;
  } else {
    script.append_acknowledged(b);
  }
  const uint8_t gone = b == c ? others[0] == c ? others[1] : c : c;
  world.mend(b, a);
  world.mend(a, b);
  world.heal();
  const MemberChange replace{.add = set_of({4}), .remove = just(ReplicaId{gone})};
  world.run_until([&] { return world.change(replace) == Code::ok; }, 20 * kMs);
  // It may be gone before the change is through: the voters that are left have to do.
  if (seed % 2 == 0) world.run_for(world.random().below(kMs));
  const bool leads = world.leader() == gone;
  if (!leads) world.destroy(gone);
  ReplicaSet voters = set_of({1, 2, 3, 4});
  voters.remove(ReplicaId{gone});
  reach_view(world, replace, voters);
  const uint8_t leader = world.leader();
  if (leader != 0) world.kill(leader);
  world.run_for(3 * kMs);
  return conclude(world);
}

TEST(H2b, ADecidedNoOpIsNotLost) {
  over_seeds(1, 30, [](uint64_t seed) { return chosen_survives(seed, true); });
}
TEST(H2c, ACommittedEntryIsNotLost) {
  over_seeds(1, 30, [](uint64_t seed) { return chosen_survives(seed, false); });
}

// ---- Handing over ------------------------------------------------------------------------------

Outcome handed_over(uint64_t seed) {
  WorldOptions o = quiet_world(seed, seed % 2 == 0 ? 5 : 3);
  World world(o);
  Script script(world);
  add_clients(world, 2);
  for (int round = 0; round < 5; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().between(200, 2'000) * kUs);
    const uint8_t to = script.others(id)[0];
    const uint64_t since_ns = world.now();
    if (world.hand_over(to) != Code::ok) continue;
    if (!world.run_until([&] { return world.leader() == to; }, 5 * kMs)) {
      world.breach("LIVE", "the lead is not taken over: " + world.describe());
    }
    if (world.now() - since_ns > 2 * kMs) {
      world.breach("LIVE",
                   "handing over took " + std::to_string((world.now() - since_ns) / kUs) + " us");
    }
  }
  return conclude(world);
}

TEST(S14, TheLeadIsHandedOverWithoutAsking) {
  const Outcome sum = over_seeds(1, 20, handed_over);
  EXPECT_GT(sum.elections, 60u);
}

}  // namespace
}  // namespace caisson::simtest
