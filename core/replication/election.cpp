// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/election.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

#include "core/replication/history.hpp"

namespace caisson::replication {

namespace {

constexpr size_t kFetchBytes = 256 * 1024;

// Last term first, then last position (the order that keeps what an older quorum persisted).
bool better(const control::SealReply& a, const control::SealReply& b) {
  return std::tie(a.tail.term, a.tail.position) > std::tie(b.tail.term, b.tail.position);
}

}  // namespace

// Everybody with a voice in a view that we hold, or that somebody who answered holds.
ReplicaSet Election::known() const {
  ReplicaSet all = c_.membership().electors();
  for_each(answered_, [&](ReplicaId id) {
    const auto& reply = replies_[id.value];
    if (reply.has_value()) all = all | reply->view.membership.electors();
  });
  all.remove(c_.options.self);
  return all;
}

void Election::send_to_silent(const control::Message& message) {
  for_each(known() - answered_, [&](ReplicaId id) { c_.outbox.send(id, message); });
}

control::Seal Election::seal_message() const {
  return {term_, nonce_, c_.membership().view, c_.state.batch_tail().term};
}

void Election::ask(Term suspect, uint64_t now_ns) {
  stage_ = Stage::asking;
  suspect_ = suspect;
  nonce_ = c_.random.next();
  replies_ = {};
  answered_ = agreed_ = just(c_.options.self);
  deadline_ns_ = now_ns + kRetriesMax * c_.options.retry_ns;
  retry_ns_ = now_ns + c_.options.retry_ns;
  seen_ = std::max(seen_, c_.durable.superblock().promised);
  send_to_silent(control::PreSeal{suspect_, owner(suspect_), nonce_, c_.membership().view});
  if (c_.membership().suffices(agreed_) && seal(seen_, now_ns) != Code::ok) give_up();
}

bool Election::highest_everywhere(Term term, ReplicaId dead) const {
  ReplicaSet under_it = just(c_.options.self);
  bool highest = true;
  for_each(c_.membership().electors() - under_it - just(dead), [&](ReplicaId id) {
    const Term promised = c_.endpoint.standing_of(id).promised;
    highest = highest && promised <= term;
    if (promised == term) under_it.add(id);
  });
  return highest && c_.membership().suffices(under_it);
}

void Election::succeed(ReplicaId dead, Term term, uint64_t now_ns) {
  if (!highest_everywhere(term, dead)) return ask(term, now_ns);
  if (seal(term, now_ns) != Code::ok) give_up();
}

void Election::on_preseal_reply(ReplicaId from, const control::PreSealReply& reply,
                                uint64_t now_ns) {
  if (stage_ != Stage::asking || reply.nonce != nonce_) return;
  seen_ = std::max(seen_, reply.promised);
  answered_.add(from);
  if (reply.stale) agreed_.add(from);
  if (c_.membership().suffices(agreed_)) {
    if (seal(seen_, now_ns) != Code::ok) give_up();
  } else if ((known() - answered_).empty()) {
    give_up();
  }
}

Code Election::seal(Term seen, uint64_t now_ns) {
  stage_ = Stage::idle;
  seen_ = std::max({seen_, seen, c_.durable.superblock().promised});
  term_ = term_above(seen_, c_.options.self);
  nonce_ = c_.random.next() | 1;  // 0 is "no promise yet"
  seen_ = term_;
  holder_ = ReplicaId{};
  replies_ = {};
  agreed_ = {};
  answered_ = just(c_.options.self);
  // P3: our own promise is persistent before anybody hears of the term; P1, P2: our own seal is a
  // seal.
  if (const Code code = c_.durable.promise(term_, nonce_); code != Code::ok) return code;
  c_.endpoint.publish_promise(term_, c_.durable.superblock().birth);
  // The others seal while we do.
  send_to_silent(seal_message());
  if (const Code code = follower_.seal_ring(Follower::Extent::tail); code != Code::ok) return code;
  stage_ = Stage::sealing;
  deadline_ns_ = now_ns + kRetriesMax * c_.options.retry_ns;
  retry_ns_ = now_ns + c_.options.retry_ns;
  const Code own = follower_.damaged() ? Code::damaged : Code::ok;
  on_seal_reply(c_.options.self, follower_.seal_reply(term_, nonce_, own), now_ns);
  return Code::ok;
}

void Election::on_seal_reply(ReplicaId from, const control::SealReply& reply, uint64_t now_ns) {
  if (stage_ != Stage::sealing && stage_ != Stage::fetching) return;
  if (reply.term != term_ || reply.nonce != nonce_) return;
  if (reply.code == Code::fenced) {
    // P3: a promise at or above ours exists; this term can no longer be complete.
    seen_ = std::max(seen_, reply.promised);
    give_up();
    return;
  }
  if (reply.code != Code::ok && reply.code != Code::damaged) return;
  if (!consistent(History{reply.trim, reply.tail, reply.epochs})) return;
  // Answers are numbered: a late one describes a ring that has changed since.
  if (replies_[from.value].has_value() && reply.answer <= replies_[from.value]->answer) return;
  const ReplicaSet known_before = known();
  answered_.add(from);
  replies_[from.value] = reply;
  if (stage_ != Stage::sealing) return;
  if (reply.code == Code::ok) agreed_.add(from);
  if (complete()) return adopt(now_ns);
  // Who has a voice in a view that we did not know of is sealed, too.
  for_each(known() - known_before - answered_,
           [&](ReplicaId id) { c_.outbox.send(id, seal_message()); });
}

// Whose log to adopt: our own, unless another's is better.
ReplicaId Election::best() const {
  ReplicaId best = c_.options.self;
  for_each(agreed_, [&](ReplicaId id) {
    if (better(*replies_[id.value], *replies_[best.value])) best = id;
  });
  return best;
}

// P18: a quorum of the view in force in the log that would be adopted. The one before is then
// committed, or this one would not have been appended, so their quorums meet. An answer counts for
// a place in the view only under the birth that it names.
bool Election::complete() const {
  if (!agreed_.has(c_.options.self)) return false;
  const log::Membership& view = replies_[best().value]->view.membership;
  ReplicaSet voices;
  for_each(agreed_, [&](ReplicaId id) {
    if (replies_[id.value]->birth == view.births[id.value]) voices.add(id);
  });
  return c_.is_elector(view) && view.elects(voices);
}

void Election::adopt(uint64_t now_ns) {
  holder_ = best();
  const control::SealReply& best = *replies_[holder_.value];
  if (best.tail.term >= term_) {
    give_up();  // P3: an entry of our term, or above, already exists
    return;
  }
  if (holder_ == c_.options.self) {
    holder_ = ReplicaId{};
    stage_ = Stage::won;
    return;
  }
  stage_ = Stage::fetching;
  retry_ns_ = now_ns + c_.options.retry_ns;
  if (best.grant.has_value()) return fetch_under(*best.grant);
  ask_holder();
}

void Election::ask_holder() {
  const control::SealReply& best = *replies_[holder_.value];
  c_.outbox.send(holder_, control::GrantRequest{term_, nonce_, best.answer, best.tail});
}

void Election::on_grant_reply(ReplicaId from, const control::GrantReply& reply) {
  if (stage_ != Stage::fetching || from != holder_) return;
  if (reply.term != term_ || reply.nonce != nonce_) return;
  const control::SealReply& best = *replies_[holder_.value];
  if (reply.answer != best.answer) return;
  if (reply.code != Code::ok) return give_up();
  fetch_under(reply.grant);
}

void Election::fetch_under(const transport::Grant& grant) {
  if (c_.endpoint.attach(holder_, grant, replies_[holder_.value]->tail.end) != Code::ok) {
    return give_up();
  }
  if (fetch() != Code::ok) {
    c_.endpoint.detach(holder_);
    give_up();
    return;
  }
  stage_ = Stage::won;
}

// The holder may have trimmed, and so moved on, further than we have. What it trimmed we have
// applied (R8).
bool Election::make_room_for(const control::SealReply& best) {
  if (best.tail.end <= c_.state.window_end()) return true;
  const Position to = std::min({best.trim.position, follower_.trimmable(), c_.state.committed()});
  if (to > c_.state.trimmed() && follower_.trim(to) != Code::ok) return false;
  return best.tail.end <= c_.state.window_end();
}

Code Election::fetch() {
  const control::SealReply& best = *replies_[holder_.value];
  if (!make_room_for(best)) return Code::held;
  const auto common = last_common(history_of(c_.state), {best.trim, best.tail, best.epochs});
  if (!common.has_value()) return Code::trimmed;
  auto keep = c_.state.cursor_at(*common);
  if (!keep.has_value()) return keep.error().code;
  keep->term = c_.state.term_at(*common);
  if (const Code code = follower_.cut(*keep, term_); code != Code::ok) return code;
  std::vector<std::byte> buffer(kFetchBytes);
  for (Offset at = keep->end; at < best.tail.end;) {
    const size_t n = std::min<uint64_t>(best.tail.end - at, buffer.size());
    if (!c_.endpoint.read(holder_, at, buffer.data(), n)) return Code::io;
    c_.region.store_ring(at, buffer.data(), n);
    at = at + n;
  }
  c_.region.persist_ring(keep->end, best.tail.end - keep->end);
  return follower_.resume_at(best.tail);
}

void Election::poll(uint64_t now_ns) {
  if (stage_ == Stage::idle || stage_ == Stage::won) return;
  if (now_ns >= deadline_ns_) {
    if (stage_ == Stage::fetching) c_.endpoint.detach(holder_);
    give_up();
    return;
  }
  if (now_ns < retry_ns_) return;
  retry_ns_ = now_ns + c_.options.retry_ns;
  switch (stage_) {
    case Stage::asking:
      send_to_silent(control::PreSeal{suspect_, owner(suspect_), nonce_, c_.membership().view});
      break;
    case Stage::sealing: send_to_silent(seal_message()); break;
    case Stage::fetching: ask_holder(); break;
    case Stage::idle:
    case Stage::won: break;
  }
}

}  // namespace caisson::replication
