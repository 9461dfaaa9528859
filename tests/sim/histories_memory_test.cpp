// SPDX-License-Identifier: BSD-3-Clause
// H7, H8, H10, H12, H13, H14: what a fabric, a claim, a trim, a promise must survive; built by
// hand.
#include <gtest/gtest.h>

#include "core/log/superblock_format.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

// H7, as far as a fabric without processors can show it: what was reported placed is there after
// the revocation, and nothing arrives later. (The race of the store itself: tests/transport, shm
// litmus.)
TEST(H7, WhatWasCountedIsThereAfterTheRevocation) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    transport::sim::SimOptions options;
    options.scatter_permille = 800;
    options.early_placed_permille = 700;
    options.late_permille = 200;
    SimFabric fabric(options, seed);
    pmem::ShadowRegion writer_region({65536, 4096, 4096});
    pmem::ShadowRegion target_region({65536, 4096, 4096});
    fabric.add_node(ReplicaId{1}, writer_region);
    fabric.add_node(ReplicaId{2}, target_region);
    const auto writer = fabric.open_endpoint(ReplicaId{1});
    const auto target = fabric.open_endpoint(ReplicaId{2});
    const auto grant = target->grant(ReplicaId{1}, Term{257});
    ASSERT_TRUE(grant);
    ASSERT_EQ(writer->attach(ReplicaId{2}, *grant, Offset{0}), Code::ok);
    transport::ReplicaSet targets;
    targets.add(ReplicaId{2});
    std::vector<std::byte> sent(8192);
    for (std::byte& b : sent) b = static_cast<std::byte>(1 + random.below(255));
    for (uint64_t at = 0; at < sent.size(); at += 512) {
      writer->fan_out(targets, Offset{at}, sent.data() + at, 512);
      writer->complete_through(targets, true, Offset{at + 512});
      fabric.run_until(fabric.now_ns() + random.below(800));
    }
    Offset placed;
    Offset persisted;
    const auto reap = [&] {
      std::array<transport::Completion, 64> done;
      const size_t n = writer->poll(done);
      for (size_t i = 0; i < n; ++i) {
        if (done[i].target != ReplicaId{2} || done[i].code != Code::ok) continue;
        placed = std::max(placed, done[i].placed_through);
        persisted = std::max(persisted, done[i].persisted_through);
      }
    };
    reap();
    ASSERT_EQ(target->revoke_all(), Code::ok);
    const std::vector<std::byte> found(target_region.ring_data(),
                                       target_region.ring_data() + sent.size());
    ASSERT_TRUE(
        std::equal(sent.begin(), sent.begin() + static_cast<long>(placed.value), found.begin()))
        << "R19 violated: seed " << seed << ", placed " << placed.value;
    fabric.run_until(fabric.now_ns() + 10 * kMs);
    reap();
    ASSERT_TRUE(std::equal(found.begin(), found.end(), target_region.ring_data()))
        << "R19 violated: seed " << seed;
    target_region.power_cut(seed);
    ASSERT_TRUE(std::equal(sent.begin(), sent.begin() + static_cast<long>(persisted.value),
                           target_region.ring_data()))
        << "R19 violated: seed " << seed << ", persisted " << persisted.value;
  }
}

// H8: the leader reuses trimmed space, then the power goes.
Outcome trim_then_power_cut(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 128 * 1024;
  o.entry_bytes_max = 4 * 1024;
  o.trims = false;
  // Nothing else that is made persistent brings the trim along.
  o.cursor_persist_bytes = o.ring_bytes;
  o.cursor_persist_idle_ns = 1 * kMs;
  if (seed % 2 == 0) o.fabric.cell_ns_max = 1 * kMs;  // followers hear of the trim late
  World world(o);
  Script script(world);
  ClientOptions c;
  c.pace_ns = 5 * kUs;
  c.large_permille = 0;
  c.session_permille = 0;
  add_clients(world, 2, c);
  for (int round = 0; round < 6; ++round) {
    const uint8_t id = script.await_leader();
    if (id == 0) break;
    // Until the ring is full, then on into what one trim gives up.
    const log::LogState& log = world.machine(id).replica->log();
    const auto leads = [&] { return world.leader() == id; };
    world.run_until([&] { return !leads() || log.tail().end + 36 * 1024 > log.window_end(); },
                    20 * kMs);
    world.run_for(world.random().below(300 * kUs));
    if (leads()) {
      const Offset full = log.window_end();
      world.run_until(
          [&] {
            if (leads() && log.window_end() == full) world.trim();
            return !leads() || log.tail().end > full;
          },
          5 * kMs);
    }
    world.power_cut_all();
    for (const uint8_t each : world.ids()) world.start(each);
  }
  return conclude(world);
}

TEST(H8, SpaceIsReusedOnlyAfterItsTrimIsPersistent) {
  const Outcome sum = over_seeds(1, 15, trim_then_power_cut);
  EXPECT_GT(sum.committed, 15u * 800);
}

// H10: the leader hears nothing of its quorum, steps down, comes back as a follower; the next
// leader had adopted what it could not vouch for.
Outcome ambiguous_append(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t id = script.await_leader();
  script.append_acknowledged(id);
  for (const uint8_t other : script.others(id)) {
    world.cut(other, id, true, world.random().permille(500));
  }
  std::vector<uint64_t> appends;
  for (int i = 0; i < 5; ++i) appends.push_back(script.append(id));
  world.run_until([&] { return world.leader() != 0 && world.leader() != id; }, 60 * kMs);
  world.run_for(world.random().below(2 * kMs));
  world.heal();
  world.run_for(10 * kMs);
  Outcome outcome = conclude(world);
  for (const uint64_t append : appends) {
    // R13: unknown only until recovery ends.
    if (script.outcome(append) == Code::indefinite) {
      outcome.violations.push_back({"R13", "an outcome stays unknown after recovery has ended"});
    }
    outcome.constructed += script.acknowledged(append);
  }
  return outcome;
}

TEST(H10, AnAmbiguousAppendIsNotReportedAsFailed) {
  const Outcome sum = over_seeds(1, 30, ambiguous_append);
  EXPECT_GT(sum.constructed, 10u) << "hardly any append of a deposed leader was adopted";
}

// H12: an application holds a claim in the old leader's ring; the node is sealed and the bytes
// filled by a new leader; then the application finishes its copy.
Outcome late_local_store(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t id = script.await_leader();
  script.append_acknowledged(id);
  Machine& m = world.machine(id);
  replication::Claim claim;
  world.inside(m, [&] {
    auto lent = m.replica->claim(1000, world.local_now(m));
    if (lent.has_value()) claim = *lent;
  });
  const uint64_t life = m.life;
  // Others no longer see its heartbeat; its control links are fine.
  for (const uint8_t other : script.others(id)) {
    world.cut(id, other, true, false);
    world.cut(other, id, true, false);
  }
  world.run_until([&] { return world.leader() != 0 && world.leader() != id; }, 60 * kMs);
  const uint8_t next = world.leader();
  for (const uint8_t other : script.others(id)) {
    world.mend(id, other);
    world.mend(other, id);
  }
  for (int i = 0; next != 0 && next != id && i < 6; ++i) script.append_acknowledged(next);
  world.run_for(2 * kMs);
  const std::vector<std::byte> garbage(1000, std::byte{0xee});
  bool stored = false;
  if (claim.payload != nullptr && m.up() && m.life == life) {
    const std::byte* const ring = m.region->ring_data();
    const std::vector<std::byte> before(ring, ring + m.region->geometry().ring_bytes);
    stored = world.fabric().application_store(m.id, claim.payload, garbage);
    // Asked of the bytes: what is spoilt would be found, and mended, before anybody read it.
    if (!std::equal(before.begin(), before.end(), ring)) {
      world.breach("I3", "an application stored into a log that had taken its claim back");
    }
  }
  world.run_for(kMs);
  if (world.random().permille(500)) {
    world.kill(id);
    world.start(id);
  }
  return conclude(world, stored && next != id);
}

TEST(H12, ALateStoreOfAnApplicationTouchesNothing) {
  const Outcome sum = over_seeds(1, 20, late_local_store);
  EXPECT_GT(sum.constructed, 10u);
}

// H13: X is acknowledged on {a, b}; after a power cut b's copy rots and a is slow to boot. Behind X
// stands an entry that says so, or b has also lost its newest superblock slot.
Outcome rot_taken_for_a_tear(uint64_t seed, bool slot_lost) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  const auto others = script.others(a);
  const uint8_t b = others[0];
  const uint8_t c = others[1];
  script.append_acknowledged(a);
  world.run_for(kMs);
  world.fabric().hold(ReplicaId{a}, ReplicaId{c}, script.tail(a));
  const Offset x = script.tail(a);
  bool built = script.append_acknowledged(a);
  if (!slot_lost) built = script.append_acknowledged(a) && built;
  world.run_for(2 * kMs);  // b's cursor is persisted, too
  built = built && world.leader() == a;
  world.power_cut_all();
  if (slot_lost) world.machine(b).region->erase_newest_superblock();
  const uint64_t where = world.random().below(64 + 100) * 8 + world.random().below(8);
  world.machine(b).region->flip_ring_bit(x + where / 8, static_cast<unsigned>(where % 8));
  world.wreck(b);
  world.fabric().release(ReplicaId{a}, ReplicaId{c});
  world.start(b);
  world.start(c);
  world.run_for(20 * kMs);
  // P16: the rotten one has no vote, so nobody leads without X.
  const uint8_t early = world.leader();
  if (early != 0) script.append_acknowledged(early);
  world.start(a);
  return conclude(world, built);
}

TEST(H13, ARottenReplicaElectsNobody) {
  const Outcome sum =
      over_seeds(1, 30, [](uint64_t seed) { return rot_taken_for_a_tear(seed, false); });
  EXPECT_GT(sum.constructed, 15u);
}

TEST(H13, NorDoesOneThatHasLostASlotAsWell) {
  const Outcome sum =
      over_seeds(1, 30, [](uint64_t seed) { return rot_taken_for_a_tear(seed, true); });
  EXPECT_GT(sum.constructed, 15u);
}

// H14: b's memory is wiped and b restarts under its old name.
Outcome wiped_replica(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t a = script.await_leader();
  const auto others = script.others(a);
  Machine& b = world.machine(others[0]);
  world.fabric().hold(ReplicaId{a}, ReplicaId{others[1]}, script.tail(a));
  const bool built = script.append_acknowledged(a);
  world.kill(a, Death::power);
  world.kill(others[0], Death::power);
  b.region->wipe();
  b.wrecked = true;
  world.fabric().release(ReplicaId{a}, ReplicaId{others[1]});
  world.start(others[0]);
  if (b.up()) world.breach("P17", "a wiped replica starts as if nothing had happened");
  if (!b.up() && b.refused != Code::amnesia) {
    world.breach("P17", "a wiped replica is refused as " + std::string(name(b.refused)));
  }
  world.run_for(10 * kMs);
  world.start(a);
  return conclude(world, built);
}

TEST(H14, AWipedReplicaHasNoVote) {
  const Outcome sum = over_seeds(1, 10, wiped_replica);
  EXPECT_GT(sum.constructed, 5u);
}

// H14: v promises term 2, loses its newest superblock slot, and meets the leader of term 1 again.
Outcome forgotten_promise(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.link_notices = false;
  World world(o);
  Script script(world);
  const uint8_t a = script.await_leader();
  script.append_acknowledged(a);
  world.run_for(kMs);
  world.isolate(a);
  world.run_until([&] { return world.leader() != 0 && world.leader() != a; }, 5 * kMs);
  const uint8_t l = world.leader();
  if (l == 0 || l == a) return conclude(world);
  const auto v = static_cast<uint8_t>(6 - a - l);
  world.kill(v);
  world.machine(v).region->erase_newest_superblock();
  const bool still = world.machine(a).replica->leading().value != 0;
  world.isolate(l);
  world.mend(a, v);
  world.mend(v, a);
  world.start(v);
  if (still) script.append(a);
  world.run_for(4 * kMs);
  return conclude(world, still);
}

TEST(H14, APromiseOutlivesTheLossOfASuperblockSlot) {
  const Outcome sum = over_seeds(1, 40, forgotten_promise);
  EXPECT_GT(sum.constructed, 10u);
}

}  // namespace
}  // namespace caisson::simtest
