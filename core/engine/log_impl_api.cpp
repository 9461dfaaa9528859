// SPDX-License-Identifier: BSD-3-Clause
// A log as other threads see it: reads, waits, marks, and requests that travel to the poller.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/engine/config.hpp"
#include "core/engine/log_impl_await.hpp"

namespace caisson::engine {

replication::ReplicaStatus LogImpl::status() const {
  return poller_.runs_inline() ? replica_->status() : status_.load();
}

Leadership LogImpl::leadership() const {
  const Term led = poller_.runs_inline() ? replica_->leading() : leading();
  if (led != Term{} && !closed()) return {self_, led, true};
  const replication::ReplicaStatus now = status();
  // Our own name in the status means "elected, not serving yet", or "no longer".
  return {now.leader == self_ ? ReplicaId{} : now.leader, now.term, false};
}

Marks LogImpl::marks() const {
  const replication::Marks known = status().marks;
  Marks marks;
  marks.committed = state_.committed();
  marks.trimmed = state_.trimmed();
  marks.submitted = std::max(known.submitted, marks.committed);
  marks.replicated = std::max(known.replicated, marks.committed);
  marks.persisted = std::max(known.persisted, marks.committed);
  marks.delivered = known.delivered;
  marks.applied = known.applied;
  return marks;
}

std::string LogImpl::status_json() const {
  const replication::ReplicaStatus now = status();
  const Marks at = marks();
  const Leadership leads = leadership();
  nlohmann::json fabric = nlohmann::json::object();
  for (const auto& [what, often] : parts_.endpoint->counters()) fabric[std::string(what)] = often;
  nlohmann::json json = {
      {"name", options_.name},
      {"id", options_.id},
      {"role", closed() ? "closed" : std::string(replication::name(now.role))},
      {"leader", leads.leader.value},
      {"leads", leads.is_self},
      {"term", leads.term.value},
      {"promised", now.promised.value},
      {"view", now.membership.view.value},
      {"members", members_json()},
      {"readers", readers_json()},
      {"incarnation", now.incarnation.value},
      {"marks",
       {{"submitted", at.submitted.value},
        {"replicated", at.replicated.value},
        {"persisted", at.persisted.value},
        {"committed", at.committed.value},
        {"delivered", at.delivered.value},
        {"applied", at.applied.value},
        {"trimmed", at.trimmed.value}}},
      {"tail_end_bytes", now.tail_end.value},
      {"ring_bytes", options_.ring_bytes},
      {"entry_bytes_max", options_.entry_bytes_max},
      {"outstanding_max", options_.outstanding_max},
      {"orphans",
       {{"records", now.orphans.records},
        {"bytes", now.orphans.bytes},
        {"area_bytes", options_.salvage_bytes},
        {"full", now.orphans.full}}},
      {"elections", now.elections},
      {"repairs", now.repairs},
      {"faults", now.faults},
      {"stuck", now.stuck},
      {"poison",
       {{"poisoned", now.poisoned},
        {"pages", now.poison.pages},
        {"at_byte", now.poison.at},
        {"deleted", file_deleted()}}},
      {"scrub",
       {{"through", now.scrub.through.value},
        {"rounds", now.scrub.rounds},
        {"findings", now.scrub.findings},
        {"repaired", now.scrub.repaired},
        {"rotten", now.scrub.rotten.value}}},
      {"base_wanted", now.base_wanted.value},
      {"state_transfer", state_status_ ? state_status_() : nlohmann::json::object()},
      {"detected_by", std::string(control::name(now.detected_by))},
      {"persistence", std::string(caisson::name(parts_.region->persistence()))},
      {"persists_by", std::string(parts_.endpoint->persists_by())},
      {"fabric", fabric},
      {"poller", poller_.options().index},
  };
  if (parts_.recovered.view.value != 0) {
    json["recovered"] = {{"view", parts_.recovered.view.value},
                         {"loss_from", parts_.recovered.loss_from.value},
                         {"adopted_through", parts_.recovered.position.value - 1}};
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Code LogImpl::read(Position position, std::vector<std::byte>& out, Token* token) const {
  if (closed()) return Code::closed;
  if (position == Position{}) return Code::not_found;
  if (poisoned()) return Code::damaged;
  log::EntryView view;
  if (const Code code = state_.read(position, view); code != Code::ok) return code;
  if (view.header.kind != static_cast<uint8_t>(log::Kind::data)) return Code::not_found;
  out.assign(view.payload.begin(), view.payload.end());
  // Orders the copy before the second look at the trim point: bytes are reused only after it has
  // moved.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (state_.trimmed() >= position) return Code::trimmed;
  if (poisoned()) return Code::damaged;  // met by the copy: what it copied may be zeros
  if (token != nullptr) *token = {Term{view.header.term}, position};
  return Code::ok;
}

Code LogImpl::wait_for(Position position, uint64_t timeout_ns) const {
  return await([&] { return state_.committed() >= position; },
               poller_.clock().deadline_ns(timeout_ns));
}

Code LogImpl::await_leader(uint64_t deadline_ns) const {
  return await([&] { return leadership().leader.value != 0; }, deadline_ns);
}

Code LogImpl::trim(Position position, TrimHolder& holder) {
  holder = {};
  Code code = Code::closed;
  ReplicaId held_by;
  bool held_here = false;
  const uint64_t deadline_ns = poller_.clock().deadline_ns(kTrimPatienceNs);
  do {
    code = Code::closed;
    const bool ran = poller_.call([&](uint64_t now_ns) {
      if (closed_.load(std::memory_order_relaxed)) return;
      const Position reader = push_holds(now_ns);
      code = replica_->trim(position, &held_by);
      // Holds of readers are this replica's own to the others; here they have a name of their own.
      held_here = held_by == self_ && reader < position;
    });
    if (!ran) return Code::closed;
    if (code != Code::again) break;
    // A checkpoint has to be committed first.
    const uint64_t look_again_ns = poller_.clock().deadline_ns(kTrimLookNs);
    (void)await([&] { return state_.trimmed() >= position; }, look_again_ns);
  } while (poller_.clock().now_ns() < deadline_ns);
  if (code != Code::held) return code;
  if (!held_here) {
    holder.replica = held_by;
  } else if (const auto reader = holds_.reader_that_holds(position)) {
    holder.reader = reader->name;
    const uint64_t now_ns = poller_.clock().now_ns();
    holder.expires_in_ns = reader->expires_ns == kNever  ? kNever
                           : reader->expires_ns > now_ns ? reader->expires_ns - now_ns
                                                         : 0;
  }
  return code;
}

nlohmann::json LogImpl::readers_json() const {
  nlohmann::json all = nlohmann::json::array();
  const uint64_t now_ns = poller_.clock().now_ns();
  for (const ReaderHolds::Reader& reader : holds_.readers()) {
    nlohmann::json one = {{"name", reader.name}, {"from", reader.nothing_above.value + 1}};
    if (reader.expires_ns != kNever) {
      one["expires_in_ms"] =
          reader.expires_ns > now_ns ? (reader.expires_ns - now_ns) / 1'000'000 : 0;
    }
    all.push_back(std::move(one));
  }
  return all;
}

// ---- Members ----

Members members_of(const log::Membership& membership, Position position, bool committed) {
  const auto voters = static_cast<uint32_t>(membership.voters.count());
  return {membership.view,
          position,
          committed,
          membership.voters,
          membership.outgoing,
          membership.learners,
          membership.joining,
          membership.leaving,
          membership.quorum.commits(voters),
          membership.quorum.elects(voters),
          membership.standbys,
          membership.standby_bounds};
}

Members LogImpl::members() const {
  const replication::ReplicaStatus now = status();
  return members_of(now.membership, now.view_position, now.view_position <= state_.committed());
}

Followers LogImpl::followers() const {
  if (!poller_.runs_inline()) return followers_.load();
  Followers followers;
  followers.count = static_cast<uint32_t>(replica_->peers(followers.all));
  return followers;
}

std::vector<StandbyLag> LogImpl::standbys() const {
  std::vector<StandbyLag> all;
  const Followers followers = this->followers();
  for (uint32_t i = 0; i < followers.count; ++i) {
    const replication::PeerStatus& peer = followers.all[i];
    if (!peer.standby) continue;
    const auto& lag = peer.lag;
    const uint64_t ms = lag.ns == UINT64_MAX ? UINT64_MAX : lag.ns / 1'000'000;
    all.push_back({peer.id, peer.attached, lag.held, lag.bytes, lag.entries, ms, lag.at_bound});
  }
  return all;
}

std::string LogImpl::standby_text() const {
  for (const StandbyLag& lag : standbys()) {
    if (!lag.at_bound) continue;
    return "standby " + std::to_string(lag.replica.value) + " lacks " +
           std::to_string(lag.entries) + " entries (" + bytes_text(lag.bytes) +
           (lag.ms == UINT64_MAX ? "" : ", " + std::to_string(lag.ms) + " ms") +
           "), and may not be farther behind; see what holds it up, or let it go: "
           "caisson member remove";
  }
  return "a standby is as far behind as it may be; see caisson member list";
}

nlohmann::json LogImpl::members_json() const {
  const Members now = members();
  const Followers followers = this->followers();
  const Offset tail_end = status().tail_end;
  const ReplicaSet everybody = now.voters | now.outgoing | now.learners | now.joining;
  nlohmann::json all = nlohmann::json::array();
  for_each(everybody, [&](ReplicaId id) {
    const char* part = now.joining.has(id)    ? "joining"
                       : now.leaving.has(id)  ? "leaving"
                       : now.voters.has(id)   ? "voter"
                       : now.outgoing.has(id) ? "outgoing"
                       : now.standbys.has(id) ? "standby"
                                              : "learner";
    nlohmann::json member = {{"replica", id.value}, {"part", part}};
    for (uint32_t i = 0; i < followers.count; ++i) {
      const replication::PeerStatus& peer = followers.all[i];
      if (peer.id != id) continue;
      member["state"] = !peer.attached ? "detached" : peer.in_sync ? "in_sync" : "catching_up";
      member["suspected"] = peer.suspected;
      member["slow"] = peer.slow;
      if (!peer.attached && peer.refused != Code::ok) {
        member["refused"] = std::string(caisson::name(peer.refused));
      }
      if (peer.attached && !peer.in_sync) {
        member["caught_up_bytes"] = peer.written_end - peer.caught_from;
        member["to_go_bytes"] = tail_end > peer.written_end ? tail_end - peer.written_end : 0;
      }
      if (peer.standby) {
        const auto& lag = peer.lag;
        member["lag"] = {{"held", lag.held.value},
                         {"entries", lag.entries},
                         {"bytes", lag.bytes},
                         {"ms", lag.ns == UINT64_MAX ? nlohmann::json(nullptr)
                                                     : nlohmann::json(lag.ns / 1'000'000)},
                         {"at_bound", lag.at_bound}};
      }
      member["behind_bytes"] = tail_end > peer.validated_end ? tail_end - peer.validated_end : 0;
    }
    all.push_back(std::move(member));
  });
  nlohmann::json json = {{"view", now.view.value},
                         {"position", now.position.value},
                         {"settled", now.settled()},
                         {"commit_quorum", now.commit_quorum},
                         {"election_quorum", now.election_quorum},
                         {"members", std::move(all)}};
  if (!now.standbys.empty()) {
    const auto unless_0 = [](uint64_t bound) {
      return bound == 0 ? nlohmann::json(nullptr) : nlohmann::json(bound);
    };
    json["standby_bounds"] = {{"bytes", now.standby_bounds.bytes},
                              {"entries", unless_0(now.standby_bounds.entries)},
                              {"ms", unless_0(now.standby_bounds.ms)}};
    json["standby_policy"] = std::string(engine::name(options_.standby_policy));
  }
  return json;
}

Code LogImpl::change_members(const MemberChange& change, bool* settled) {
  Code code = Code::closed;
  const bool ran = poller_.call([&](uint64_t now_ns) {
    if (closed_.load(std::memory_order_relaxed)) return;
    code = replica_->change_members(change);
    // Who asks sees what came of it.
    publish_now(now_ns);
    if (settled != nullptr) *settled = members().settled();
  });
  return ran ? code : Code::closed;
}

Code LogImpl::change_members_and_wait(const MemberChange& change, uint64_t timeout_ns) {
  const uint64_t deadline_ns = poller_.clock().deadline_ns(timeout_ns);
  MemberChange asked = change;
  for (;;) {
    // Asked again, it is ok if there is nothing left to change.
    bool settled = false;
    const Code code = change_members(asked, &settled);
    // A standby may still have to catch up.
    if (code != Code::ok && code != Code::again && code != Code::not_yet) return code;
    if (code == Code::ok) asked.view = View{};  // it was the one in force
    if (code == Code::ok && settled) return Code::ok;
    const uint64_t look_again_ns =
        std::min(deadline_ns, poller_.clock().deadline_ns(kChangeLookNs));
    const Code waited = await([&] { return members().settled(); }, look_again_ns);
    if (waited == Code::closed) return Code::closed;
    if (poller_.clock().now_ns() >= deadline_ns) return Code::timed_out;
  }
}

Code LogImpl::hand_over(ReplicaId to) {
  Code code = Code::closed;
  const bool ran = poller_.call([&](uint64_t now_ns) {
    if (closed_.load(std::memory_order_relaxed)) return;
    code = replica_->hand_over(to, now_ns);
  });
  return ran ? code : Code::closed;
}

Code LogImpl::hand_over_and_wait(ReplicaId to, uint64_t timeout_ns) {
  const uint64_t deadline_ns = poller_.clock().deadline_ns(timeout_ns);
  const Term led = leadership().term;
  if (to == self_ && leadership().is_self) return Code::ok;
  if (const Code code = hand_over(to); code != Code::ok) return code;
  return await([&] { return !leadership().is_self || leadership().term != led; }, deadline_ns);
}

Code LogImpl::mark_applied(Position position) {
  if (closed()) return Code::closed;
  if (options_.auto_apply) return Code::unsupported;
  if (position > state_.committed()) return Code::not_yet;
  uint64_t wish = applied_wish_.load(std::memory_order_relaxed);
  while (wish < position.value &&
         !applied_wish_.compare_exchange_weak(wish, position.value, std::memory_order_relaxed)) {
  }
  return Code::ok;
}

void LogImpl::mark_installed(Position position) {
  poller_.mailbox().post_function([this, position](uint64_t) {
    if (!closed_.load(std::memory_order_relaxed)) replica_->mark_installed(position);
  });
}

}  // namespace caisson::engine
