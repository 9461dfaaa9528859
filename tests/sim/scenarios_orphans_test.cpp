// SPDX-License-Identifier: BSD-3-Clause
// S18, as far as it concerns what is displaced (R15): entries that a deposed leader held and the
// log goes on without are listed, once, wherever its machine dies, until they are let go of.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

std::string count_of(const Listed& listed) { return std::to_string(listed.size()) + " orphans"; }

class Displacement {
 public:
  explicit Displacement(World& world) : world_(world), script_(world) {}

  // A leader appends what nobody else receives, and another one takes over. False: it did not come
  // about.
  bool depose(size_t entries = 5, size_t bytes = 100) {
    wanted_.clear();
    old_ = script_.await_leader();
    if (old_ == 0 || !script_.append_acknowledged(old_)) return false;
    world_.run_for(2 * kMs);
    if (world_.leader() != old_) return false;
    script_.hold_all(old_, script_.tail(old_));
    for (size_t i = 0; i < entries; ++i) {
      const uint64_t client = 1000 + clients_++;
      const Position at = script_.tail_position(old_) + 1;
      replication::Submission s;
      s.identity = {client, 1, 1};
      const std::string payload(bytes, static_cast<char>('a' + i % 26));
      s.payload = std::as_bytes(std::span(payload));
      world_.record({.what = What::submit,
                     .id = {client, 1, 1},
                     .digest = digest_of(s.payload),
                     .group = 0,
                     .count = 1});
      if (world_.submit(old_, s, [](const auto&) {}) == Code::ok) {
        wanted_.insert({client, 1, at.value});
      }
    }
    // Long enough that its own copy is persistent.
    world_.run_for(300 * kUs);
    world_.isolate(old_);
    const bool taken =
        world_.run_until([&] { return world_.leader() != 0 && world_.leader() != old_; }, 40 * kMs);
    if (!taken) return false;
    for (int i = 0; i < 3; ++i) script_.append_acknowledged(world_.leader());
    return true;
  }

  // The old one hears the others again.
  void rejoin() {
    script_.release_all(old_);
    for (const uint8_t each : world_.ids()) {
      if (each == old_) continue;
      world_.mend(each, old_);
      world_.mend(old_, each);
    }
  }

  bool follows() {
    if (!world_.machine(old_).up()) return false;
    const replication::ReplicaStatus status = world_.machine(old_).replica->status();
    return status.leader != ReplicaId{} && status.leader.value == world_.leader() &&
           status.marks.committed.value >= std::get<2>(*wanted_.rbegin());
  }
  bool await_follower() {
    return world_.run_until(
        [&] {
          if (!world_.machine(old_).up()) world_.start(old_);
          return follows();
        },
        100 * kMs);
  }

  void expect_listed(const std::string& when) {
    const Listed found = orphans_of(world_, old_);
    if (found != wanted_) {
      world_.breach("R15", when + ": " + count_of(found) + " are listed, not " + count_of(wanted_));
    }
    for (const uint8_t other : script_.others(old_)) {
      if (world_.machine(other).up() && !orphans_of(world_, other).empty()) {
        world_.breach("R15", "an orphan is listed by another replica, too");
      }
    }
  }

  // Lets go of everything; the machine may die meanwhile.
  void discard_all(bool until_gone) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      Machine& m = world_.machine(old_);
      if (!m.up()) world_.start(old_);
      if (!m.up() || !await_follower()) continue;
      const auto records = m.replica->orphans().records();
      if (records.empty()) return;
      for (const auto& record : records) {
        Code code = Code::internal;
        const bool lived =
            world_.inside(m, [&] { code = m.replica->discard_orphans(record.slot.id); });
        if (!lived || !until_gone) return;
        if (code != Code::ok && code != Code::not_yet) {
          world_.breach("R15", "a record cannot be discarded");
        }
      }
    }
  }

  uint8_t old() const { return old_; }
  Script& script() { return script_; }
  const Listed& wanted() const { return wanted_; }

 private:
  World& world_;
  Script script_;
  Listed wanted_;
  uint64_t clients_ = 0;
  uint8_t old_ = 0;
};

// The old leader dies at its k-th step after it hears the others again: seal, cut, grant, repair.
Outcome rejoins(uint64_t seed) {
  World world(quiet_world(seed));
  Displacement displacement(world);
  if (!displacement.depose()) return conclude(world);
  const uint8_t old = displacement.old();
  displacement.rejoin();
  const Death how = seed % 2 == 0 ? Death::process : Death::power;
  world.kill_at(old, "", 1 + seed / 2, how);
  world.run_for(3 * kMs);
  world.machine(old).plan = {};
  if (!displacement.await_follower())
    world.breach("LIVE", "it follows nobody: " + world.describe());
  displacement.expect_listed("after it came back");
  // … and again after its next life.
  world.kill(old, how);
  if (!displacement.await_follower())
    world.breach("LIVE", "it follows nobody: " + world.describe());
  displacement.expect_listed("after the next start");
  return conclude(world, true);
}

TEST(S18, OrphansAreListedOnceWhereverTheirReplicaDies) {
  const Outcome sum = over_seeds(1, 160, rejoins);
  EXPECT_GT(sum.constructed, 120u);
}

// What was discarded is never listed again, wherever power or process goes.
Outcome discards(uint64_t seed) {
  World world(quiet_world(seed));
  Displacement displacement(world);
  if (!displacement.depose()) return conclude(world);
  const uint8_t old = displacement.old();
  displacement.rejoin();
  if (!displacement.await_follower())
    world.breach("LIVE", "it follows nobody: " + world.describe());
  displacement.expect_listed("before");
  if (seed % 2 == 0) {
    world.kill_at(old, "", 1 + seed / 2 % 6, Death::power);
    displacement.discard_all(false);
    world.machine(old).plan = {};
  }
  displacement.discard_all(true);
  for (int again = 0; again < 2; ++again) {
    world.kill(old, Death::power);
    if (!displacement.await_follower()) {
      world.breach("LIVE", "it follows nobody: " + world.describe());
    }
    if (!orphans_of(world, old).empty()) world.breach("R15", "a discarded record is listed again");
  }
  return conclude(world, true);
}

TEST(S18, DiscardedOrphansNeverComeBack) {
  const Outcome sum = over_seeds(1, 60, discards);
  EXPECT_GT(sum.constructed, 45u);
}

// No room, no grant (P15): nothing is lost, and it goes on once there is.
Outcome no_room(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.salvage_bytes = 8192;
  World world(o);
  Displacement displacement(world);
  if (!displacement.depose(4, 1500)) return conclude(world);
  const uint8_t old = displacement.old();
  displacement.rejoin();
  world.run_for(10 * kMs);
  replication::Replica& replica = *world.machine(old).replica;
  const bool refused = replica.status().orphans.full && replica.orphans().records().empty();
  if (!refused || displacement.follows()) {
    world.breach("R15", "more was displaced than there is room for");
  }
  // In this state it would wait for ever: nothing can be freed. The operator enlarges the area, or
  // makes the replica anew.
  world.destroy(old);
  world.dismiss_the_lost();
  return conclude(world, true);
}

TEST(S18, WhatDoesNotFitIsNeitherDroppedNorOverwritten) {
  const Outcome sum = over_seeds(1, 12, no_room);
  EXPECT_GT(sum.constructed, 8u);
}

// The area was filled by an earlier displacement; letting go of it lets the replica follow.
Outcome room_again(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.salvage_bytes = 8192;
  World world(o);
  Displacement displacement(world);
  if (!displacement.depose(3, 900)) return conclude(world);
  const uint8_t old = displacement.old();
  displacement.rejoin();
  if (!displacement.await_follower())
    world.breach("LIVE", "it follows nobody: " + world.describe());
  displacement.expect_listed("the first");
  if (!displacement.script().make_leader(old)) return conclude(world);
  world.run_for(2 * kMs);
  if (!displacement.depose(3, 900) || displacement.old() != old) return conclude(world);
  displacement.rejoin();
  world.run_for(10 * kMs);
  replication::Replica& replica = *world.machine(old).replica;
  if (!replica.status().orphans.full || displacement.follows()) {
    world.breach("R15", "there was no room");
  }
  for (const auto& record : std::vector(replica.orphans().records())) {
    if (replica.discard_orphans(record.slot.id) != Code::ok) {
      world.breach("R15", "a record cannot be discarded");
    }
  }
  if (!displacement.await_follower())
    world.breach("LIVE", "it follows nobody: " + world.describe());
  displacement.expect_listed("the second");
  return conclude(world, true);
}

TEST(S18, DiscardingMakesRoomForTheNextOnes) {
  const Outcome sum = over_seeds(1, 12, room_again);
  EXPECT_GT(sum.constructed, 6u);
}

}  // namespace
}  // namespace caisson::simtest
