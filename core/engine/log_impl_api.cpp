// SPDX-License-Identifier: BSD-3-Clause
// A log as other threads see it: reads, waits, marks, and requests that travel to the poller.
#include <algorithm>
#include <nlohmann/json.hpp>

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
  nlohmann::json json = {
      {"name", options_.name},
      {"id", options_.id},
      {"role", closed() ? "closed" : std::string(replication::name(now.role))},
      {"leader", leads.leader.value},
      {"leads", leads.is_self},
      {"term", leads.term.value},
      {"promised", now.promised.value},
      {"view", now.membership.view.value},
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
      {"elections", now.elections},
      {"repairs", now.repairs},
      {"faults", now.faults},
      {"detected_by", std::string(control::name(now.detected_by))},
      {"persistence", std::string(caisson::name(parts_.region->persistence()))},
      {"poller", poller_.options().index},
  };
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Code LogImpl::read(Position position, std::vector<std::byte>& out, Token* token) const {
  if (closed()) return Code::closed;
  if (position == Position{}) return Code::not_found;
  log::EntryView view;
  if (const Code code = state_.read(position, view); code != Code::ok) return code;
  if (view.header.kind != static_cast<uint8_t>(log::Kind::data)) return Code::not_found;
  out.assign(view.payload.begin(), view.payload.end());
  // Orders the copy before the second look at the trim point: bytes are reused only after it has
  // moved.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (state_.trimmed() >= position) return Code::trimmed;
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

Code LogImpl::trim(Position position, ReplicaId* holder) {
  if (holder != nullptr) *holder = {};
  Code code = Code::closed;
  ReplicaId held_by;
  const bool ran = poller_.call([&](uint64_t) {
    if (closed_.load(std::memory_order_relaxed)) return;
    const Position reader = push_holds();
    code = replica_->trim(position, &held_by);
    // Holds of readers are this replica's own to the others; here they have a name of their own: 0.
    if (code == Code::held && held_by == self_ && reader < position) held_by = {};
  });
  if (!ran) return Code::closed;
  if (code == Code::held && holder != nullptr) *holder = held_by;
  return code;
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

LogImpl::Hold* LogImpl::take_hold(Position nothing_above) {
  for (uint32_t i = 0; i < kReadersMax; ++i) {
    uint64_t free = kNever;
    if (!holds_[i].compare_exchange_strong(free, nothing_above.value, std::memory_order_acq_rel)) {
      continue;
    }
    uint32_t used = holds_used_.load(std::memory_order_relaxed);
    while (used < i + 1 &&
           !holds_used_.compare_exchange_weak(used, i + 1, std::memory_order_release)) {
    }
    return &holds_[i];
  }
  return nullptr;
}

void LogImpl::return_hold(Hold* hold) { hold->store(kNever, std::memory_order_release); }

}  // namespace caisson::engine
