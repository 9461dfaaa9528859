// SPDX-License-Identifier: BSD-3-Clause
// R10, R13, S19: appends that are acknowledged before they are committed, and what their clients
// are told when they are lost.
#include <gtest/gtest.h>

#include "tests/sim/chaos.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

// Opens a stream of `client` at `id` and waits for it; incarnation 0: it failed.
replication::OpenedStream attach(World& world, uint8_t id,
                                 const replication::StreamOpening& opening) {
  Machine& m = world.machine(id);
  bool done = false;
  bool asked = false;
  const uint64_t tag =
      world.new_tag([&](const replication::Resolution& r) { done = r.code == Code::ok; });
  const bool opened = world.run_until(
      [&] {
        Code code = Code::again;
        if (!asked) world.inside(m, [&] { code = m.replica->open_stream(opening, tag); });
        asked = asked || code == Code::ok;
        return done;
      },
      20 * kMs);
  if (!opened) return {};
  replication::OpenedStream became = m.replica->opened_stream(opening.client);
  world.record({.what = What::attach, .id = {opening.client, became.incarnation, 0}});
  for (const Apology& each : became.apologies) {
    world.record({.what = What::apology,
                  .position = each.noted.value,
                  .id = {opening.client, each.incarnation, each.first_sequence},
                  .count = each.last_sequence - each.first_sequence + 1});
  }
  return became;
}

bool take(World& world, uint8_t id, uint64_t client, Position through) {
  Machine& m = world.machine(id);
  bool done = false;
  const uint64_t tag =
      world.new_tag([&](const replication::Resolution& r) { done = r.code == Code::ok; });
  Code code = Code::closed;
  world.inside(m, [&] { code = m.replica->take_apologies(client, through, tag); });
  if (code != Code::ok || !world.run_until([&] { return done; }, 20 * kMs)) return false;
  world.record({.what = What::taken, .position = through.value, .id = {client, 0, 0}});
  return true;
}

// Appends sequence `s` of the stream; true once it is acknowledged.
bool append(World& world, uint8_t id, const EntryIdentity& identity, Durability level) {
  const std::string payload(80, 'x');
  replication::Submission s;
  s.identity = identity;
  s.payload = std::as_bytes(std::span(payload));
  s.level = level;
  const Id as{identity.client, identity.incarnation, identity.sequence};
  world.record({.what = What::submit, .id = as, .digest = digest_of(s.payload)});
  auto acknowledged = std::make_shared<bool>(false);
  const Code taken =
      world.submit(id, s, [&world, acknowledged, as, level](const replication::Resolution& r) {
        if (r.code != Code::ok) return;
        *acknowledged = true;
        world.record({.what = What::ack,
                      .position = r.position.value,
                      .term = r.term.value,
                      .id = as,
                      .level = static_cast<uint64_t>(level)});
      });
  return taken == Code::ok && world.run_until([acknowledged] { return *acknowledged; }, 2 * kMs);
}

// Every level, every fault: each acknowledgement ends in the log or in an apology.
Outcome accounted(uint64_t seed) {
  World world(swarm_world(seed));
  for (uint64_t id = 1; id <= 3; ++id) {
    ClientOptions o;
    o.client = id;
    o.window = 12;
    o.pace_ns = 40 * kUs;
    o.volatile_permille = o.local_permille = o.replicated_permille = 250;
    o.session_permille = 20;
    o.forgetful = true;
    world.add_client(std::make_unique<Client>(world, o));
  }
  Chaos chaos(world, swarm_chaos(seed));
  world.run_for(25 * kMs);
  chaos.stop();
  return conclude(world);
}

TEST(R13, EveryAcknowledgementEndsInTheLogOrInAnApology) {
  const Outcome sum = over_seeds(1, 100, accounted);
  EXPECT_GT(sum.apologies, 15u) << "nothing was lost: the runs prove nothing";
}

// A deposed leader judged a retry by a session of its own that was lost with its term.
TEST(R13, ASessionThatMayBeLostRefusesNobody) { over_seeds(5624, 1, accounted); }

// S19: several weak appends and a persisted one that closes them; the leader dies in the middle.
Outcome transaction(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t first = script.await_service();
  if (first == 0) return conclude(world);
  constexpr uint64_t kClient = 55;
  constexpr uint64_t kEntries = 6;
  const uint32_t incarnation = attach(world, first, {kClient, false, 0, 0}).incarnation;
  if (incarnation == 0) return conclude(world);
  world.run_for(kMs);
  // What the leader posts from here on does not arrive, for some transactions.
  const uint64_t dies_before = seed % (kEntries + 2);
  const bool lost = seed % 3 != 0;
  if (lost) script.hold_all(first);
  uint64_t told = 0;
  for (uint64_t s = 1; s <= kEntries && s != dies_before; ++s) {
    const bool commits = s == kEntries;
    const Durability level = commits ? Durability::persisted : Durability::volatile_;
    if (append(world, first, {kClient, incarnation, s}, level)) told = s;
  }
  if (!lost) world.run_for(world.random().below(100 * kUs));
  world.kill(first);
  const uint8_t next = script.await_service();
  script.release_all(first);
  if (next == 0) return conclude(world);
  const auto again = attach(world, next, {kClient, true, incarnation, told});
  // Whole, or a prefix of it; what is missing is listed.
  uint64_t listed = 0;
  for (const Apology& each : again.apologies) {
    listed += each.last_sequence - each.first_sequence + 1;
    if (each.incarnation != incarnation || each.first_sequence != again.last_sequence + 1 ||
        each.last_sequence != told) {
      world.breach("R13", "the apology names other sequences than are missing");
    }
  }
  if (told > again.last_sequence && listed != told - again.last_sequence) {
    world.breach("R13", "of " + std::to_string(told) + " acknowledged " +
                            std::to_string(again.last_sequence) + " are there, and " +
                            std::to_string(listed) + " are listed as lost");
  }
  world.start(first);
  return conclude(world, lost && listed != 0);
}

TEST(S19, WhatATransactionLosesIsListed) {
  const Outcome sum = over_seeds(1, 48, transaction);
  EXPECT_GT(sum.constructed, 12u);
}

// An apology waits in the log, over trims and restarts, until it is taken; and no longer.
Outcome kept(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.trims = false;
  World world(o);
  Script script(world);
  uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  constexpr uint64_t kClient = 55;
  const uint32_t incarnation = attach(world, id, {kClient, false, 0, 0}).incarnation;
  world.run_for(kMs);
  script.hold_all(id);
  for (uint64_t s = 1; s <= 3; ++s) append(world, id, {kClient, incarnation, s}, Durability::local);
  world.kill(id);
  const uint8_t dead = id;
  id = script.await_service();
  script.release_all(dead);
  if (id == 0) return conclude(world);
  const auto noted = attach(world, id, {kClient, true, incarnation, 3});
  if (noted.apologies.size() != 1) {
    world.breach("R13", "no apology for what the dead leader alone had");
    return conclude(world);
  }
  world.start(dead);
  const auto trimmed_through = [&](Position p) {
    return world.run_until(
        [&] {
          const uint8_t leader = world.leader();
          if (leader == 0) return false;
          Machine& m = world.machine(leader);
          world.inside(m, [&] { (void)m.replica->trim(p, nullptr); });
          return m.replica->log().trimmed() >= p;
        },
        60 * kMs);
  };
  for (int i = 0; i < 5; ++i) script.append_acknowledged(id);
  const Position behind = script.tail_position(id);
  world.run_for(kMs);
  if (!trimmed_through(behind)) world.breach("R8", "not trimmed: " + world.describe());
  if (seed % 2 == 0) {
    world.power_cut_all();
  } else {
    for (const uint8_t each : world.ids()) world.kill(each);
  }
  for (const uint8_t each : world.ids()) world.start(each);
  id = script.await_service();
  if (id == 0) return conclude(world);
  // It has forgotten what it was told; the log has not.
  const auto later = attach(world, id, {kClient, true, 0, 0});
  if (later.apologies != noted.apologies) {
    world.breach("R13", "the apology is gone after a trim and a restart");
  }
  if (!later.apologies.empty() && !take(world, id, kClient, later.apologies.back().noted)) {
    world.breach("LIVE", "the receipt is not taken");
  }
  if (!attach(world, id, {kClient, true, 0, 0}).apologies.empty()) {
    world.breach("R13", "an apology that was taken is told again");
  }
  return conclude(world, true);
}

TEST(R13, AnApologyWaitsOverTrimsAndRestartsUntilItIsTaken) {
  const Outcome sum = over_seeds(1, 12, kept);
  EXPECT_EQ(sum.constructed, 12u);
}

// R10: at `local` the leader's own memory holds it, whatever befalls the others.
Outcome local(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.fabric.own_persist_ns_max = 50 * kUs;
  o.fabric.early_placed_permille = 800;
  World world(o);
  Script script(world);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  constexpr uint64_t kClient = 55;
  const uint32_t incarnation = attach(world, id, {kClient, false, 0, 0}).incarnation;
  world.run_for(kMs);
  const uint64_t before = script.tail_position(id).value;
  script.hold_all(id);
  uint64_t told = 0;
  for (uint64_t s = 1; s <= 1 + seed % 5; ++s) {
    if (append(world, id, {kClient, incarnation, s}, Durability::local)) told = s;
  }
  world.kill(id, Death::power);
  for (const uint8_t other : script.others(id)) world.kill(other);
  script.release_all(id);
  world.start(id);
  world.run_for(kMs);
  if (world.machine(id).up() && script.tail_position(id).value < before + told) {
    world.breach("R10", "of " + std::to_string(told) + " entries acknowledged at local, " +
                            std::to_string(script.tail_position(id).value - before) +
                            " are in the leader's memory after a power cut");
  }
  for (const uint8_t other : script.others(id)) world.start(other);
  return conclude(world, told != 0);
}

TEST(R10, WhatIsAcknowledgedAtLocalOutlivesTheLeadersPower) {
  const Outcome sum = over_seeds(1, 30, local);
  EXPECT_GT(sum.constructed, 20u);
}

}  // namespace
}  // namespace caisson::simtest
