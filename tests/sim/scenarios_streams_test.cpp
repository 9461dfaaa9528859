// SPDX-License-Identifier: BSD-3-Clause
// R30 beyond a trim: what was appended is remembered by the log itself, whoever restarts.
#include <gtest/gtest.h>

#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

struct Asked {
  Code taken = Code::internal;
  replication::Resolution resolution;
};

// One append of `identity`, and what came of it.
Asked ask(World& world, uint8_t id, const EntryIdentity& identity, char fill = 'x') {
  const std::string payload(80, fill);
  replication::Submission s;
  s.identity = identity;
  s.payload = std::as_bytes(std::span(payload));
  auto asked = std::make_shared<Asked>();
  asked->resolution.code = Code::again;
  if (fill == 'x') {
    world.record({.what = What::submit,
                  .id = {identity.client, identity.incarnation, identity.sequence},
                  .digest = digest_of(s.payload)});
  }
  asked->taken =
      world.submit(id, s, [asked](const replication::Resolution& r) { asked->resolution = r; });
  world.run_until([&] { return asked->taken != Code::ok || asked->resolution.code != Code::again; },
                  20 * kMs);
  return *asked;
}

// Everybody has trimmed through p.
bool trim_everywhere(World& world, Position p) {
  return world.run_until(
      [&] {
        const uint8_t id = world.leader();
        if (id == 0) return false;
        ReplicaId holder;
        world.inside(world.machine(id), [&] { (void)world.machine(id).replica->trim(p, &holder); });
        bool all = true;
        for (const uint8_t each : world.ids()) {
          all =
              all && world.machine(each).up() && world.machine(each).replica->log().trimmed() >= p;
        }
        return all;
      },
      60 * kMs);
}

Outcome remembered(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.trims = false;
  World world(o);
  Script script(world);
  uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  constexpr uint64_t kClient = 77;
  std::vector<Position> at(20);
  for (uint64_t s = 1; s < at.size(); ++s) {
    const Asked one = ask(world, id, {kClient, 1, s});
    if (one.resolution.code != Code::ok) {
      world.breach("LIVE", "an append is not answered");
      return conclude(world);
    }
    at[s] = one.resolution.position;
  }
  for (uint64_t i = world.random().below(30); i > 0; --i) script.append_acknowledged(id);
  const Position through = script.tail_position(id);
  world.run_for(kMs);
  if (!trim_everywhere(world, through)) {
    world.breach("R8", "the log is not trimmed: " + world.describe());
    return conclude(world);
  }
  // Once more, so that one checkpoint has to tell what an earlier one told.
  for (uint64_t i = world.random().below(10); i > 0; --i) script.append_acknowledged(id);
  if (seed % 2 == 0) trim_everywhere(world, script.tail_position(id));
  if (seed % 3 == 0) {
    world.power_cut_all();
  } else {
    for (const uint8_t each : world.ids()) world.kill(each);
  }
  for (const uint8_t each : world.ids()) world.start(each);
  id = script.await_service();
  if (id == 0) return conclude(world);
  for (uint64_t s = 1; s < at.size(); ++s) {
    const Asked again = ask(world, id, {kClient, 1, s});
    const bool latest = s + log::kCarriedSlots >= at.size();
    const bool right = latest ? again.taken == Code::ok && again.resolution.code == Code::ok &&
                                    again.resolution.position == at[s]
                              : again.taken == Code::aged_out;
    if (!right) {
      world.breach("R30", "sequence " + std::to_string(s) +
                              " again: " + std::string(name(again.taken)) + ", " +
                              std::string(name(again.resolution.code)) + ", position " +
                              std::to_string(again.resolution.position.value) + " instead of " +
                              std::to_string(at[s].value));
    }
  }
  const Asked other = ask(world, id, {kClient, 1, at.size() - 1}, 'y');
  if (other.taken != Code::identity_reused) world.breach("R30", "other bytes are taken");
  const Asked next = ask(world, id, {kClient, 1, at.size()});
  if (next.resolution.code != Code::ok) world.breach("R30", "the stream does not go on");
  return conclude(world);
}

TEST(R30, ARetryOfATrimmedEntryReturnsItsPosition) {
  const Outcome sum = over_seeds(1, 20, remembered);
  EXPECT_GT(sum.committed, 20u * 20);
}

// More clients than are remembered: the silent ones age out, and are told so for ever.
Outcome aged(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  World world(o);
  Script script(world);
  const uint8_t id = script.await_service();
  if (id == 0) return conclude(world);
  Machine& m = world.machine(id);
  std::vector<replication::OpenedStream> opened(150);
  for (uint64_t client = 1; client < opened.size(); ++client) {
    bool done = false;
    const bool served = world.run_until(
        [&, asked = false]() mutable {
          if (!asked) {
            Code code = Code::closed;
            const uint64_t tag =
                world.new_tag([&](const replication::Resolution& r) { done = r.code == Code::ok; });
            world.inside(m, [&] { code = m.replica->open_stream({client, false, 0, 0}, tag); });
            asked = code == Code::ok;
          }
          return done;
        },
        20 * kMs);
    if (!served) {
      world.breach("R30",
                   "client " + std::to_string(client) + " finds no place: " + world.describe());
      return conclude(world);
    }
    opened[client] = m.replica->opened_stream(client);
    if (ask(world, id, {client, opened[client].incarnation, 1}).resolution.code != Code::ok) {
      world.breach("LIVE", "an append is not answered");
    }
  }
  world.run_for(2 * kMs);
  uint64_t forgotten = 0;
  for (uint64_t client = 1; client < opened.size(); ++client) {
    const Asked again = ask(world, id, {client, opened[client].incarnation, 1});
    forgotten += again.taken == Code::aged_out;
    if (again.taken != Code::aged_out && again.resolution.code != Code::ok) {
      world.breach(
          "R30", "client " + std::to_string(client) + " again: " + std::string(name(again.taken)));
    }
  }
  // 64 are remembered at most.
  if (forgotten < 150 - 1 - 64) world.breach("R45", "more are remembered than there is room for");
  return conclude(world);
}

TEST(R30, WhoWasSilentLongestAgesOutAndIsNeverTakenForNew) {
  const Outcome sum = over_seeds(1, 5, aged);
  EXPECT_GT(sum.committed, 5u * 2 * 149);
}

}  // namespace
}  // namespace caisson::simtest
