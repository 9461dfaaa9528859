// SPDX-License-Identifier: BSD-3-Clause
// R43: a quorum that is lost for good. Its survivor goes on alone by decree; of those who were
// given up, one comes back as it was.
#include <gtest/gtest.h>

#include "core/replication/recovery.hpp"
#include "tests/sim/runs.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint8_t kSurvivor = 3;
constexpr uint8_t kReturns = 1;
constexpr uint8_t kGone = 2;

// What an operator does on the stopped survivor.
bool recover(World& world, uint64_t word) {
  Machine& m = world.machine(kSurvivor);
  const auto bytes = m.region->read_superblock();
  const auto superblock = bytes ? log::decode_superblock(*bytes) : Result<log::Superblock>{};
  if (!superblock) return false;
  const auto recovered = replication::recover_alone(*m.region, superblock->identity,
                                                    ReplicaId{kSurvivor}, word | 1, word | 2);
  if (!recovered) {
    world.breach("R43", "a sound survivor is refused: " + recovered.error().message);
    return false;
  }
  // Everything that was acknowledged was on every replica, and nothing before it is declared lost.
  if (recovered->loss_from.value > recovered->position.value) {
    world.breach("R43", "the loss begins behind what was kept");
  }
  m.birth = word | 1;
  return true;
}

Outcome survivor_goes_on(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  script.await_leader();
  const uint8_t leader = script.await_service();
  if (leader == 0) return conclude(world);
  for (int i = 0; i < 10; ++i) script.append_acknowledged(leader);
  const Position tail = script.tail_position(leader);
  const bool everywhere =
      world.run_until([&] { return script.tail_position(kSurvivor) >= tail; }, 20 * kMs);
  world.run_for(world.random().below(10 * kMs));
  // The one that comes back holds more of the old term than the survivor ever saw.
  if (leader == kReturns) {
    script.hold_all(leader, script.tail(leader));
    for (int i = 0; i < 3; ++i) script.append(leader);
    world.run_for(50 * kUs);
  }
  for (uint8_t id = 1; id <= 3; ++id) {
    world.kill(id, world.random().permille(500) ? Death::power : Death::process);
  }
  world.destroy(kGone);
  world.kill(kGone);
  if (!everywhere || !recover(world, world.random().next())) return conclude(world);
  // Cut short behind the entry, or asked for twice, it does the same once more.
  if (seed % 3 == 0 && !recover(world, world.random().next())) return conclude(world);
  // It may be there first, and ask for votes as soon as the survivor answers.
  if (seed % 2 == 0) {
    world.start(kReturns);
    world.run_for(world.random().below(60 * kMs));
  }
  world.start(kSurvivor);
  const auto survivor_leads = [&] { return world.leader() == kSurvivor; };
  if (!world.run_until(survivor_leads, 100 * kMs)) {
    world.breach("LIVE", "the survivor does not go on: " + world.describe());
    return conclude(world);
  }
  const bool alone = script.append_acknowledged(kSurvivor);
  // The survivor falls silent now and then while the other asks for votes: whatever it answers, it
  // is not the one that the old view names.
  if (!world.machine(kReturns).up()) world.start(kReturns);
  for (int i = 0; i < 4; ++i) {
    world.kill(kSurvivor, i % 2 == 0 ? Death::process : Death::power);
    world.run_for(world.random().below(60 * kMs));
    world.start(kSurvivor);
    const bool again = world.run_until(survivor_leads, 100 * kMs);
    if (!again || world.machine(kReturns).replica->leading() != Term{}) {
      world.breach("R43", "one that was given up has a voice: " + world.describe());
      return conclude(world);
    }
    script.append_acknowledged(kSurvivor);
  }
  return conclude(world, alone);
}

TEST(R43, ASurvivorGoesOnAloneAndWhoWasGivenUpHasNoVoice) {
  const Outcome sum = over_seeds(1, 20, survivor_goes_on);
  EXPECT_GT(sum.constructed, 15u);
}

}  // namespace
}  // namespace caisson::simtest
