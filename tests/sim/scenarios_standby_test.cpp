// SPDX-License-Identifier: BSD-3-Clause
// S18: an asynchronous standby on a link that carries less than the load. It is never farther
// behind than was agreed; the primary dies, the standby takes over, and what is lost lies in the
// window that it names; the old primary comes back, and what only it held is listed and appended
// again, once (R14, R15).
#include <gtest/gtest.h>

#include <map>

#include "core/replication/orphans.hpp"
#include "core/replication/recovery.hpp"
#include "tests/sim/script.hpp"

namespace caisson::simtest {
namespace {

constexpr uint8_t kStandby = 4;

WorldOptions shipped_world(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.spares = 1;
  o.standby = {.bytes = seed % 2 == 0 ? 8192u : 32768u,
               .entries = seed % 4 < 2 ? 12 + seed % 30 : 0,
               .ms = seed % 5 == 0 ? 1u : 0u};
  o.standby_refuses = seed % 3 == 0;
  return o;
}

// One entry after the other, faster than the standby's link takes them.
class Load {
 public:
  struct Entry {
    Id id;
    uint64_t digest = 0;
    uint64_t taken_ns = 0;
    Position position;  // where it is acknowledged
  };

  explicit Load(World& world) : world_(world) { tick(); }
  void stop() { stopped_ = true; }
  uint64_t refused() const { return refused_; }
  uint64_t acknowledged() const { return acknowledged_; }
  const std::map<Id, Entry>& entries() const { return entries_; }

 private:
  static constexpr uint64_t kPaceNs = 3 * kUs;

  void tick() {
    if (stopped_) return;
    if (const uint8_t leader = world_.leader(); leader != 0) append(leader);
    world_.after(kPaceNs / 2 + world_.random().below(kPaceNs), [this] { tick(); });
  }

  void append(uint8_t leader) {
    if (outstanding_ >= 64) return;
    const uint64_t client = 500 + stream_;
    const Id id{client, 1, next_};
    Entry& entry = entries_[id];
    Random bytes(client * 1'000'003 + next_);
    std::string payload(16 + bytes.below(500), '\0');
    for (char& c : payload) c = static_cast<char>(bytes.next());
    if (entry.digest == 0) {
      entry.id = id;
      entry.digest = digest_of(std::as_bytes(std::span(payload)));
      world_.record({.what = What::submit, .id = id, .digest = entry.digest, .count = 1});
    }
    replication::Submission s;
    s.identity = {client, 1, next_};
    s.payload = std::as_bytes(std::span(payload));
    const Code code =
        world_.submit(leader, s, [this, id](const replication::Resolution& r) { resolved(id, r); });
    const bool refuses = world_.options().standby_refuses;
    if (code == Code::held && !refuses) world_.breach("R14", "an append that should wait fails");
    if (code == Code::again || code == Code::held) ++refused_;
    if (code == Code::stale_stream || code == Code::broken_stream) begin_anew();
    if (code != Code::ok) return;
    entry.taken_ns = world_.now();
    ++next_;
    ++outstanding_;
    judge_lag(leader);
  }

  void resolved(const Id& id, const replication::Resolution& r) {
    if (r.code == Code::indefinite) return begin_anew();
    --outstanding_;
    if (r.code == Code::ok) {
      ++acknowledged_;
      entries_[id].position = r.position;
      world_.record({.what = What::ack,
                     .position = r.position.value,
                     .term = r.term.value,
                     .id = id,
                     .level = kPersisted});
      return;
    }
    if (r.code == Code::not_appended) {
      world_.record({.what = What::refuse, .term = r.term.value, .id = id});
    }
    begin_anew();
  }

  void begin_anew() {
    if (next_ == 1) return;
    ++stream_;
    next_ = 1;
  }

  // What the standby would find in its ring if it died now.
  void judge_lag(uint8_t leader) {
    const log::Cursor& tail = world_.machine(leader).replica->log().tail();
    times_[tail.position] = world_.now();
    if (++taken_ % 16 != 0) return;
    const log::LogState& held = world_.machine(kStandby).replica->log();
    log::Cursor has = held.tail();
    for (;;) {
      const log::Step next = log::step(held.ring(), has, held.window_end());
      if (next.reason != log::Break::none) break;
      has = next.next;
    }
    const StandbyBounds& bounds = world_.options().standby;
    const std::string behind = "the standby is behind by ";
    if (has.end < tail.end && tail.end - has.end > bounds.bytes) {
      world_.breach("R14", behind + std::to_string(tail.end - has.end) + " bytes");
    }
    if (has.position >= tail.position) return;
    if (bounds.entries != 0 && tail.position - has.position > bounds.entries) {
      world_.breach("R14", behind + std::to_string(tail.position - has.position) + " entries");
    }
    const auto oldest = times_.upper_bound(has.position);
    const uint64_t turn_ns = 2 * world_.options().idle_turn_ns;
    if (bounds.ms != 0 && world_.now() - oldest->second > bounds.ms * kMs + turn_ns) {
      world_.breach("R14", behind + std::to_string((world_.now() - oldest->second) / kUs) + " us");
    }
  }

  World& world_;
  std::map<Id, Entry> entries_;
  std::map<Position, uint64_t> times_;
  uint64_t stream_ = 0, next_ = 1;
  uint64_t outstanding_ = 0, taken_ = 0, refused_ = 0, acknowledged_ = 0;
  bool stopped_ = false;
};

class Shipping {
 public:
  explicit Shipping(World& world) : world_(world), script_(world) {}

  // A learner that keeps up, then a standby.
  bool admit() {
    script_.await_service();
    uint64_t next_ns = 0;
    return world_.run_until(
        [&] {
          const log::Membership now = world_.view();
          if (now.standbys.has(ReplicaId{kStandby}) && world_.leader() != 0 &&
              script_.tail_position(kStandby) >= script_.tail_position(world_.leader())) {
            return true;
          }
          if (world_.now() < next_ns) return false;
          next_ns = world_.now() + 300 * kUs;
          const ReplicaSet it = just(ReplicaId{kStandby});
          (void)world_.change(now.learners.has(ReplicaId{kStandby}) ? MemberChange{.standby = it}
                                                                    : MemberChange{.learn = it});
          return false;
        },
        60 * kMs);
  }

  void throttle() {
    world_.fabric().set_slowness(ReplicaId{kStandby}, 20 + world_.random().below(60));
    world_.machine(kStandby).slowness = 1 + world_.random().below(20);
  }

  bool another_leader(const Load& load) {
    const uint8_t old = world_.leader();
    if (old == 0) return false;
    world_.kill(old, world_.random().permille(500) ? Death::power : Death::process);
    const bool taken = world_.run_until([&] { return world_.leader() != 0; }, 60 * kMs);
    world_.start(old);
    const uint64_t before = load.acknowledged();
    return taken && world_.run_until([&] { return load.acknowledged() > before; }, 100 * kMs);
  }

  // As the engine does: what a dead writer posted may still be on its way.
  void shut_out_writers(Machine& m) { (void)world_.fabric().open_endpoint(m.id)->revoke_all(); }

  // Whole sites die. The standby goes on alone.
  bool take_over(uint64_t seed) {
    for (uint8_t id = 1; id <= kStandby; ++id) {
      world_.kill(id, seed % 2 == 0 ? Death::power : Death::process);
    }
    Machine& m = world_.machine(kStandby);
    shut_out_writers(m);
    for (uint64_t turn = 0; turn <= (seed % 4 == 3 ? 1 : 0); ++turn) {
      const auto superblock = log::decode_superblock(*m.region->read_superblock());
      const uint64_t word = world_.random().next();
      const auto done = replication::promote_standby(*m.region, superblock->identity, m.id,
                                                     word | 1, world_.random().next() | 1);
      if (!done) {
        world_.breach("R14", "a sound standby is refused: " + done.error().message);
        return false;
      }
      if (turn > 0 && done->last != taken_.last) world_.breach("R14", "asked again, it differs");
      taken_ = *done;
      m.birth = word | 1;
      identity_ = superblock->identity;
    }
    if (taken_.bounds != world_.options().standby) world_.breach("R14", "other bounds are named");
    world_.take_over(kStandby, taken_.last.position, replication::entries_at_most(taken_.bounds));
    world_.fabric().set_slowness(m.id, 1);
    m.slowness = 1;
    world_.start(kStandby);
    if (!world_.run_until([&] { return world_.leader() == kStandby; }, 100 * kMs)) {
      world_.breach("LIVE", "the standby does not go on: " + world_.describe());
      return false;
    }
    for (int attempt = 0; attempt < 10; ++attempt) {
      if (script_.append_acknowledged(kStandby)) return true;
    }
    world_.breach("LIVE", "the standby takes no appends: " + world_.describe());
    return false;
  }

  // What one of the old primary holds beyond goes aside, wherever that is cut short.
  bool come_back(uint8_t id) {
    Machine& m = world_.machine(id);
    const uint64_t birth = world_.random().next() | 1;
    shut_out_writers(m);
    Result<Position> agreed = fail(Code::again, "");
    world_.kill_at(id, "", 1 + world_.random().below(12),
                   world_.random().permille(500) ? Death::power : Death::process);
    for (int attempt = 0; attempt < 3 && !agreed; ++attempt) {
      world_.inside(m, [&] {
        agreed = replication::leave_behind(*m.region, identity_, m.id, taken_.last.position,
                                           Term{taken_.recovered.view.value}, birth);
      });
      m.plan = {};
    }
    if (!agreed) {
      world_.breach("R15", "it cannot come back: " + agreed.error().message);
      return false;
    }
    m.birth = birth;
    world_.start(id);
    uint64_t next_ns = 0;
    const bool votes = world_.run_until(
        [&] {
          const log::Membership now = world_.view();
          if (now.settled() && now.voters.has(m.id)) return true;
          if (world_.now() >= next_ns) {
            next_ns = world_.now() + 500 * kUs;
            (void)world_.change({.add = just(m.id)});
          }
          return false;
        },
        100 * kMs);
    if (!votes) world_.breach("LIVE", "it is not admitted again: " + world_.describe());
    return votes;
  }

  // Appends what `id` lists again, under the names that its origin gives it.
  void resubmit(uint8_t id) {
    const replication::Replica& replica = *world_.machine(id).replica;
    for (const auto& record : std::vector(replica.orphans().records())) {
      replication::OrphanPageLimits limits;
      limits.payloads = OrphanPayloads::copied;
      limits.entries_max = UINT32_MAX;
      limits.bytes_max = UINT64_MAX;
      const auto page = replication::read_orphans(record, record.before(), limits, replica.log(),
                                                  replica.log().committed());
      Term term;
      uint64_t client = 0, sequence = 0;
      for (const OrphanEntry& entry : page.entries) {
        if (!entry.data) continue;
        if (entry.term != term) {
          term = entry.term;
          client = replication::resubmission_client(identity_, term, entry.position);
          sequence = 0;
        }
        append_once({client, 1, ++sequence}, entry.payload);
      }
    }
  }

  void expect_listed_once(uint8_t id, const std::map<Id, Load::Entry>& entries) {
    std::set<Id> seen;
    for (const auto& [client, sequence, position] : orphans_of(world_, id, Orphaned::displaced)) {
      const Id who{client, 1, sequence};
      if (!seen.insert(who).second) world_.breach("R15", "an orphan is listed twice");
      if (entries.contains(who)) listed_.insert(who);
    }
  }

  // Every acknowledged entry that was lost is listed by somebody, and in the log again, once.
  void expect_all_back(const std::map<Id, Load::Entry>& entries) {
    std::map<uint64_t, std::set<uint64_t>> places;
    for (const Event& e : world_.history()) {
      if (e.what == What::takeover) places.clear();
      if (e.what == What::expose && e.replica == kStandby && e.kind == kDataKind &&
          e.position > taken_.last.position.value) {
        places[e.digest].insert(e.position);
      }
    }
    for (const auto& [id, entry] : entries) {
      if (entry.position <= taken_.last.position) continue;
      ++lost_;
      if (!listed_.contains(id)) world_.breach("R15", "a lost entry is listed by nobody");
      if (places[entry.digest].size() != 1) {
        world_.breach("R15", "a lost entry stands at " +
                                 std::to_string(places[entry.digest].size()) +
                                 " places after it was appended again");
      }
    }
  }

  uint64_t lost() const { return lost_; }
  Script& script() { return script_; }

 private:
  void append_once(const Id& id, const std::vector<std::byte>& payload) {
    world_.record({.what = What::submit, .id = id, .digest = digest_of(payload), .count = 1});
    replication::Submission s;
    s.identity = {id.client, static_cast<uint32_t>(id.incarnation), id.sequence};
    s.payload = payload;
    auto done = std::make_shared<bool>(false);
    Code code = Code::again;
    const auto taken = [&] {
      if (code == Code::again) {
        code = world_.submit(world_.leader(), s, [this, id, done](const auto& r) {
          if (r.code != Code::ok) return;
          *done = true;
          world_.record({.what = What::ack,
                         .position = r.position.value,
                         .term = r.term.value,
                         .id = id,
                         .level = kPersisted});
        });
      }
      return *done;
    };
    if (!world_.run_until(taken, 20 * kMs)) world_.breach("LIVE", "a resubmission is not answered");
  }

  World& world_;
  Script script_;
  replication::Takeover taken_;
  LogIdentity identity_;
  std::set<Id> listed_;
  uint64_t lost_ = 0;
};

Outcome shipped(uint64_t seed) {
  World world(shipped_world(seed));
  Shipping shipping(world);
  if (!shipping.admit()) {
    world.breach("LIVE", "the standby is not admitted: " + world.describe());
    return conclude(world);
  }
  Load load(world);
  shipping.throttle();
  world.run_for(2 * kMs + world.random().below(3 * kMs));
  if (seed % 3 == 1 && !shipping.another_leader(load)) {
    world.breach("LIVE", "appends do not go on behind a failover: " + world.describe());
    return conclude(world);
  }
  world.run_for(world.random().below(2 * kMs));
  const bool bounded = load.refused() > 0;
  load.stop();
  if (!shipping.take_over(seed)) return conclude(world);
  for (uint8_t id = 1; id < kStandby; ++id) {
    if (!shipping.come_back(id)) return conclude(world);
    shipping.expect_listed_once(id, load.entries());
  }
  for (uint8_t id = 1; id < kStandby; ++id) shipping.resubmit(id);
  world.run_for(kMs);
  shipping.expect_all_back(load.entries());
  return conclude(world, bounded && shipping.lost() > 0);
}

TEST(S18, AStandbyTakesOverAndWhatIsLostLiesInTheWindowThatItNames) {
  const Outcome sum = over_seeds(1, 60, shipped);
  EXPECT_GT(sum.constructed, 30u);
}

// A standby that is gone bounds the appends all the same, until it is removed.
Outcome gone(uint64_t seed) {
  World world(shipped_world(seed));
  Shipping shipping(world);
  if (!shipping.admit()) return conclude(world);
  Script& script = shipping.script();
  world.kill(kStandby, seed % 2 == 0 ? Death::power : Death::process);
  world.run_for(3 * kMs);  // until then its memory takes writes without it
  const Position had = script.tail_position(world.leader());
  uint64_t taken = 0;
  Code code = Code::ok;
  world.run_until(
      [&] {
        const uint8_t leader = world.leader();
        if (leader == 0) return false;
        script.append(leader, 1000);
        code = script.accepted();
        taken += code == Code::ok;
        return code != Code::ok;
      },
      20 * kMs);
  const uint64_t most = replication::entries_at_most(world.options().standby);
  if (taken > most) world.breach("R14", std::to_string(taken) + " appends without the standby");
  if (code != (world.options().standby_refuses ? Code::held : Code::again)) {
    world.breach("R14", "answered " + std::string(caisson::name(code)) + " at the bound, behind " +
                            std::to_string(taken) + " appends");
  }
  // Whoever leads next does not know what it has, and keeps to the bound.
  const uint8_t old = world.leader();
  if (seed % 2 == 1 && old != 0) {
    world.kill(old);
    world.run_until([&] { return world.leader() != 0; }, 60 * kMs);
    script.append(world.leader(), 100);
    if (script.accepted() == Code::ok) world.breach("R14", "a new leader forgets the standby");
    world.start(old);
  }
  uint64_t next_ns = 0;
  const bool free = world.run_until(
      [&] {
        if (world.leader() != 0 && world.view().standbys.empty() && world.view().settled()) {
          return true;
        }
        if (world.now() >= next_ns) {
          next_ns = world.now() + 500 * kUs;
          (void)world.change({.remove = just(ReplicaId{kStandby})});
        }
        return false;
      },
      60 * kMs);
  if (!free || !script.append_acknowledged(world.leader())) {
    world.breach("LIVE", "a standby that was removed still bounds the appends");
  }
  if (script.tail_position(world.leader()) <= had) world.breach("LIVE", "nothing was appended");
  return conclude(world, true);
}

TEST(R14, AStandbyThatIsGoneBoundsTheAppendsUntilItIsRemoved) {
  const Outcome sum = over_seeds(1, 24, gone);
  EXPECT_GT(sum.constructed, 20u);
}

}  // namespace
}  // namespace caisson::simtest
