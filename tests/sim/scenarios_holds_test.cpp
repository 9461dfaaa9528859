// SPDX-License-Identifier: BSD-3-Clause
// S9: a reader's hold, on whichever replica it stands, keeps every replica from trimming; then it
// is released.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

bool trimmed_beyond(World& world, Position held) {
  for (const uint8_t id : world.ids()) {
    const Machine& m = world.machine(id);
    if (m.up() && m.replica->log().trimmed() > held) return true;
  }
  return false;
}

Outcome reader_holds(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  const uint8_t leader = script.await_leader();
  add_clients(world, 2);
  world.run_for(3 * kMs);
  const auto where = static_cast<uint8_t>(1 + seed % 3);
  const Position held = world.machine(where).replica->log().committed();
  world.inside(world.machine(where), [&] { world.machine(where).replica->set_reader_hold(held); });
  // The lead may change hands: the hold stands all the same.
  if (seed % 2 == 0 && leader != where) {
    world.run_for(world.random().below(2 * kMs));
    world.kill(leader);
    world.after(3 * kMs, [&world, leader] { world.start(leader); });
  }
  const bool named = world.run_until(
      [&] {
        const uint8_t id = world.leader();
        if (id == 0 || world.machine(id).replica->log().committed() <= held) return false;
        ReplicaId holder;
        Code code = Code::ok;
        world.inside(world.machine(id),
                     [&] { code = world.machine(id).replica->trim(held + 1, &holder); });
        return code == Code::held && holder == ReplicaId{where};
      },
      60 * kMs);
  if (!named) world.breach("R8", "the holder is not named: " + world.describe());
  world.run_for(10 * kMs);
  if (trimmed_beyond(world, held)) world.breach("R8", "trimmed under a reader");
  world.inside(world.machine(where),
               [&] { world.machine(where).replica->set_reader_hold(Position{UINT64_MAX}); });
  const bool released = world.run_until([&] { return trimmed_beyond(world, held); }, 60 * kMs);
  if (!released) world.breach("LIVE", "still held when it is released: " + world.describe());
  return conclude(world, named && released);
}

TEST(S9, AReadersHoldHoldsEverybodyUntilItIsReleased) {
  EXPECT_GE(over_seeds(1, 8, reader_holds).constructed, 8u);
}

}  // namespace
}  // namespace caisson::simtest
