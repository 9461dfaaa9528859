// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/performer.hpp"

#include <algorithm>

namespace caisson::simtest {

namespace {

constexpr uint64_t kSectorBytes = 256;

std::optional<log::Superblock> superblock_of(const Machine& m) {
  const auto bytes = m.region->read_superblock();
  if (!bytes) return std::nullopt;
  auto superblock = log::decode_superblock(*bytes);
  return superblock ? std::optional(*superblock) : std::nullopt;
}

// Where damage must be noticed: behind the trim point, and below what the replica knows to be good
// (P16). Rot of the very last batch cannot be told from a tear; docs/durability.md says so. Nor
// what an adapter has yet to read: that is sent as it is found then.
struct Stretch {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool holds(uint64_t at, uint64_t bytes) const { return at >= begin && at + bytes <= end; }
};

Stretch vouched_for(World& world, const Machine& m) {
  const auto superblock = superblock_of(m);
  if (!superblock) return {};
  const uint64_t end = std::min(superblock->validated.end, world.fabric().on_its_way(m.id)).value;
  Stretch stretch{superblock->trim.end.value, end};
  // What it trimmed since is nobody's any more.
  if (m.up()) stretch.begin = std::max(stretch.begin, m.replica->log().trim_cursor().end.value);
  return stretch;
}

}  // namespace

void Performer::begin(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    world_.after(action.at_ns, [this, &action] {
      if (!stopped_) perform(action);
    });
  }
}

uint8_t Performer::id_of(uint8_t drawn) const {
  if (drawn == 0) drawn = world_.leader();
  return static_cast<uint8_t>((drawn == 0 ? 0u : drawn - 1u) % world_.size() + 1);
}

uint8_t Performer::other_than(uint8_t id, uint8_t drawn) const {
  const uint8_t other = id_of(drawn == 0 ? uint8_t{1} : drawn);
  return other != id ? other : static_cast<uint8_t>(id % world_.size() + 1);
}

void Performer::perform(const Action& action) {
  const uint8_t id = id_of(action.target);
  if (world_.watched()) {
    world_.tell("fault: " + std::string(name(action.what)) + ", replica " + std::to_string(id) +
                ", for " + std::to_string(action.for_ns / kUs) + " us");
  }
  if (strike(action, id)) {
    ++struck_[static_cast<size_t>(action.what)];
  } else {
    world_.tell("… strikes nobody");
  }
}

bool Performer::strike(const Action& action, uint8_t id) {
  switch (action.what) {
    case Fault::crash:
    case Fault::crash_inside:
    case Fault::power:
    case Fault::power_inside: return die(action, id);
    case Fault::power_all:
    case Fault::power_all_inside: return power_all(action);
    case Fault::pause: return pause(action, id);
    case Fault::slow: return slow(action, id);
    case Fault::cut_one_way:
    case Fault::cut_both_ways: return cut(action, id);
    case Fault::isolate: return isolate(action, id);
    case Fault::clog: return clog(action, id);
    case Fault::clock_jump:
    case Fault::clock_drift: return clock(action, id);
    case Fault::evict: world_.machine(id).region->evict_some(action.salt); return true;
    case Fault::slot_loss: return slot_loss(action, id);
    case Fault::bit_rot: return rot(action, id);
    case Fault::stale_sector:
    case Fault::misdirected: return stale(action, id);
    case Fault::memory_lost: return memory_lost(id);
    case Fault::member: return member(action);
    case Fault::standby: return standby(action);
    case Fault::hand_over: return world_.hand_over(id_of(action.other)) == Code::ok;
    case Fault::hold: return hold(action, id);
    case Fault::trim: world_.trim(); return world_.leader() != 0;
    case Fault::discard: return discard(id);
    case Fault::take_over: return take_over(action);
  }
  return false;
}

// ---- Processes and power
// -------------------------------------------------------------------------

void Performer::restart_later(uint8_t id, uint64_t within_ns, Random random) {
  world_.after(kUs + random.below(within_ns), [this, id, within_ns, random]() mutable {
    if (stopped_ || world_.machine(id).up()) return;
    // A recovery that dies half way is one of the bad days, too (S5).
    if (random.permille(200)) {
      world_.kill_at(id, "", 1 + random.below(40),
                     random.permille(500) ? Death::power : Death::process);
    }
    world_.start(id);
    if (!world_.machine(id).up()) restart_later(id, within_ns, random);
  });
}

bool Performer::die(const Action& action, uint8_t id) {
  const bool power = action.what == Fault::power || action.what == Fault::power_inside;
  const Death how = power ? Death::power : Death::process;
  const bool inside = action.what == Fault::crash_inside || action.what == Fault::power_inside;
  const bool was_up = world_.machine(id).up();
  if (inside) {
    world_.kill_at(id, "", action.amount, how);
  } else {
    world_.kill(id, how);
  }
  restart_later(id, action.for_ns, Random(action.salt));
  return was_up;
}

bool Performer::power_all(const Action& action) {
  Random random(action.salt);
  if (action.what == Fault::power_all_inside) {
    const uint8_t id = id_of(action.target);
    world_.kill_at(id, "", action.amount, Death::power_all);
  } else {
    world_.power_cut_all();
  }
  for (const uint8_t id : world_.ids()) restart_later(id, action.for_ns, random.split());
  return true;
}

bool Performer::pause(const Action& action, uint8_t id) {
  const bool turned = world_.machine(id).turns();
  world_.pause(id);
  world_.after(action.for_ns, [this, id] { world_.resume(id); });
  return turned;
}

bool Performer::slow(const Action& action, uint8_t id) {
  world_.fabric().set_slowness(ReplicaId{id}, action.amount);
  world_.machine(id).slowness = action.salt % 2 == 0 ? action.amount : 1;
  world_.after(action.for_ns, [this, id] {
    world_.fabric().set_slowness(ReplicaId{id}, 1);
    world_.machine(id).slowness = 1;
  });
  return true;
}

bool Performer::clock(const Action& action, uint8_t id) {
  Machine& m = world_.machine(id);
  Random random(action.salt);
  if (action.what == Fault::clock_drift) {
    m.clock_drift_ppm = static_cast<int64_t>(random.below(400'000)) - 200'000;
    return true;
  }
  constexpr int64_t kMinuteNs = 60'000'000'000;
  const auto jump = static_cast<int64_t>(random.below(6 * kMinuteNs)) - 3 * kMinuteNs;
  m.clock_offset_ns += random.permille(500) ? jump : jump / 100'000;
  return true;
}

// ---- Links
// ---------------------------------------------------------------------------------------

bool Performer::cut(const Action& action, uint8_t id) {
  const uint8_t other = other_than(id, action.other);
  if (other == id) return false;
  const bool both = action.what == Fault::cut_both_ways;
  const bool data = (action.amount & 1) != 0, control = (action.amount & 2) != 0;
  world_.cut(id, other, data, control);
  if (both) world_.cut(other, id, data, control);
  world_.after(action.for_ns, [this, id, other, both] {
    world_.mend(id, other);
    if (both) world_.mend(other, id);
  });
  return true;
}

bool Performer::isolate(const Action& action, uint8_t id) {
  if (world_.size() == 1) return false;
  world_.isolate(id);
  world_.after(action.for_ns, [this, id] {
    for (const uint8_t other : world_.ids()) {
      if (other == id) continue;
      world_.mend(id, other);
      world_.mend(other, id);
    }
  });
  return true;
}

bool Performer::clog(const Action& action, uint8_t id) {
  const uint8_t other = other_than(id, action.other);
  if (other == id) return false;
  world_.clog(id, other, (action.amount & 1) != 0, (action.amount & 2) != 0);
  world_.after(action.for_ns, [this, id, other] { world_.unclog(id, other); });
  return true;
}

// ---- Memory
// --------------------------------------------------------------------------------------

bool Performer::slot_loss(const Action& action, uint8_t id) {
  Machine& m = world_.machine(id);
  // A write that was cut half way has spoilt the other slot already.
  if (!m.up()) return false;
  world_.kill(id);
  m.region->erase_newest_superblock();
  restart_later(id, action.for_ns, Random(action.salt));
  return true;
}

Machine* Performer::may_rot(uint8_t id) {
  const log::Membership now = world_.view();
  if (!now.settled() || now.voters.count() < 3) return nullptr;
  Machine& m = world_.machine(rotten_ != 0 ? rotten_ : id);
  // An empty one that has yet to learn is no quorum with the others, either.
  bool sound = true;
  for_each(now.members(), [&](ReplicaId each) {
    sound = sound && world_.admitted(world_.machine(each.value), now);
  });
  if (!sound || !now.voters.has(m.id)) return nullptr;
  return &m;
}

bool Performer::rot(const Action& action, uint8_t id) {
  Machine* m = may_rot(id);
  if (m == nullptr) return false;
  const Stretch stretch = vouched_for(world_, *m);
  if (stretch.begin >= stretch.end) return false;
  rotten_ = m->id.value;
  world_.wreck(rotten_);
  Random random(action.salt);
  m->region->flip_ring_bit(Offset{stretch.begin + random.below(stretch.end - stretch.begin)},
                           static_cast<unsigned>(random.below(8)));
  return true;
}

// What the next entries are written to is remembered now, and comes back when they have been
// persisted: that write never got to the medium.
bool Performer::stale(const Action& action, uint8_t id) {
  Machine* m = may_rot(id);
  if (m == nullptr || !m->up()) return false;
  Random random(action.salt);
  const uint64_t ahead = m->replica->log().tail().end.value + random.below(4096);
  const Offset at{ahead / kCacheLineBytes * kCacheLineBytes};
  const uint64_t bytes = random.permille(500) ? kCacheLineBytes : kSectorBytes;
  std::vector<std::byte> old = m->region->ring_bytes_at(at, bytes);
  rotten_ = m->id.value;
  const bool elsewhere = action.what == Fault::misdirected;
  world_.after(action.for_ns, [this, m, at, old, elsewhere, random]() mutable {
    const Stretch stretch = vouched_for(world_, *m);
    if (stopped_ || !stretch.holds(at.value, old.size())) return;
    world_.wreck(m->id.value);
    if (elsewhere) {
      const uint64_t room = stretch.end - stretch.begin - old.size();
      const uint64_t line = (stretch.begin + random.below(room + 1)) / kCacheLineBytes;
      const Offset to{std::max(line * kCacheLineBytes, stretch.begin)};
      m->region->overwrite_ring(to, m->region->ring_bytes_at(at, old.size()));
    }
    m->region->overwrite_ring(at, old);
    world_.tell("replica " + std::to_string(m->id.value) + ": bytes at " +
                std::to_string(at.value) + " are what they were before");
  });
  return true;
}

// Only while every voice is sound: more than one lost memory is more than a majority can bear.
bool Performer::memory_lost(uint8_t id) {
  const log::Membership now = world_.view();
  if (!now.settled() || now.voters.count() < 3 || rotten_ != 0) return false;
  bool sound = true;
  for_each(now.voters, [&](ReplicaId each) {
    Machine& m = world_.machine(each.value);
    sound = sound && m.up() && world_.admitted(m, now) && m.replica->status().membership == now;
  });
  if (!sound || !now.voters.has(ReplicaId{id})) return false;
  world_.destroy(id);
  return true;
}

// ---- Members
// -------------------------------------------------------------------------------------

bool Performer::member(const Action& action) {
  if (world_.dismiss_the_lost()) return true;
  Random random(action.salt);
  const log::Membership now = world_.view();
  const ReplicaSet somebody = just(ReplicaId{id_of(action.other)});
  const bool outside = (now.members() & somebody).empty();
  // Those who are left have to do without the rotten one.
  const int fewest = rotten_ != 0 ? 3 : 2;
  MemberChange change;
  if (outside) {
    (random.permille(800) ? change.add : change.learn) = somebody;
    if (random.permille(300) && rotten_ == 0) {
      change.remove =
          just(ReplicaId{id_of(static_cast<uint8_t>(action.amount % 7 + 1))}) & now.voters;
    }
  } else if (now.voters.count() > fewest) {
    change.remove = somebody;
  } else {
    change.add = somebody;  // a learner, maybe
  }
  return world_.change(change) == Code::ok;
}

bool Performer::standby(const Action& action) {
  if (world_.options().standby.bytes == 0) return false;
  const log::Membership now = world_.view();
  const ReplicaSet it = just(ReplicaId{id_of(action.other)});
  if (!(now.voters & it).empty()) return false;
  const bool learns = !(now.members() & it).empty();
  return world_.change(learns ? MemberChange{.standby = it} : MemberChange{.learn = it}) ==
         Code::ok;
}

// ---- Space
// ---------------------------------------------------------------------------------------

bool Performer::hold(const Action& action, uint8_t id) {
  Machine& m = world_.machine(id);
  if (!m.turns()) return false;
  const uint64_t at = m.replica->log().trimmed().value;
  world_.inside(m, [&] { m.replica->set_reader_hold(Position{at}); });
  world_.after(action.for_ns, [this, id, life = m.life] {
    Machine& then = world_.machine(id);
    if (!then.up() || then.life != life) return;
    world_.inside(then, [&] { then.replica->set_reader_hold(Position{UINT64_MAX}); });
  });
  return true;
}

bool Performer::discard(uint8_t id) {
  Machine& m = world_.machine(id);
  if (!m.turns() || m.replica->orphans().records().empty()) return false;
  const uint64_t record = m.replica->orphans().records().front().slot.id;
  Code code = Code::closed;
  world_.inside(m, [&] { code = m.replica->discard_orphans(record); });
  return code == Code::ok;
}

}  // namespace caisson::simtest
