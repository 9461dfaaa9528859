// SPDX-License-Identifier: BSD-3-Clause
// S1, S2, S3, S7, S11, S16: leaders that die, pause, are cut off, flap; clients that retry; clocks
// that lie.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint64_t kUnavailableMaxNs = 40 * kMs;

// S1: dies before its write, after one replica, after a quorum, before the acknowledgement.
Outcome leader_killed(uint64_t seed) {
  WorldOptions o = quiet_world(seed, seed % 2 == 0 ? 5 : 3);
  o.auto_apply = seed % 3 != 0;
  World world(o);
  Script script(world);
  add_clients(world, 3);
  for (int round = 0; round < 4; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().between(1, 3) * kMs);
    const auto others = script.others(id);
    const size_t reached = world.random().below(others.size() + 1);
    for (size_t i = reached; i < others.size(); ++i) {
      world.fabric().hold(ReplicaId{id}, ReplicaId{others[i]}, script.tail(id));
    }
    constexpr const char* kPoints[] = {
        "fan_out", "complete_through", "write_commit_cell", "store", "send", ""};
    world.kill_at(id, kPoints[world.random().below(6)], world.random().between(1, 20));
    world.run_for(world.random().below(500) * kUs);
    if (world.machine(id).up()) world.kill(id);
    const uint64_t since_ns = world.now();
    script.release_all(id);
    if (script.await_leader() == 0) break;
    if (world.now() - since_ns > kUnavailableMaxNs) {
      world.breach("LIVE",
                   "no leader for " + std::to_string((world.now() - since_ns) / kUs) + " us");
    }
    world.run_for(world.random().below(3 * kMs));
    world.start(id);
  }
  return conclude(world);
}

TEST(S1, OneOutcomePerEntryWhereverTheLeaderDies) {
  const Outcome sum = over_seeds(1, 40, leader_killed);
  EXPECT_GT(sum.elections, 40u);
  EXPECT_GT(sum.lines_from_dead, 0u) << "no adapter went on after its process";
}

// S2: stopped with writes posted and in flight; others elect and append; then it goes on.
Outcome leader_paused(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  for (int round = 0; round < 3; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().below(2 * kMs));
    // Its queue to each other replica gets stuck somewhere.
    for (const uint8_t other : script.others(id)) {
      const uint64_t ahead = world.random().below(8) * 64;
      world.fabric().hold(ReplicaId{id}, ReplicaId{other}, script.tail(id) + ahead);
    }
    world.run_for(world.random().between(20, 100) * kUs);
    world.pause(id);
    const bool other_leads =
        world.run_until([&] { return world.leader() != 0 && world.leader() != id; }, 40 * kMs);
    if (!other_leads) world.breach("LIVE", "nobody takes over from a paused leader");
    world.run_for(world.random().below(3 * kMs));
    script.release_all(id);
    if (world.random().permille(500)) world.run_for(world.random().below(kMs));
    world.resume(id);
    world.run_for(2 * kMs);
    if (world.machine(id).up() && world.leader() != id &&
        world.machine(id).replica->leading().value != 0) {
      world.run_for(20 * kMs);
      if (world.leader() != id && world.machine(id).replica->leading().value != 0) {
        world.breach("R20", "a deposed leader goes on leading");
      }
    }
  }
  return conclude(world);
}

TEST(S2, NoByteOfAPausedLeaderEntersASealedLog) {
  const Outcome sum = over_seeds(1, 40, leader_paused);
  EXPECT_GT(sum.lines_refused, 0u) << "nothing was in flight";
}

// S3: the leader with a minority, one way or both; heal.
Outcome leader_cut_off(uint64_t seed) {
  World world(quiet_world(seed, seed % 4 == 0 ? 5 : 3));
  Script script(world);
  add_clients(world, 2);
  for (int round = 0; round < 2; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().below(2 * kMs));
    const uint64_t way = world.random().below(3);
    for (const uint8_t other : script.others(id)) {
      if (way != 1) world.cut(id, other);
      if (way != 2) world.cut(other, id);
    }
    world.run_for(10 * kMs);
    if (way == 0) {
      // R20: says so in bounded time, and acknowledges nothing meanwhile.
      Machine& m = world.machine(id);
      if (m.replica->leading().value != 0) {
        world.breach("R20", "a leader without a quorum still leads after 10 ms");
      }
      const uint64_t shown = m.shown;
      world.run_for(2 * kMs);
      if (m.shown != shown) world.breach("R20", "a minority commits");
      if (world.leader() == 0) world.breach("LIVE", "the majority does not go on");
    }
    world.heal();
    world.run_for(3 * kMs);
  }
  return conclude(world);
}

// The successor is heard and hears nobody: it seals, is granted by all, and comes to nothing. It
// lives on, and must not be taken for a leader for ever.
Outcome deaf_candidate(uint64_t seed) {
  World world(quiet_world(seed, 5));
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  const auto c = static_cast<uint8_t>(a % 5 + 1);
  for (const uint8_t id : world.ids()) {
    if (id != a && id != c) world.cut(id, c, false, true);
  }
  world.kill(a);
  bool granted = false;
  const bool served = world.run_until(
      [&] {
        for (const uint8_t id : world.ids()) {
          if (!world.machine(id).up()) continue;
          const auto status = world.machine(id).replica->status();
          granted = granted || (id != c && status.promised.value % 256 == c);
        }
        const uint8_t leads = world.leader();
        return leads != 0 && leads != c && world.machine(leads).replica->leading() != Term{};
      },
      150 * kMs);
  if (!served) world.breach("LIVE", "a candidate that came to nothing is taken for a leader");
  return conclude(world, granted);
}

TEST(S3, ACandidateThatComesToNothingIsNoLeader) {
  const Outcome sum = over_seeds(1, 20, deaf_candidate);
  EXPECT_GT(sum.constructed, 10u);
}

TEST(S3, AMinorityAcknowledgesNothingAndSaysSo) {
  const Outcome sum = over_seeds(1, 40, leader_cut_off);
  EXPECT_GT(sum.elections, 40u);
}

// S7: 64 in flight; the leader dies; every append asked for again up to ten times, old incarnations
// still in flight.
Outcome clients_retry(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.message_late_permille = 20;
  World world(o);
  ClientOptions c;
  c.window = 64;
  c.pace_ns = 10 * kUs;
  c.again_permille = 500;
  c.lost_answer_permille = 200;
  c.session_permille = 10;
  c.large_permille = 0;
  c.payload_max = 100;
  c.appends = 150;
  add_clients(world, 3, c);
  Script script(world);
  for (int round = 0; round < 4; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    world.run_for(world.random().below(2 * kMs));
    world.kill_at(id, "", world.random().between(1, 60));
    world.run_for(300 * kUs);
    if (world.machine(id).up()) world.kill(id);
    world.run_for(world.random().below(4 * kMs));
    world.start(id);
  }
  return conclude(world);
}

TEST(S7, ARetryReturnsTheOriginalPosition) {
  const Outcome sum = over_seeds(1, 30, clients_retry);
  EXPECT_GT(sum.committed, 30u * 200);
}

// S11: one link flaps one way; all else is healthy. Safe, few terms, steady throughput.
Outcome flaky_link(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.fabric.death_notices = false;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_clients(world, 2);
  const uint8_t other = script.others(leader)[0];
  const bool from_leader = seed % 2 == 0;
  const uint8_t from = from_leader ? leader : other;
  const uint8_t to = from_leader ? other : leader;
  const uint64_t before = world.committed_max();
  for (int round = 0; round < 12; ++round) {
    world.cut(from, to);
    world.run_for(world.random().between(1, 4) * kMs);
    world.mend(from, to);
    world.run_for(world.random().between(1, 3) * kMs);
  }
  uint64_t terms = 0;
  for (const Event& e : world.history()) terms += e.what == What::lead;
  // R29: a third, healthy replica vouches for the leader; a false suspicion may cost a term or two.
  if (terms > 6) world.breach("R29", std::to_string(terms) + " terms while one link flapped");
  if (world.committed_max() < before + 300) {
    world.breach("R29",
                 "only " + std::to_string(world.committed_max() - before) + " entries in 60 ms");
  }
  return conclude(world);
}

TEST(S11, AFlappingLinkCostsFewTermsAndLittleThroughput) { over_seeds(1, 20, flaky_link); }

// S16: clocks jump by minutes, drift, all at once too. Only a healthy cluster's calm is at stake.
Outcome lying_clocks(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  script.await_leader();
  add_clients(world, 2);
  constexpr int64_t kMinuteNs = 60'000'000'000;
  for (int round = 0; round < 60; ++round) {
    const bool together = world.random().permille(500);
    for (const uint8_t id : world.ids()) {
      if (!together && world.random().permille(600)) continue;
      Machine& m = world.machine(id);
      m.clock_offset_ns +=
          static_cast<int64_t>(world.random().below(10 * kMinuteNs)) - 5 * kMinuteNs;
      m.clock_drift_ppm = static_cast<int64_t>(world.random().below(200'000)) - 100'000;
    }
    world.run_for(2 * kMs);
  }
  uint64_t terms = 0;
  for (const Event& e : world.history()) terms += e.what == What::lead;
  if (terms > 2) world.breach("R29", std::to_string(terms) + " terms because clocks jumped");
  if (world.committed_max() < 200) world.breach("R29", "lying clocks stop the appends");
  for (const uint8_t id : world.ids()) world.machine(id).clock_drift_ppm = 0;
  return conclude(world);
}

TEST(S16, LyingClocksChangeNeitherOrderNorSafety) { over_seeds(1, 30, lying_clocks); }

}  // namespace
}  // namespace caisson::simtest
