// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/world.hpp"

#include <algorithm>

#include "core/control/wire.hpp"
#include "tests/sim/client.hpp"

namespace caisson::simtest {

namespace {

constexpr uint64_t kTrimEveryNs = 300 * kUs;
constexpr uint64_t kMessageRetryNs = 200 * kUs;  // of a control link that is cut: it connects again

// Thrown by a hook to end a machine's code where it stands.
struct Died {
  Death how;
};

LogIdentity identity_of(uint64_t seed) {
  LogIdentity identity;
  identity.cluster[0] = static_cast<uint8_t>(seed);
  identity.log = 1 + seed % 1000;
  return identity;
}

}  // namespace

uint64_t digest_of(std::span<const std::byte> bytes) {
  uint64_t digest = 0xcbf29ce484222325u ^ bytes.size();
  for (const std::byte b : bytes) digest = (digest ^ static_cast<uint64_t>(b)) * 0x100000001b3u;
  return digest;
}

class World::MachineOutbox : public control::Outbox {
 public:
  MachineOutbox(World& world, ReplicaId self) : world_(world), self_(self) {}
  void send(ReplicaId to, const control::Message& message) override {
    world_.pass(self_, "send");
    world_.send(self_, to, message);
  }

 private:
  World& world_;
  const ReplicaId self_;
};

World::World(const WorldOptions& options) : options_(options), random_(options.seed) {
  fabric_ = std::make_unique<SimFabric>(options.fabric, random_.next());
  fabric_->run_until(now_ns_);
  fabric_->set_hook([this](ReplicaId id, std::string_view call) { pass(id, call); });
  ReplicaSet voters;
  for (uint8_t id = 1; id <= options.replicas; ++id) voters.add(ReplicaId{id});
  for (uint8_t id = 1; id <= options.replicas + options.spares; ++id) {
    machines_.push_back(std::make_unique<Machine>());
    Machine& m = *machines_.back();
    m.id = ReplicaId{id};
    make_region(m, voters);
    fabric_->add_node(m.id, *m.region);
  }
  for (const uint8_t id : ids()) start(id);
  if (options.trims) after(kTrimEveryNs, [this] { trim_now_and_then(); });
}

void World::make_region(Machine& m, ReplicaSet voters) {
  const pmem::Geometry geometry{options_.ring_bytes, 4096, options_.salvage_bytes};
  m.region = std::make_unique<pmem::ShadowRegion>(geometry, options_.persistence);
  const LogIdentity identity = identity_of(options_.seed);
  m.birth = voters.has(m.id) ? 0 : random_.next() | 1;
  const log::QuorumSystem quorum =
      m.id.value == options_.odd ? options_.quorum_of_odd : options_.quorum;
  const Code code = voters.has(m.id)
                        ? replication::create_replica(*m.region, identity, m.id, voters, quorum)
                        : replication::create_joiner(*m.region, identity, m.id, m.birth);
  if (code != Code::ok) breach("SETUP", "a replica could not be created");
  m.region->set_hook([this, id = m.id](const pmem::ShadowRegion::Point& point) {
    constexpr std::string_view kNames[] = {"store", "flush", "fence"};
    pass(id, kNames[static_cast<size_t>(point.kind)]);
  });
}

World::~World() {
  // Replicas go before what they refer to.
  clients_.clear();
  for (const auto& m : machines_) m->replica.reset();
}

// ---- Time
// -----------------------------------------------------------------------------------------

void World::after(uint64_t ns, std::function<void()> run) {
  timed_.push({now_ns_ + ns, ++order_, std::move(run)});
}

bool World::step(uint64_t until_ns) {
  const uint64_t own_ns = timed_.empty() ? UINT64_MAX : timed_.top().at_ns;
  const uint64_t next_ns = std::min(own_ns, fabric_->next_ns());
  if (next_ns > until_ns) return false;
  now_ns_ = std::max(now_ns_, next_ns);
  fabric_->run_until(now_ns_);
  if (own_ns <= now_ns_) {
    std::function<void()> run = std::move(const_cast<Timed&>(timed_.top()).run);
    ++counters_.events;
    trace_ = (trace_ ^ now_ns_ ^ timed_.top().order << 40) * 0x100000001b3u;
    timed_.pop();
    run();
  }
  if (look_) look_();
  return true;
}

void World::run_until_time(uint64_t until_ns) {
  while (step(until_ns)) {
  }
  now_ns_ = until_ns;
  fabric_->run_until(now_ns_);
}

bool World::run_until(const std::function<bool()>& done, uint64_t ns) {
  const uint64_t until_ns = now_ns_ + ns;
  while (!done()) {
    if (!step(until_ns)) {
      now_ns_ = until_ns;
      fabric_->run_until(now_ns_);
      return done();
    }
  }
  return true;
}

// ---- Machines
// -------------------------------------------------------------------------------------

std::vector<uint8_t> World::ids() const {
  std::vector<uint8_t> all;
  for (const auto& m : machines_) all.push_back(m->id.value);
  return all;
}

uint8_t World::leader() const {
  uint8_t best = 0;
  Term highest;
  for (const auto& m : machines_) {
    if (!m->turns() || m->replica->leading() <= highest) continue;
    highest = m->replica->leading();
    best = m->id.value;
  }
  return best;
}

replication::ReplicaOptions World::replica_options(ReplicaId id) const {
  replication::ReplicaOptions o;
  o.identity = identity_of(options_.seed);
  o.self = id;
  for (const uint8_t peer : ids()) o.peers.add(ReplicaId{peer});
  o.seed = options_.seed * 64 + id.value + machines_[id.value - 1u]->life * 1'000'003;
  o.auto_apply = options_.auto_apply;
  o.entry_bytes_max = options_.entry_bytes_max;
  o.outstanding_max = 1024;
  o.streams_max = 64;
  o.stream_window = 128;
  o.cursor_persist_bytes =
      options_.cursor_persist_bytes != 0 ? options_.cursor_persist_bytes : options_.ring_bytes / 16;
  o.cursor_persist_idle_ns = options_.cursor_persist_idle_ns;
  o.retry_ns = 300 * kUs;
  o.election_jitter_ns = 300 * kUs;
  o.stagger_ns = 100 * kUs;
  o.leaderless_patience_ns = 1 * kMs;
  o.quorum_patience_ns = 6 * kMs;
  o.lag_patience_ns = 500 * kUs;
  o.fault_after_ns = options_.fault_after_ns;
  o.slow_after_ns = options_.slow_after_ns;
  o.demotes_slow = options_.demotes_slow;
  o.demote_after_ns = options_.demote_after_ns;
  o.voters_min = options_.voters_min;
  o.standby_bounds = options_.standby;
  o.standby_refuses = options_.standby_refuses;
  o.claim_timeout_ns = 3 * kMs;
  o.scrub_bytes_per_s = options_.scrub_bytes_per_s;
  return o;
}

bool World::start(uint8_t id) {
  Machine& m = machine(id);
  if (m.up()) return true;
  ++m.life;
  m.paused = false;
  m.inbox.clear();
  m.endpoint = fabric_->open_endpoint(m.id);
  m.heartbeats = fabric_->open_heartbeats(m.id);
  transport::ReplicaSet peers;
  for (const uint8_t other : ids()) {
    if (other != id) peers.add(ReplicaId{other});
  }
  m.detector = std::make_unique<control::FailureDetector>(
      control::FailureDetectorOptions{.suspect_after_ns = options_.suspect_after_ns,
                                      .link_hint_ns = options_.suspect_after_ns / 5},
      *m.heartbeats, peers);
  m.outbox = std::make_unique<MachineOutbox>(*this, m.id);
  bool opened = false;
  const bool lived = inside(m, [&] {
    auto replica = replication::Replica::open(replica_options(m.id), *m.region, *m.endpoint,
                                              *m.detector, *m.outbox, local_now(m));
    opened = replica.has_value();
    if (opened) {
      m.replica = std::move(*replica);
    } else {
      m.refused = replica.error().code;
    }
  });
  if (!lived) return false;
  if (!opened) {
    fabric_->process_died(m.id);
    if (!m.wrecked) {
      breach("I6", "replica " + std::to_string(id) +
                       " cannot start: " + std::string(caisson::name(m.refused)));
    }
    m.wrecked = true;
    return false;
  }
  if (watched()) tell("replica " + std::to_string(id) + " starts");
  restart_reader(m);
  notice(id, true);
  after(random_.below(options_.turn_ns), [this, id, life = m.life] { turn(id, life); });
  return true;
}

void World::turn(uint8_t id, uint64_t life) {
  Machine& m = machine(id);
  if (!m.up() || m.life != life || m.paused) return;
  uint32_t work = 0;
  ++counters_.turns;
  m.clock_seen_ns = std::max(m.clock_seen_ns, local_now(m));
  const bool lived = inside(m, [&] {
    m.detector->poll(local_now(m));
    work = m.replica->poll(local_now(m));
  });
  if (!lived) return;
  observe(m);
  const uint64_t pace_ns = (work != 0 ? options_.turn_ns : options_.idle_turn_ns) * m.slowness;
  after(pace_ns / 2 + random_.below(pace_ns), [this, id, life] { turn(id, life); });
}

uint64_t World::local_now(const Machine& m) const {
  const auto real = static_cast<int64_t>(now_ns_);
  const int64_t local = real + real / 1'000'000 * m.clock_drift_ppm + m.clock_offset_ns;
  return local < 1 ? 1 : static_cast<uint64_t>(local);
}

bool World::inside(Machine& m, const std::function<void()>& f) {
  const ReplicaId before = inside_;
  inside_ = m.id;
  try {
    f();
    inside_ = before;
    return true;
  } catch (const Died& died) {
    inside_ = before;
    ++counters_.died_inside;
    if (died.how == Death::power_all) {
      power_cut_all();
    } else {
      drop(m, died.how);
    }
    return false;
  }
}

void World::pass(ReplicaId id, std::string_view call) {
  if (inside_ != id) return;
  if (watcher_) watcher_(machine(id.value), call);
  Machine::Plan& plan = machine(id.value).plan;
  if (plan.countdown == 0 || (!plan.call.empty() && plan.call != call)) return;
  if (--plan.countdown == 0) throw Died{plan.how};
}

void World::drop(Machine& m, Death how) {
  m.plan = {};
  m.inbox.clear();
  if (m.up()) ++counters_.processes_died;
  if (watched()) {
    tell("replica " + std::to_string(m.id.value) +
         (how == Death::process ? m.up() ? ": its process dies" : ": its start is cut short"
                                : ": its power is lost"));
  }
  if (how == Death::process) {
    fabric_->process_died(m.id);
  } else {
    ++counters_.powers_lost;
    fabric_->power_lost(m.id);
    m.region->power_cut(random_.next());
    record({.what = What::loss, .replica = m.id.value});
  }
  if (m.up()) notice(m.id.value, false);
  m.replica.reset();
  m.outbox.reset();
  m.detector.reset();
  m.heartbeats.reset();
  m.endpoint.reset();
  trace_ = trace_ * 31 + m.id.value + now_ns_;
}

void World::kill(uint8_t id, Death how) {
  if (how == Death::power_all) return power_cut_all();
  drop(machine(id), how);
}

void World::kill_at(uint8_t id, std::string call, uint64_t count, Death how) {
  machine(id).plan = {std::move(call), count, how};
}

void World::power_cut_all() {
  for (const auto& m : machines_) drop(*m, Death::power);
}

void World::wreck(uint8_t id) {
  machine(id).wrecked = true;
  record({.what = What::damage, .replica = id});
}

void World::destroy(uint8_t id) {
  Machine& m = machine(id);
  ++counters_.memories_lost;
  if (watched()) tell("replica " + std::to_string(id) + ": its memory is gone for good");
  drop(m, Death::power);
  make_region(m, {});
  fabric_->replace_region(m.id, *m.region);
  m.applied = m.applied_state = 0;
  m.wrecked = false;
  record({.what = What::reborn, .replica = id});
  start(id);
}

Code World::change(const MemberChange& change) {
  const uint8_t id = leader();
  if (id == 0) return Code::not_leader;
  Code code = Code::closed;
  inside(machine(id), [&] { code = machine(id).replica->change_members(change); });
  return code;
}

Code World::hand_over(uint8_t to) {
  const uint8_t id = leader();
  if (id == 0) return Code::not_leader;
  Machine& m = machine(id);
  Code code = Code::closed;
  inside(m, [&] { code = m.replica->hand_over(ReplicaId{to}, local_now(m)); });
  return code;
}

void World::take_over(uint8_t id, Position last, uint64_t lost) {
  record({.what = What::takeover, .replica = id, .position = last.value, .count = lost});
  std::erase_if(states_, [&](const auto& state) { return state.first > last.value; });
  shown_max_ = std::min(shown_max_, last.value);
}

bool World::dismiss_the_lost() {
  const log::Membership now = view();
  ReplicaSet lost;
  for_each(now.members(), [&](ReplicaId id) {
    if (!admitted(machine(id.value), now)) lost.add(id);
  });
  if (lost.empty()) return false;
  (void)change({.remove = lost});
  return true;
}

void World::wipe_the_damaged() {
  const uint8_t leads = leader();
  if (leads == 0) return;
  const Position trimmed = machine(leads).replica->log().trimmed();
  for (const uint8_t id : ids()) {
    const Machine& m = machine(id);
    if (!m.up() && m.wrecked) destroy(id);  // it cannot even start
    if (!m.up() || m.replica->status().role != replication::Role::damaged) continue;
    if (m.replica->log().committed() < trimmed) destroy(id);
  }
}

LogIdentity World::identity() const { return identity_of(options_.seed); }

log::Membership World::view() const {
  const uint8_t id = leader();
  return id == 0 ? log::Membership{} : machines_[id - 1u]->replica->status().membership;
}

bool World::admitted(const Machine& m, const log::Membership& view) const {
  return view.members().has(m.id) && view.births[m.id.value] == m.birth;
}

void World::resume(uint8_t id) {
  Machine& m = machine(id);
  if (!m.paused) return;
  m.paused = false;
  if (!m.up()) return;
  after(0, [this, id, life = m.life] { turn(id, life); });
  for (auto& arrived : std::exchange(m.inbox, {}))
    after(random_.below(5 * kUs), std::move(arrived));
}

// ---- Links
// ----------------------------------------------------------------------------------------

void World::cut(uint8_t from, uint8_t to, bool data, bool control) {
  if (data) fabric_->set_cut(ReplicaId{from}, ReplicaId{to}, true);
  if (!control) return;
  control_cut_[from][to] = true;
  if (!options_.link_notices) return;
  for (const auto& [a, b] : {std::pair{from, to}, std::pair{to, from}}) {
    if (!machine(a).up()) continue;
    after(random_.below(300 * kUs), [this, seer = a, peer = b, life = machine(a).life] {
      Machine& m = machine(seer);
      const bool apart = control_cut_[seer][peer] || control_cut_[peer][seer];
      if (m.up() && m.life == life && apart) m.detector->on_link(ReplicaId{peer}, false);
    });
  }
}

void World::clog(uint8_t from, uint8_t to, bool data, bool control) {
  if (data) fabric_->hold(ReplicaId{from}, ReplicaId{to});
  if (control) clogged_.try_emplace({from, to});
}

void World::unclog(uint8_t from, uint8_t to) {
  fabric_->release(ReplicaId{from}, ReplicaId{to});
  const auto waiting = clogged_.extract({from, to});
  if (waiting.empty()) return;
  for (std::string& bytes : waiting.mapped()) {
    after(random_.below(options_.message_ns_max + 1), [this, from, to, bytes = std::move(bytes)] {
      deliver(ReplicaId{from}, ReplicaId{to}, bytes);
    });
  }
}

void World::mend(uint8_t from, uint8_t to) {
  fabric_->set_cut(ReplicaId{from}, ReplicaId{to}, false);
  unclog(from, to);
  control_cut_[from][to] = false;
  if (control_cut_[to][from]) return;
  for (const auto& [a, b] : {std::pair{from, to}, std::pair{to, from}}) {
    if (machine(a).up() && machine(b).up()) machine(a).detector->on_link(ReplicaId{b}, true);
  }
}

void World::isolate(uint8_t id) {
  for (const uint8_t other : ids()) {
    if (other == id) continue;
    cut(id, other);
    cut(other, id);
  }
}

void World::heal() {
  tell("everything is healed");
  for (const uint8_t a : ids()) {
    for (const uint8_t b : ids()) {
      if (a != b) mend(a, b);
    }
  }
  fabric_->options().flip_permille = 0;
  options_.message_loss_permille = 0;
  for (const uint8_t id : ids()) {
    Machine& m = machine(id);
    m.plan = {};
    // A clock that was set back would stand still until it caught up.
    m.clock_drift_ppm = 0;
    m.clock_offset_ns =
        m.clock_seen_ns > now_ns_ ? static_cast<int64_t>(m.clock_seen_ns - now_ns_) : 0;
    m.slowness = 1;
    fabric_->set_slowness(m.id, 1);
    resume(id);
    if (!m.up()) start(id);
  }
}

void World::notice(uint8_t of, bool up) {
  if (!options_.link_notices) return;
  for (const uint8_t other : ids()) {
    if (other == of || !machine(other).up()) continue;
    after(random_.below(100 * kUs), [this, other, of, life = machine(other).life] {
      Machine& m = machine(other);
      if (m.up() && m.life == life) m.detector->on_link(ReplicaId{of}, machine(of).up());
    });
  }
  if (!up) return;
  for (const uint8_t other : ids()) {
    if (other != of && !machine(other).up()) machine(of).detector->on_link(ReplicaId{other}, false);
  }
}

// Through the codec, as on a real link.
void World::send(ReplicaId from, ReplicaId to, const control::Message& message) {
  if (listener_) listener_(from, message);
  if (to.value > machines_.size()) return;  // there is no link to whom nobody knows
  ++counters_.messages;
  if (random_.permille(options_.message_loss_permille)) {
    ++counters_.messages_lost;
    return;
  }
  const std::string bytes = control::encode({identity_of(options_.seed), from, to, message});
  const int copies = random_.permille(options_.message_twice_permille) ? 2 : 1;
  counters_.messages_twice += copies == 2;
  for (int i = 0; i < copies; ++i) {
    const bool late = random_.permille(options_.message_late_permille);
    counters_.messages_late += late;
    const uint64_t span_ns = late ? options_.message_late_ns_max : options_.message_ns_max;
    after(random_.below(span_ns + 1), [this, from, to, bytes] { deliver(from, to, bytes); });
  }
}

void World::deliver(ReplicaId from, ReplicaId to, const std::string& bytes) {
  Machine& m = machine(to.value);
  if (const auto clog = clogged_.find({from.value, to.value}); clog != clogged_.end()) {
    ++counters_.messages_clogged;
    clog->second.push_back(bytes);
    return;
  }
  if (!m.up()) return;
  if (control_cut_[from.value][to.value]) {
    // What is in the socket's buffer is lost with the connection, or arrives late.
    if (random_.permille(500)) return;
    after(kMessageRetryNs, [this, from, to, bytes] { deliver(from, to, bytes); });
    return;
  }
  if (m.paused) {
    m.inbox.push_back([this, from, to, bytes] { deliver(from, to, bytes); });
    return;
  }
  const auto envelope = control::decode(std::as_bytes(std::span(bytes)));
  if (!envelope) return breach("WIRE", "a message does not survive its own codec");
  if (hearer_) hearer_(to, envelope->from, envelope->message);
  const bool lived =
      inside(m, [&] { m.replica->on_message(envelope->from, envelope->message, local_now(m)); });
  if (lived) observe(m);
}

// ---- Work
// -----------------------------------------------------------------------------------------

uint64_t World::new_tag(OnResolution done) {
  waiting_[++tags_] = std::move(done);
  return tags_;
}

Code World::submit(uint8_t id, replication::Submission submission, OnResolution done) {
  Machine& m = machine(id);
  if (!m.turns()) return Code::closed;
  submission.tag = new_tag(std::move(done));
  Code code = Code::closed;
  if (!inside(m, [&] { code = m.replica->submit(submission); })) return Code::closed;
  if (code != Code::ok) waiting_.erase(submission.tag);
  return code;
}

Client& World::add_client(std::unique_ptr<Client> client) {
  clients_.push_back(std::move(client));
  return *clients_.back();
}

void World::trim() {
  const uint8_t id = leader();
  if (id == 0) return;
  Machine& m = machine(id);
  const uint64_t committed = m.replica->log().committed().value;
  uint64_t to = committed - std::min(committed, random_.below(100));
  ReplicaId holder;
  // Entry 1 counts as applied from the creation on, whatever the application says.
  if (to > std::max<uint64_t>(m.trimmed, 1)) {
    inside(m, [&] { (void)m.replica->trim(Position{to}, &holder); });
  }
}

void World::trim_now_and_then() {
  trim();
  after(kTrimEveryNs, [this] { trim_now_and_then(); });
}

}  // namespace caisson::simtest
