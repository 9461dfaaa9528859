// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/script.hpp"

#include <algorithm>

#include "core/replication/orphans.hpp"

namespace caisson::simtest {

namespace {

std::string bytes_of(uint64_t seed, size_t n) {
  Random random(seed);
  std::string bytes(n, '\0');
  for (char& c : bytes) c = static_cast<char>(random.next());
  return bytes;
}

}  // namespace

WorldOptions quiet_world(uint64_t seed, uint8_t replicas) {
  WorldOptions o;
  o.seed = seed;
  o.replicas = replicas;
  o.message_late_permille = 0;
  o.message_twice_permille = 0;
  return o;
}

void add_clients(World& world, uint64_t count, ClientOptions options) {
  for (uint64_t id = 1; id <= count; ++id) {
    options.client = id;
    world.add_client(std::make_unique<Client>(world, options));
  }
}

Listed orphans_of(World& world, uint8_t id, Orphaned among) {
  Listed found;
  const replication::Replica& replica = *world.machine(id).replica;
  for (const auto& record : replica.orphans().records()) {
    const auto page = replication::read_orphans(record, record.before(), {}, replica.log(),
                                                replica.log().committed());
    if (page.damaged || !page.last) world.breach("R15", "a record cannot be read");
    for (const OrphanEntry& entry : page.entries) {
      if (!entry.data) continue;
      if (entry.fate == OrphanFate::present && among == Orphaned::displaced) continue;
      found.insert({entry.identity.client, entry.identity.sequence, entry.position.value});
      if (entry.fate != OrphanFate::absent)
        world.breach("R15", "an orphan is said to be in the log");
    }
  }
  return found;
}

uint8_t Script::await_leader() {
  if (!world_.run_until([&] { return world_.leader() != 0; }, 100 * kMs)) {
    world_.breach("LIVE", "nobody leads: " + world_.describe());
    return 0;
  }
  return world_.leader();
}

uint8_t Script::await_service() {
  const uint8_t id = await_leader();
  if (id != 0) append_acknowledged(id);
  return id;
}

bool Script::make_leader(uint8_t id) {
  for (int attempt = 0; attempt < 40; ++attempt) {
    const uint8_t now = await_leader();
    if (now == id) return true;
    if (now == 0) return false;
    // Paused long enough to be suspected, short enough to come back as a follower.
    world_.pause(now);
    world_.run_until([&] { return world_.leader() != 0 && world_.leader() != now; }, 20 * kMs);
    world_.resume(now);
    world_.run_for(3 * kMs);
  }
  world_.breach("LIVE", "replica " + std::to_string(id) + " is never elected");
  return false;
}

std::vector<uint8_t> Script::others(uint8_t id) {
  std::vector<uint8_t> all = world_.ids();
  std::erase(all, id);
  if (world_.random().permille(500)) std::reverse(all.begin(), all.end());
  return all;
}

void Script::submit(uint8_t id, uint64_t number, const std::string& payload, Durability level,
                    bool batch_end, uint64_t group, uint64_t count) {
  const Id who = appends_[number].id;
  world_.record({.what = What::submit,
                 .id = who,
                 .digest = digest_of(std::as_bytes(std::span(payload))),
                 .group = group,
                 .count = count});
  replication::Submission s;
  s.identity = {who.client, static_cast<uint32_t>(who.incarnation), who.sequence};
  s.payload = std::as_bytes(std::span(payload));
  s.level = level;
  s.batch_end = batch_end;
  accepted_ = world_.submit(id, s, [this, number, who, level](const replication::Resolution& r) {
    appends_[number].outcome = r.code;
    if (r.code == Code::ok) {
      appends_[number].acknowledged = true;
      appends_[number].position = r.position;
      appends_[number].term = r.term;
      world_.record({.what = What::ack,
                     .position = r.position.value,
                     .term = r.term.value,
                     .id = who,
                     .level = static_cast<uint64_t>(level)});
    } else if (r.code == Code::not_appended) {
      world_.record({.what = What::refuse, .term = r.term.value, .id = who});
    }
  });
}

uint64_t Script::append(uint8_t id, size_t bytes, Durability level) {
  const uint64_t number = ++number_;
  appends_[number].id = {++client_, 1, 1};
  submit(id, number, bytes_of(number, bytes), level, true, 0, 1);
  return number;
}

std::vector<uint64_t> Script::append_batch(uint8_t id, size_t count, size_t bytes,
                                           Durability level) {
  std::vector<uint64_t> numbers;
  ++client_;
  for (size_t i = 0; i < count; ++i) {
    numbers.push_back(++number_);
    appends_[number_].id = {client_, 1, i + 1};
    submit(id, number_, bytes_of(number_, bytes), level, i + 1 == count, client_, count);
  }
  return numbers;
}

bool Script::append_acknowledged(uint8_t id, size_t bytes) {
  const uint64_t number = append(id, bytes);
  return world_.run_until([&] { return acknowledged(number); }, 20 * kMs);
}

bool Script::acknowledged(uint64_t append) const { return appends_.at(append).acknowledged; }

Code Script::outcome(uint64_t append) const { return appends_.at(append).outcome; }
Position Script::position(uint64_t append) const { return appends_.at(append).position; }
Term Script::term(uint64_t append) const { return appends_.at(append).term; }

void Script::hold_all(uint8_t from, Offset at) {
  for (const uint8_t other : world_.ids()) {
    if (other != from) world_.fabric().hold(ReplicaId{from}, ReplicaId{other}, at);
  }
}

void Script::release_all(uint8_t from) {
  for (const uint8_t other : world_.ids()) {
    if (other != from) world_.fabric().release(ReplicaId{from}, ReplicaId{other});
  }
}

}  // namespace caisson::simtest
