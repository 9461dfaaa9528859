// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/chaos.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace caisson::simtest {

Chaos::Chaos(World& world, const ChaosOptions& options)
    : world_(world), options_(options), random_(world.random().next()) {
  world_.after(random_.below(options_.every_ns), [this] { turn(); });
}

void Chaos::turn() {
  if (stopped_) return;
  strike();
  world_.after(options_.every_ns / 2 + random_.below(options_.every_ns), [this] { turn(); });
}

uint8_t Chaos::victim() {
  const uint8_t leader = world_.leader();
  return leader != 0 && random_.permille(500) ? leader : anyone();
}

void Chaos::strike() {
  const std::array<uint32_t, 13> weights = {options_.kill,   options_.power,     options_.power_all,
                                            options_.pause,  options_.partition, options_.slow,
                                            options_.clock,  options_.evict,     options_.slot_loss,
                                            options_.flip,   options_.member,    options_.hand_over,
                                            options_.destroy};
  uint64_t dice = random_.below(std::accumulate(weights.begin(), weights.end(), uint64_t{1}));
  size_t kind = 0;
  while (kind < weights.size() && dice >= weights[kind]) dice -= weights[kind++];
  const uint8_t id = victim();
  Machine& m = world_.machine(id);
  switch (kind) {
    case 0: return kill(false);
    case 1: return kill(true);
    case 2:
      world_.power_cut_all();
      for (const uint8_t each : world_.ids()) restart_later(each);
      return;
    case 3:
      world_.pause(id);
      world_.after(some_time(), [this, id] { world_.resume(id); });
      return;
    case 4: return partition();
    case 5: {
      const uint64_t factor = random_.permille(500) ? 10 : 100;
      world_.fabric().set_slowness(m.id, factor);
      m.slowness = random_.permille(500) ? factor : 1;
      world_.after(some_time(), [this, id] {
        world_.fabric().set_slowness(ReplicaId{id}, 1);
        world_.machine(id).slowness = 1;
      });
      return;
    }
    case 6: return clock();
    case 7: m.region->evict_some(random_.next()); return;
    case 8:
      // A write that was cut half way has spoilt the other slot already.
      if (!m.up()) return;
      world_.kill(id);
      m.region->erase_newest_superblock();
      return restart_later(id);
    case 9: {
      if (rotten_ == 0) rotten_ = id;
      world_.wreck(rotten_);
      world_.machine(rotten_).region->flip_ring_bit(
          Offset{random_.below(world_.options().ring_bytes)},
          static_cast<unsigned>(random_.below(8)));
      return;
    }
    case 10: return member();
    case 11: (void)world_.hand_over(anyone()); return;
    case 12: return destroy();
    default: return;
  }
}

void Chaos::member() {
  if (world_.dismiss_the_lost()) return;
  const log::Membership now = world_.view();
  const ReplicaSet somebody = just(ReplicaId{anyone()});
  const bool outside = (now.members() & somebody).empty();
  MemberChange change;
  if (outside) {
    (random_.permille(800) ? change.add : change.learn) = somebody;
    if (random_.permille(300)) change.remove = just(ReplicaId{anyone()}) & now.voters;
  } else if (now.voters.count() > 2) {
    change.remove = somebody;
  } else {
    change.add = somebody;  // a learner, maybe
  }
  (void)world_.change(change);
}

// Only while every voice is sound: more than one lost memory is more than a majority can bear.
void Chaos::destroy() {
  const log::Membership now = world_.view();
  if (!now.settled() || now.voters.count() < 3 || rotten_ != 0) return;
  bool sound = true;
  for_each(now.voters, [&](ReplicaId id) {
    Machine& m = world_.machine(id.value);
    sound = sound && m.up() && world_.admitted(m, now) && m.replica->status().membership == now;
  });
  const uint8_t id = anyone();
  if (sound && now.voters.has(ReplicaId{id})) world_.destroy(id);
}

void Chaos::kill(bool power) {
  const uint8_t id = victim();
  const Death how = power ? Death::power : Death::process;
  if (random_.permille(400)) {
    world_.kill(id, how);
  } else {
    // Somewhere inside its next calls: between any two steps of what it is doing.
    world_.kill_at(id, "", 1 + random_.below(random_.permille(500) ? 30 : 300), how);
  }
  restart_later(id);
}

void Chaos::restart_later(uint8_t id) {
  world_.after(some_time(), [this, id] {
    Machine& m = world_.machine(id);
    if (m.up() || stopped_) return;
    // A recovery that dies half way is one of the bad days, too (S5).
    if (random_.permille(200)) {
      world_.kill_at(id, "", 1 + random_.below(40),
                     random_.permille(500) ? Death::power : Death::process);
    }
    world_.start(id);
    if (!m.up()) restart_later(id);
  });
}

void Chaos::partition() {
  const uint8_t a = victim();
  uint8_t b = anyone();
  if (a == b) b = static_cast<uint8_t>(b % world_.size() + 1);
  const uint64_t dice = random_.below(4);
  const bool data = random_.permille(800);
  const bool control = !data || random_.permille(800);
  if (dice == 0) {
    world_.isolate(a);
  } else {
    world_.cut(a, b, data, control);
    if (dice == 1) world_.cut(b, a, data, control);
  }
  world_.after(some_time(), [this, a] {
    for (const uint8_t other : world_.ids()) {
      if (other == a) continue;
      world_.mend(a, other);
      world_.mend(other, a);
    }
  });
}

void Chaos::clock() {
  Machine& m = world_.machine(anyone());
  constexpr int64_t kMinuteNs = 60'000'000'000;
  const auto jump = static_cast<int64_t>(random_.below(6 * kMinuteNs)) - 3 * kMinuteNs;
  m.clock_offset_ns += random_.permille(500) ? jump : jump / 100'000;
  m.clock_drift_ppm = static_cast<int64_t>(random_.below(400'000)) - 200'000;
}

WorldOptions swarm_world(uint64_t seed) {
  Random random(seed * 3 + 1);
  WorldOptions o;
  o.seed = seed;
  constexpr uint8_t kSizes[] = {3, 3, 3, 5, 2, 7, 1, 4};
  o.replicas = kSizes[random.below(random.permille(800) ? 4 : 8)];
  o.spares = random.permille(500) ? static_cast<uint8_t>(random.below(3)) : uint8_t{0};
  o.ring_bytes = random.permille(500) ? 256 * 1024 : 128 * 1024;
  o.auto_apply = random.permille(500);
  auto& f = o.fabric;
  const uint64_t slow = random.permille(300) ? 10 : 1;
  f.land_ns_max = random.between(200, 4'000) * slow;
  f.persist_ns_max = random.between(200, 4'000) * slow;
  f.own_persist_ns_max = random.between(0, 4'000) * slow;
  f.report_ns_max = random.between(200, 4'000);
  f.cell_ns_max = random.between(200, 20'000);
  f.late_permille = static_cast<uint32_t>(random.below(30));
  f.scatter_permille = static_cast<uint32_t>(random.below(1000));
  f.words_permille = static_cast<uint32_t>(random.below(100));
  f.duplicate_permille = static_cast<uint32_t>(random.below(100));
  f.early_placed_permille = static_cast<uint32_t>(random.below(1000));
  f.live_source_permille = static_cast<uint32_t>(random.below(1000));
  f.stale_cell_permille = static_cast<uint32_t>(random.below(500));
  f.death_notices = random.permille(500);
  f.dead_memory_readable = seed % 2 == 0;
  o.message_ns_max = random.between(1, 40) * kUs;
  o.message_late_permille = static_cast<uint32_t>(random.below(60));
  o.message_loss_permille = random.permille(500) ? 0 : static_cast<uint32_t>(random.below(100));
  o.message_twice_permille = static_cast<uint32_t>(random.below(100));
  o.link_notices = random.permille(700);
  return o;
}

ChaosOptions swarm_chaos(uint64_t seed) {
  Random random(seed * 5 + 2);
  ChaosOptions o;
  o.every_ns = random.between(500, 4'000) * kUs;
  o.down_ns_max = random.between(500, 8'000) * kUs;
  for (uint32_t* weight : {&o.kill, &o.power, &o.power_all, &o.pause, &o.partition, &o.slow,
                           &o.clock, &o.evict, &o.slot_loss, &o.member, &o.hand_over, &o.destroy}) {
    *weight = random.permille(350) ? 0 : static_cast<uint32_t>(random.between(1, 5));
  }
  if (random.permille(700)) o.power_all = std::min<uint32_t>(o.power_all, 1);
  return o;
}

}  // namespace caisson::simtest
