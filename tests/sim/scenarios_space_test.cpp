// SPDX-License-Identifier: BSD-3-Clause
// S10, S13, S17: slow replicas under a wrapping ring, hostile input, flipped bits.
#include <gtest/gtest.h>

#include "core/control/wire.hpp"
#include "core/log/superblock_format.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

// S10: many laps, one replica 10 to 1000 times slower than the others.
Outcome slow_replica(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 128 * 1024;
  World world(o);
  Script script(world);
  const uint8_t leader = script.await_leader();
  ClientOptions c;
  c.pace_ns = 5 * kUs;
  c.window = 32;
  c.session_permille = 0;
  c.all_permille = 0;
  add_clients(world, 2, c);
  const uint8_t slow = script.others(leader)[0];
  constexpr uint64_t kFactors[] = {10, 100, 1000};
  const uint64_t factor = kFactors[seed % 3];
  world.machine(slow).slowness = factor;
  world.fabric().set_slowness(ReplicaId{slow}, std::min<uint64_t>(factor, 100));
  const Offset end = script.tail(leader) + 4 * o.ring_bytes;
  const bool went_on = world.run_until(
      [&] {
        const uint8_t id = world.leader();
        return id != 0 && script.tail(id) > end;
      },
      150 * kMs);
  if (!went_on) world.breach("LIVE", "a slow replica stops the others: " + world.describe());
  return conclude(world);
}

TEST(S10, NothingNeededIsOverwrittenHoweverSlowAReplicaIs) {
  const Outcome sum = over_seeds(1, 9, slow_replica);
  EXPECT_GT(sum.committed, 9u * 1000);
}

// Lets the leader trim through `to`, as far as it gets within 5 ms.
bool trim_through(World& world, Position to) {
  return world.run_until(
      [&] {
        const uint8_t id = world.leader();
        if (id == 0) return false;
        Machine& m = world.machine(id);
        ReplicaId holder;
        world.inside(m, [&] { (void)m.replica->trim(to, &holder); });
        return m.replica->log().trimmed() >= to;
      },
      5 * kMs);
}

// Entries of 128 bytes, up to `end` or until nothing more is taken: by few clients, each of whom
// has a place in the stream table.
void fill(World& world, Script& script, uint8_t leader, Offset end) {
  for (size_t count = 32; count > 0; count /= 2) {
    Offset before;
    do {
      before = script.tail(leader);
      if (before + 128 * count > end) break;
      script.append_batch(leader, count, 64);
      world.run_for(kMs / 2);
    } while (script.tail(leader) != before);
  }
}

// S10: a replica that has trimmed less than the others takes the lead, and its ring is full but for
// some lines: not even the stream table has room there, without which nothing new is trimmed.
Outcome leads_with_a_full_ring(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.ring_bytes = 128 * 1024;
  o.trims = false;
  o.auto_apply = true;
  World world(o);
  Script script(world);
  const uint8_t first = script.await_service();
  if (first == 0) return conclude(world);
  const uint8_t late = script.others(first)[0];
  constexpr uint64_t kHeadroom = 40 * 1024;  // of this ring: what clients' appends leave free
  fill(world, script, first, Offset{kHeadroom - 128 * (seed % 4)});
  const Position common = script.tail_position(first);
  world.run_for(2 * kMs);
  world.pause(late);
  const bool trimmed = trim_through(world, common);
  world.kill(late, Death::power);
  fill(world, script, first, Offset{UINT64_MAX});
  world.kill(first);
  world.start(late);
  if (script.await_leader() != late) {
    world.run_until([&] { return world.hand_over(late) == Code::ok; }, 20 * kMs);
    world.run_until([&] { return world.leader() == late; }, 20 * kMs);
  }
  world.start(first);
  world.run_for(5 * kMs);
  if (world.leader() != late) return conclude(world);
  const log::LogState& log = world.machine(late).replica->log();
  const bool constructed = trimmed && log.trimmed() < common;
  if (!trim_through(world, log.committed())) {
    world.breach("R8", "a full ring is never trimmed: " + world.describe());
  }
  return conclude(world, constructed);
}

TEST(S10, ALeaderWhoseRingIsFullTrimsIt) {
  const Outcome sum = over_seeds(1, 20, leads_with_a_full_ring);
  EXPECT_GT(sum.constructed, 10u);
}

// S13: what is refused is refused by a typed error, and changes nothing.
TEST(S13, HostileAppendsAreRefusedAndTheLogIsUnchanged) {
  over_seeds(1, 5, [](uint64_t seed) {
    World world(quiet_world(seed));
    Script script(world);
    const uint8_t id = script.await_leader();
    EXPECT_TRUE(script.append_acknowledged(id, 0)) << "a zero-length entry is legal";
    EXPECT_TRUE(script.append_acknowledged(id, 64));
    world.run_for(kMs);
    const Position before = script.tail_position(id);
    const auto refused = [&](const EntryIdentity& identity, size_t bytes) {
      const std::string payload(bytes, 'x');
      replication::Submission s;
      s.identity = identity;
      s.payload = std::as_bytes(std::span(payload));
      return world.submit(id, s, [](const auto&) {});
    };
    EXPECT_EQ(refused({9, 1, 1}, world.options().entry_bytes_max + 1), Code::too_large);
    EXPECT_EQ(refused({9, 1, 2}, 10), Code::broken_stream);
    EXPECT_EQ(refused({101, 1, 1}, 10), Code::identity_reused);
    EXPECT_EQ(refused({101, 1, 3}, 10), Code::broken_stream);
    EXPECT_EQ(refused({101, 0, 1}, 10), Code::stale_stream);
    EXPECT_EQ(refused({101, 2, 5}, 10), Code::broken_stream);
    const uint8_t other = script.others(id)[0];
    replication::Submission s;
    EXPECT_EQ(world.submit(other, s, [](const auto&) {}), Code::not_leader);
    EXPECT_EQ(script.tail_position(id), before);
    return conclude(world);
  });
}

// Forged and stale control messages: of strangers, of wrong terms, of terms the sender cannot own;
// bytes that are no message.
Outcome hostile_messages(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  script.await_leader();
  for (int round = 0; round < 300; ++round) {
    const auto to = static_cast<uint8_t>(1 + world.random().below(3));
    Machine& m = world.machine(to);
    if (!m.up()) continue;
    const Term promised = m.replica->status().promised;
    const auto from = static_cast<uint8_t>(world.random().below(6));
    const Term terms[] = {Term{0}, Term{1}, Term{promised.value - 1}, promised,
                          // Not the sender's to choose: it carries somebody else's number.
                          Term{(promised.value >> 8) * 256 + 256 + (from + 1) % 4}};
    const Term term = terms[world.random().below(5)];
    log::Cursor nowhere{Position{world.random().below(50)}, Offset{64 * world.random().below(50)},
                        Term{world.random().below(600)}, 7};
    const control::Message forged[] = {
        control::Seal{term, world.random().next(), View{1}, term},
        control::GrantRequest{.term = term, .nonce = world.random().next(), .divergence = nowhere},
        control::PreSealReply{world.random().next(), true, term},
        control::Fenced{Term{world.random().below(promised.value + 1)}},
        control::Hello{Term{world.random().below(promised.value + 1)}, Incarnation{9}}};
    const control::Message& message = forged[world.random().below(5)];
    const bool alive = world.inside(
        m, [&] { m.replica->on_message(ReplicaId{from}, message, world.local_now(m)); });
    if (alive) world.observe(m);
    world.run_for(20 * kUs);
  }
  uint64_t terms = 0;
  for (const Event& e : world.history()) terms += e.what == What::lead;
  if (terms > 2)
    world.breach("S13", "forged messages brought about " + std::to_string(terms) + " terms");
  return conclude(world);
}

TEST(S13, HostileControlMessagesChangeNothing) { over_seeds(1, 15, hostile_messages); }

TEST(S13, BytesThatAreNoMessageAreATypedError) {
  Random random(5);
  LogIdentity log;
  log.log = 3;
  const std::string good = control::encode(
      {log, ReplicaId{1}, ReplicaId{2}, control::Seal{Term{257}, 9, View{1}, Term{1}}});
  ASSERT_TRUE(control::decode(std::as_bytes(std::span(good))));
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good.substr(0, random.below(good.size() + 1));
    for (uint64_t n = random.between(1, 4); n > 0 && !bytes.empty(); --n) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    const auto got = control::decode(std::as_bytes(std::span(bytes)));
    if (!got) {
      EXPECT_TRUE(got.error().code == Code::invalid || got.error().code == Code::wrong_version)
          << name(got.error().code);
    }
  }
}

// S17: bits of one machine rot while its process is dead.
Outcome rot_at_rest(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  const auto id = static_cast<uint8_t>(1 + seed % 3);
  Machine& m = world.machine(id);
  for (int round = 0; round < 3; ++round) {
    world.run_for(world.random().between(1, 4) * kMs);
    world.kill(id);
    const auto bytes = m.region->read_superblock();
    const auto superblock = log::decode_superblock(*bytes);
    world.record({.what = What::damage, .replica = id});
    m.wrecked = true;
    if (world.random().permille(200)) {
      m.region->flip_superblock_bit(static_cast<unsigned>(world.random().below(2)),
                                    world.random().below(300),
                                    static_cast<unsigned>(world.random().below(8)));
    } else {
      // Where it once vouched for every byte: rot behind that cannot be told from a tear.
      const uint64_t span = superblock->validated.end - superblock->trim.end;
      m.region->flip_ring_bit(superblock->trim.end + world.random().below(span),
                              static_cast<unsigned>(world.random().below(8)));
    }
    world.run_for(world.random().below(kMs));
    world.start(id);
  }
  world.run_for(5 * kMs);
  return conclude(world);
}

TEST(S17, RotAtRestIsNeverDelivered) { over_seeds(1, 40, rot_at_rest); }

// S17: bits flip on the way. The leader stays: it holds the truth that repairs the others.
Outcome flips_in_flight(uint64_t seed) {
  World world(quiet_world(seed));
  Script script(world);
  add_clients(world, 2);
  script.await_leader();
  world.record({.what = What::damage});
  world.fabric().options().flip_permille = 3;
  world.run_for(10 * kMs);
  world.fabric().options().flip_permille = 0;
  world.run_for(5 * kMs);
  return conclude(world);
}

TEST(S17, ABitFlippedInFlightIsFoundAndRepaired) { over_seeds(1, 20, flips_in_flight); }

}  // namespace
}  // namespace caisson::simtest
