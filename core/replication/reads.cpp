// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/reads.hpp"

#include <algorithm>

#include "core/replication/proof.hpp"

namespace caisson::replication {

Reads::Reads(Context& context, Leader& leader, const Follower& follower)
    : c_(context),
      leader_(leader),
      follower_(follower),
      first_nonce_(SplitMix(context.options.seed).next() >> 1),
      nonce_(first_nonce_) {
  waiting_.reserve(kWaitingMax);
  ready_.reserve(kWaitingMax);
  askers_.reserve(kAskersMax);
}

ReadPoint Reads::begin(ReadPath path, uint64_t tag, uint64_t timeout_ns, uint64_t now_ns) {
  if (path != ReadPath::log && leader_.active()) {
    const ReadPoint point = leader_.prove();
    if (point.code == Code::ok) return {tag, Code::ok, point.position};
    if (timeout_ns == 0) return {tag, Code::no_quorum, {}};
  }
  if (waiting_.size() + ready_.size() >= kWaitingMax) return {tag, Code::again, {}};
  Waiting& waiting = waiting_.emplace_back();
  waiting.tag = tag;
  waiting.path = path;
  waiting.deadline_ns = deadline(now_ns, timeout_ns);
  return {tag, Code::not_yet, {}};
}

size_t Reads::take(std::span<ReadPoint> out) {
  const size_t n = std::min(out.size(), ready_.size());
  std::copy_n(ready_.begin(), n, out.begin());
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(n));
  return n;
}

uint32_t Reads::advance(uint64_t now_ns) {
  follow_entry();
  uint32_t work = leader_.active() ? lead() : follow(now_ns);
  work += answer(now_ns);
  return work;
}

// ---- Leading ----

void Reads::on_request(ReplicaId from, const control::ReadRequest& request) {
  if (!request.through_log) {
    const ReadPoint point = leader_.prove();
    return c_.outbox.send(from, control::ReadReply{request.nonce, point.code, point.position});
  }
  const Code code = !leader_.serving()             ? Code::not_leader
                    : askers_.size() >= kAskersMax ? Code::again
                                                   : Code::ok;
  if (code != Code::ok) return c_.outbox.send(from, control::ReadReply{request.nonce, code, {}});
  askers_.push_back({from, request.nonce, begun_ + 1});
}

// The entry on its way, if it is: of a term that is over it may yet be committed, but who is to
// tell?
void Reads::follow_entry() {
  if (entry_at_ == Position{}) return;
  const bool ours = leader_.serving() && leader_.term() == entry_term_;
  if (ours && c_.state.committed() < entry_at_) return;
  if (ours) {
    done_ = begun_;
    done_at_ = entry_at_;
  }
  entry_at_ = Position{};
}

uint32_t Reads::append_entry() {
  if (entry_at_ != Position{}) return 0;
  const Code code = leader_.append_noop();
  if (code == Code::ok) {
    ++begun_;
    entry_at_ = c_.state.tail().position;
    entry_term_ = leader_.term();
    return 1;
  }
  for (Waiting& w : waiting_) {
    if (w.path == ReadPath::log && w.position == Position{}) w.reason = code;
  }
  return 0;
}

uint32_t Reads::lead() {
  uint32_t work = 0;
  for (const Asker& asker : askers_) {
    if (asker.turn > done_) continue;
    c_.outbox.send(asker.id, control::ReadReply{asker.nonce, Code::ok, done_at_});
    ++work;
  }
  if (work != 0) std::erase_if(askers_, [&](const Asker& asker) { return asker.turn <= done_; });
  bool entry_wanted = !askers_.empty();
  ReadPoint proof{0, Code::not_yet, {}};  // one for all
  for (Waiting& w : waiting_) {
    if (w.position != Position{}) continue;
    if (w.path == ReadPath::log) {
      if (w.turn == 0) w.turn = begun_ + 1;
      if (w.turn <= done_) w.position = done_at_;
      entry_wanted = entry_wanted || w.turn > done_;
      continue;
    }
    if (proof.code == Code::not_yet) proof = leader_.prove();
    w.reason = proof.code;
    if (proof.code == Code::ok) w.position = proof.position;
  }
  return entry_wanted ? work + append_entry() : work;
}

// ---- Following ----

uint32_t Reads::follow(uint64_t now_ns) {
  for (const Asker& asker : askers_) {
    c_.outbox.send(asker.id, control::ReadReply{asker.nonce, Code::not_leader, {}});
  }
  askers_.clear();
  prove();
  return ask(false, now_ns) + ask(true, now_ns);
}

void Reads::prove() {
  const Term promised = c_.durable.superblock().promised;
  Proof proof{Code::not_yet, {}};
  for (Waiting& w : waiting_) {
    if (w.path != ReadPath::proof) continue;
    // What was still on its way in a term that is over may never be committed.
    if (w.proven != promised) w.position = Position{};
    if (w.position != Position{}) continue;
    if (proof.code == Code::not_yet) proof = prove_following(c_, follower_);
    w.reason = proof.code;
    if (proof.code != Code::ok) continue;
    w.position = proof.position;
    w.proven = promised;
  }
}

uint32_t Reads::ask(bool through_log, uint64_t now_ns) {
  const ReadPath path = through_log ? ReadPath::log : ReadPath::leader;
  Question& question = questions_[through_log ? 1 : 0];
  if (now_ns < question.again_ns) return 0;
  const auto wants = [&](const Waiting& w) { return w.path == path && w.position == Position{}; };
  if (std::none_of(waiting_.begin(), waiting_.end(), wants)) return 0;
  const ReplicaId known =
      follower_.granted() ? follower_.leader() : owner(c_.durable.superblock().promised);
  if (known == ReplicaId{} || known == c_.options.self) return 0;
  question = {++nonce_, now_ns + c_.options.retry_ns};
  for (Waiting& w : waiting_) {
    if (wants(w) && w.ticket == 0) w.ticket = nonce_;
  }
  c_.outbox.send(known, control::ReadRequest{nonce_, through_log});
  return 1;
}

// Whoever asked before the question was sent is answered by it, whichever way.
void Reads::on_reply(const control::ReadReply& reply, uint64_t now_ns) {
  if (reply.nonce <= first_nonce_ || reply.nonce > nonce_) return;
  for (Waiting& w : waiting_) {
    if (w.ticket == 0 || w.ticket > reply.nonce || w.position != Position{}) continue;
    w.reason = reply.code;
    if (reply.code == Code::ok) w.position = reply.position;
  }
  for (Question& question : questions_) {
    if (question.nonce == reply.nonce && reply.code == Code::ok) question.again_ns = now_ns;
  }
}

// ---- Ends ----

uint32_t Reads::answer(uint64_t now_ns) {
  const Position committed = c_.state.committed();
  const size_t before = waiting_.size();
  std::erase_if(waiting_, [&](const Waiting& w) {
    const bool known = w.position != Position{};
    if (known && w.position <= committed) {
      ready_.push_back({w.tag, Code::ok, w.position});
      return true;
    }
    if (now_ns < w.deadline_ns) return false;
    const Code reason = known ? Code::timed_out : w.reason;
    ready_.push_back({w.tag, reason == Code::not_leader ? Code::no_quorum : reason, {}});
    return true;
  });
  return static_cast<uint32_t>(before - waiting_.size());
}

void Reads::close() {
  for (const Waiting& w : waiting_) ready_.push_back({w.tag, Code::closed, {}});
  waiting_.clear();
  askers_.clear();
}

}  // namespace caisson::replication
