// SPDX-License-Identifier: BSD-3-Clause
// What the world sees of its machines: every entry the moment it becomes visible, every answer,
// every term; and the judgement at the end.
#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/sim/client.hpp"
#include "tests/sim/world.hpp"

namespace caisson::simtest {

namespace {

constexpr uint64_t kReplayEvery = 8;      // positions between two comparisons of replayed states
constexpr uint64_t kApplyLagMax = 40;     // how far an application's durable mark lags
constexpr size_t kEventsMax = 4'000'000;  // a run that says more is broken

Event entry_event(const Machine& m, const log::EntryView& entry) {
  Event e;
  e.what = What::expose;
  e.replica = m.id.value;
  e.life = m.life;
  e.position = entry.header.position;
  e.term = entry.header.term;
  e.kind = entry.header.kind;
  e.id = {entry.header.client, entry.header.incarnation, entry.header.sequence};
  e.digest = digest_of(entry.payload);
  if (e.kind == kSessionKind && entry.payload.size() == sizeof(log::SessionPayload)) {
    log::SessionPayload session;
    std::memcpy(&session, entry.payload.data(), sizeof session);
    e.group = session.resume;
  }
  if (e.kind == kViewKind) {
    if (const auto view = log::decode_view(entry.payload)) e.group = view->electors().bits;
  }
  return e;
}

}  // namespace

Event& World::record(Event event) {
  trace_ = (trace_ ^ static_cast<uint64_t>(event.what) ^ (event.position << 8) ^
            (event.id.sequence << 32) ^ event.digest) *
           0x100000001b3u;
  event.at_ns = now_ns_;
  if (watched()) witness_->saw(event);
  if (history_.size() < kEventsMax) {
    history_.push_back(event);
  } else {
    breach("LIVE", "the run does not come to an end");
  }
  return history_.back();
}

void World::breach(const std::string& invariant, const std::string& what) {
  for (const Violation& known : breaches_) {
    if (known.invariant == invariant) return;
  }
  breaches_.push_back({invariant, what});
}

bool World::exposed(const Id& id) const {
  const auto latest = latest_of_.find(id.client);
  return latest != latest_of_.end() && latest->second >= std::pair{id.incarnation, id.sequence};
}

uint64_t World::committed_max() const { return shown_max_; }

void World::restart_reader(Machine& m) {
  m.cursor_known = false;
  m.unreadable = 0;
  const uint64_t trimmed = std::exchange(m.trimmed, m.replica->log().trimmed().value);
  m.led = Term{};
  // The application goes on where its own durable state stands; without one, where the log begins.
  m.shown = options_.auto_apply ? m.trimmed : m.applied;
  const auto known = states_.find(m.shown);
  m.state_known = !options_.auto_apply || m.shown == 0 || known != states_.end();
  m.state = options_.auto_apply ? (m.shown == 0 || known == states_.end() ? 0 : known->second)
                                : m.applied_state;
  if (m.trimmed > m.shown) {
    breach("R8", "replica " + std::to_string(m.id.value) + " restarts trimmed through " +
                     std::to_string(m.trimmed) + ", its application stands at " +
                     std::to_string(m.shown));
  }
  record({.what = What::skip, .replica = m.id.value, .life = m.life, .position = m.shown});
  if (!options_.auto_apply) {
    // Entry 1 counts as applied from the creation on.
    record({.what = What::applied,
            .replica = m.id.value,
            .position = std::max<uint64_t>(m.applied, 1)});
  }
  // It may have died as soon as its trim point was persistent.
  if (m.trimmed > trimmed) {
    record({.what = What::trim, .replica = m.id.value, .life = m.life, .position = m.trimmed});
  }
}

void World::observe(Machine& m) {
  if (!m.up()) return;
  install(m);
  if (!m.up()) return;
  show(m);
  if (!m.up()) return;
  const uint64_t trimmed = m.replica->log().trimmed().value;
  if (trimmed > m.trimmed) {
    m.trimmed = trimmed;
    record({.what = What::trim, .replica = m.id.value, .life = m.life, .position = trimmed});
  }
  const Term term = m.replica->leading();
  if (term != m.led && term.value != 0) {
    record({.what = What::lead, .replica = m.id.value, .life = m.life, .term = term.value});
  }
  m.led = term;
  observe_reads(m);
  if (!m.up()) return;
  std::array<replication::Resolution, 64> resolved;
  for (;;) {
    size_t n = 0;
    if (!inside(m, [&] { n = m.replica->take_resolutions(resolved); })) return;
    for (size_t i = 0; i < n; ++i) {
      const auto found = waiting_.find(resolved[i].tag);
      if (found == waiting_.end()) {
        breach("R13", "tag " + std::to_string(resolved[i].tag) + " is resolved twice");
        continue;
      }
      // An indefinite one is followed by exactly one more.
      const OnResolution done = found->second;
      if (resolved[i].code != Code::indefinite) waiting_.erase(found);
      done(resolved[i]);
    }
    if (n < resolved.size()) return;
  }
}

void World::show(Machine& m) {
  const log::LogState& log = m.replica->log();
  while (m.shown < log.committed().value) {
    log::EntryView view;
    const Position next{m.shown + 1};
    const bool walk = m.cursor_known && random_.permille(800);
    const Code code = walk ? log.read_next(m.cursor, view) : log.read(next, view);
    if (code == Code::trimmed && options_.auto_apply) {
      m.shown = log.trimmed().value;
      m.cursor_known = false;
      m.state_known = states_.contains(m.shown);
      m.state = m.state_known ? states_[m.shown] : 0;
      record({.what = What::skip, .replica = m.id.value, .life = m.life, .position = m.shown});
      continue;
    }
    if (code != Code::ok) {
      if (m.unreadable != next.value) {
        record({.what = What::unreadable,
                .replica = m.id.value,
                .life = m.life,
                .position = next.value});
      }
      m.unreadable = next.value;
      return;
    }
    m.cursor = view.cursor;
    m.cursor_known = true;
    show_entry(m, view);
  }
  if (options_.auto_apply) return;
  // What it had applied when its process died it says again, as far as the log is known by now.
  const Position again{std::min(m.applied, log.committed().value)};
  if (m.replica->status().marks.applied < again &&
      !inside(m, [&] { m.replica->mark_applied(again); })) {
    return;
  }
  const uint64_t lag = random_.below(kApplyLagMax);
  if (m.shown > m.applied + lag && random_.permille(200)) {
    m.applied = m.shown;
    m.applied_state = m.state;
    record({.what = What::applied, .replica = m.id.value, .position = m.applied});
    inside(m, [&] { m.replica->mark_applied(Position{m.applied}); });
  }
}

void World::show_entry(Machine& m, const log::EntryView& view) {
  const Event e = record(entry_event(m, view));
  m.shown = e.position;
  shown_max_ = std::max(shown_max_, m.shown);
  if (e.id.client != 0) {
    auto& latest = latest_of_[e.id.client];
    latest = std::max(latest, std::pair{e.id.incarnation, e.id.sequence});
  }
  m.state = (m.state ^ e.digest ^ e.term ^ (e.id.client << 16) ^ e.id.sequence) * 0x100000001b3u;
  if (!m.state_known) return;
  states_.try_emplace(m.shown, m.state);
  if (m.shown % kReplayEvery == 0) {
    record({.what = What::replay,
            .replica = m.id.value,
            .life = m.life,
            .position = m.shown,
            .digest = m.state});
  }
}

// ---- The end
// --------------------------------------------------------------------------------------

bool World::agreed() const {
  const log::Membership now = view();
  if (!now.settled()) return false;
  uint64_t tail = 0;
  for (const auto& m : machines_) {
    if (m->up()) tail = std::max(tail, m->replica->log().committed().value);
  }
  // Who is no member, or lost its memory, is not waited for.
  return tail >= shown_max_ && std::all_of(machines_.begin(), machines_.end(), [&](const auto& m) {
           return !m->up() || m->wrecked || !admitted(*m, now) ||
                  m->replica->log().committed().value == tail;
         });
}

// Where the log no longer reaches back far enough, a state of somebody else's application does
// (R26).
void World::install(Machine& m) {
  const Position wanted = m.replica->status().base_wanted;
  if (options_.auto_apply || wanted.value == 0) return;
  for (const auto& other : machines_) {
    if (other->applied < wanted.value) continue;
    // It may have got there before its process died.
    const bool held = m.applied >= wanted.value;
    if (!held) {
      m.applied = other->applied;
      m.applied_state = other->applied_state;
    }
    if (inside(m, [&] { m.replica->mark_installed(Position{m.applied}); }) && !held) {
      restart_reader(m);
    }
    return;
  }
}

// Those that could lead, and serve, are enough. Who is damaged has no vote until somebody repairs
// it (P16), and where too many are, only an operator helps (R43).
bool World::quorum_is_sound() const {
  log::Membership latest;
  for (const auto& m : machines_) {
    if (!m->up()) continue;
    const log::Membership& known = m->replica->status().membership;
    if (known.view > latest.view) latest = known;
  }
  ReplicaSet sound;
  for (const auto& m : machines_) {
    const bool well = m->up() && !m->wrecked && admitted(*m, latest) &&
                      m->replica->status().role != replication::Role::damaged;
    if (well) sound.add(m->id);
  }
  return latest.suffices(sound);
}

void World::read_again() {
  for (const auto& m : machines_) {
    if (!m->up()) continue;
    ++m->life;  // a reader of its own, from the oldest entry held
    const log::LogState& log = m->replica->log();
    log::EntryView view;
    for (uint64_t p = log.trimmed().value + 1; p <= log.committed().value; ++p) {
      if (log.read(Position{p}, view) == Code::ok) {
        record(entry_event(*m, view));
      } else if (!m->wrecked) {
        record({.what = What::unreadable, .replica = m->id.value, .life = m->life, .position = p});
      } else {
        record({.what = What::skip, .replica = m->id.value, .life = m->life, .position = p});
      }
    }
  }
}

std::string World::describe() const {
  std::string text = "at " + std::to_string(now_ns_ / kUs) + " us:";
  for (const auto& m : machines_) {
    text += "\n  replica " + std::to_string(m->id.value) + ": ";
    if (!m->up()) {
      text += "down";
      continue;
    }
    const replication::ReplicaStatus s = m->replica->status();
    text += std::string(replication::name(s.role)) + ", promised " +
            std::to_string(s.promised.value) + ", leader " + std::to_string(s.leader.value) +
            ", committed " + std::to_string(s.marks.committed.value) + ", submitted " +
            std::to_string(s.marks.submitted.value) + ", trimmed " +
            std::to_string(s.marks.trimmed.value) + ", applied " +
            std::to_string(s.marks.applied.value) + ", view " +
            std::to_string(s.membership.view.value) + " of " +
            std::to_string(s.membership.voters.bits) + "/" +
            std::to_string(s.membership.outgoing.bits) + "+" +
            std::to_string(s.membership.joining.bits) + "-" +
            std::to_string(s.membership.leaving.bits) + " at " +
            std::to_string(s.view_position.value) + ", elections " + std::to_string(s.elections) +
            ", faults " + std::to_string(s.faults) + ", own clock " +
            std::to_string(local_now(*m) / kUs) + " us";
  }
  for (const auto& client : clients_) text += "\n  " + client->describe();
  return text;
}

std::vector<Violation> World::finish(uint64_t bound_ns) {
  heal();
  for (const auto& client : clients_) client->finish();
  // A fresh client is served, the old ones are answered, everybody holds the same.
  Client& probe = add_client(std::make_unique<Client>(*this, ClientOptions::probe(1'000'000)));
  uint64_t looked_ns = 0;
  const bool served = run_until(
      [&] {
        if (now_ns_ >= looked_ns) {
          looked_ns = now_ns_ + kMs;
          wipe_the_damaged();
          (void)dismiss_the_lost();
        }
        return probe.drained() && std::all_of(clients_.begin(), clients_.end(),
                                              [](const auto& c) { return c->drained(); });
      },
      bound_ns);
  const bool agree = served && run_until([&] { return agreed(); }, bound_ns);
  if (!agree && !quorum_is_sound()) {
    quorum_damaged_ = true;
  } else if (!agree) {
    record({.what = What::stall});
    breach("LIVE", describe());
  }
  // Where nobody could commit, the final reading does not show all that is there.
  if (!quorum_damaged_) {
    record({.what = What::end});
    read_again();
  }
  std::vector<Violation> found = judge(history_);
  found.insert(found.end(), breaches_.begin(), breaches_.end());
  return found;
}

}  // namespace caisson::simtest
