// SPDX-License-Identifier: BSD-3-Clause
#include "tools/append_session.hpp"

#include <sys/random.h>

#include <algorithm>

namespace caisson::tools {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Below the 1024 latest sequences that a log remembers of a stream, so that each can still be told
// from a new one when it is sent again.
constexpr size_t kPendingMax = 960;
constexpr uint64_t kPendingBytesMax = 16ull << 20;
constexpr size_t kMessageEntriesMax = 256;
constexpr uint64_t kMessageBytesMax = 256ull << 10;
constexpr size_t kQueuedBytesMax = 4ull << 20;
static_assert(kMessageBytesMax <= protocol::kBatchBytesMax);

constexpr milliseconds kCallTimeout{2'000};
constexpr milliseconds kSilence{150};  // no word from the leader: ask the others about it
constexpr microseconds kPressurePause{500};
constexpr milliseconds kLastAnswers{1'000};  // awaited so long once the stream is refused

}  // namespace

AppendSession::AppendSession(const Cluster& cluster, const AppendSessionOptions& options)
    : options_(options), links_(cluster, options.log) {
  while (options_.client == 0) {
    if (getrandom(&options_.client, sizeof options_.client, 0) != sizeof options_.client) {
      options_.client = 0;
    }
  }
}

bool AppendSession::has_room() const {
  return pending_.size() < kPendingMax && pending_bytes_ < kPendingBytesMax;
}

void AppendSession::push(std::span<const std::byte> payload) {
  const auto now = Clock::now();
  if (pending_.empty()) heard_ = now;
  pending_.push_back({next_sequence_++,
                      std::string(reinterpret_cast<const char*>(payload.data()), payload.size()),
                      now, 0, 0, false, 0});
  pending_bytes_ += payload.size();
}

Result<void> AppendSession::connect() {
  if (leader_ != nullptr) return {};
  const auto since = pending_.empty() ? Clock::now() : pending_.front().since;
  const auto link = links_.leader(since + options_.timeout);
  if (!link) return tl::unexpected(link.error());
  leader_ = *link;
  heard_ = Clock::now();
  rewind();
  return {};
}

Result<void> AppendSession::open() {
  const auto opened = open_stream(options_.resume, 0, 0);
  if (!opened) return tl::unexpected(opened.error());
  incarnation_ = opened->incarnation;
  resumed_behind_ = opened->last_sequence;
  next_sequence_ = opened->last_sequence + 1;
  apologies_ = opened->apologies;
  if (options_.history) options_.history->attached(options_.client, incarnation_, apologies_);
  return {};
}

// Whoever leads is asked, until somebody does and answers.
Result<protocol::StreamOpened> AppendSession::open_stream(bool resume, uint32_t told_incarnation,
                                                          uint64_t told) {
  const auto deadline = Clock::now() + options_.timeout;
  const auto patience = std::max(kCallTimeout, std::min(options_.timeout, 5 * kCallTimeout));
  for (;;) {
    if (const auto connected = connect(); !connected) return tl::unexpected(connected.error());
    const auto log = leader_->open_log(options_.log, kCallTimeout);
    if (log) {
      entry_bytes_max_ = log->entry_bytes_max;
      auto opened = leader_->call<protocol::StreamOpened>(
          protocol::OpenStream{leader_->log(), options_.client, resume, told_incarnation, told},
          patience);
      if (opened) return opened;
      const Code code = opened.error().code;
      const bool passing = code == Code::not_leader || code == Code::fenced ||
                           code == Code::closed || code == Code::indefinite ||
                           code == Code::timed_out || code == Code::not_appended ||
                           code == Code::again || code == Code::no_quorum;
      if (!passing || Clock::now() >= deadline) return opened;
    } else if (Clock::now() >= deadline) {
      return tl::unexpected(log.error());
    }
    lose_leader({});
  }
}

void AppendSession::lose_leader(ReplicaId suggestion) {
  if (leader_ != nullptr) links_.drop(leader_->node());
  leader_ = nullptr;
  if (suggestion.value != 0) links_.suggest(suggestion);
}

// Everything unresolved is sent again, oldest first.
void AppendSession::rewind() { unsent_ = 0; }

// This one and what follows it, which waits for it.
void AppendSession::send_again(const Pending& pending) {
  unsent_ = std::min(unsent_, static_cast<size_t>(pending.sequence - pending_.front().sequence));
}

// False: the connection is gone.
bool AppendSession::send_some() {
  if (Clock::now() < hold_until_) return true;
  while (unsent_ < pending_.size() && leader_->queued_bytes() < kQueuedBytesMax) {
    if (pending_[unsent_].resolved) {
      ++unsent_;
      continue;
    }
    protocol::RequestBody body(std::in_place_type<protocol::Append>);
    auto& append = *std::get_if<protocol::Append>(&body);
    append.log = leader_->log();
    append.client = options_.client;
    append.incarnation = incarnation_;
    append.durability = options_.durability;
    append.first_sequence = pending_[unsent_].sequence;
    uint64_t bytes = 0;
    while (unsent_ < pending_.size() && append.payloads.size() < kMessageEntriesMax) {
      Pending& pending = pending_[unsent_];
      if (pending.resolved) break;  // a message holds consecutive sequences
      if (!append.payloads.empty() && bytes + pending.payload.size() > kMessageBytesMax) break;
      bytes += pending.payload.size();
      append.payloads.push_back(pending.payload);
      if (options_.history && pending.sent == 0) note_sending(pending);
      if (pending.sent++ > 0) ++retries_;
      ++pending.open;
      ++unsent_;
    }
    if (options_.history) (void)options_.history->flush();  // its end says whether that worked
    if (leader_->send(std::move(body)) == 0) return false;
  }
  return true;
}

Asked AppendSession::asked(const Pending& pending) const {
  return {{options_.client, incarnation_, pending.sequence}, pending.payload, pending.asked_ns};
}

void AppendSession::note_sending(Pending& pending) {
  pending.asked_ns = HistoryFile::now_ns();
  options_.history->asked(asked(pending));
}

AppendSession::Pending* AppendSession::find(uint64_t sequence) {
  if (pending_.empty() || sequence < pending_.front().sequence) return nullptr;
  const uint64_t index = sequence - pending_.front().sequence;
  return index < pending_.size() ? &pending_[index] : nullptr;
}

Error AppendSession::refused(const Pending& pending, Code code) const {
  std::string why = "line " + std::to_string(pending.sequence) + " is refused: ";
  switch (code) {
    case Code::stale_stream:
      why += "another client has opened this stream since; only one may append to it at a time";
      break;
    case Code::broken_stream: why += "a line before it is missing from the log"; break;
    case Code::identity_reused:
      why += "the log holds other bytes under this number: this is not the input that was begun";
      break;
    case Code::aged_out: why += "the log no longer remembers so old a number"; break;
    case Code::held: why += "a standby is as far behind as it may be"; break;
    case Code::too_large: why += "it is larger than an entry of this log may be"; break;
    default: why += std::string(name(code));
  }
  return Error{code, why};
}

// moved: leadership did · pressed: back-pressure.
void AppendSession::refuse(const Pending& pending, Code code) {
  if (!refusal_) refusal_ = refused(pending, code);
}

void AppendSession::take(const protocol::AppendOutcome& outcome, bool& moved, bool& pressed) {
  Pending* const pending = find(outcome.sequence);
  if (pending == nullptr || pending->resolved) return;  // answered already, by an earlier sending
  // These alone leave open whether that sending is, or will be, in the log.
  const bool settled = outcome.code != Code::indefinite && outcome.code != Code::timed_out &&
                       outcome.code != Code::fenced && outcome.code != Code::closed;
  if (settled && pending->open > 0) --pending->open;
  switch (outcome.code) {
    case Code::ok:
      if (options_.history) {
        options_.history->appended(asked(*pending), outcome.position, options_.durability,
                                   outcome.term);
      }
      pending->resolved = true;
      ++acknowledged_;
      told_ = std::max(told_, outcome.sequence);
      heard_ = Clock::now();
      terms_.insert(outcome.term);
      term_ = std::max(term_, outcome.term);
      if (first_.value == 0 || outcome.position < first_) first_ = outcome.position;
      last_ = std::max(last_, outcome.position);
      return;
    case Code::not_appended:
      if (options_.history && outcome.term.value != 0) {
        options_.history->attempt_refused(asked(*pending), outcome.term);
      }
      [[fallthrough]];
    case Code::again:
    case Code::timed_out:
      pressed = true;
      send_again(*pending);
      return;
    case Code::not_leader:
    case Code::fenced:
    case Code::closed:
    case Code::indefinite: moved = true; return;
    case Code::broken_stream:
      // Only news if nothing before it is on its way.
      if (pending == &pending_.front()) return refuse(*pending, outcome.code);
      pressed = true;
      return send_again(*pending);
    default: return refuse(*pending, outcome.code);
  }
}

Result<void> AppendSession::take(const protocol::AppendResult& result) {
  if (result.client != options_.client || result.incarnation != incarnation_) return {};
  bool moved = false;
  bool pressed = false;
  for (const protocol::AppendOutcome& outcome : result.outcomes) take(outcome, moved, pressed);
  while (!pending_.empty() && pending_.front().resolved) {
    pending_bytes_ -= pending_.front().payload.size();
    pending_.pop_front();
    if (unsent_ > 0) --unsent_;
  }
  if (moved) {
    const ReplicaId next = result.hint.leader == leader_->node() ? ReplicaId{} : result.hint.leader;
    lose_leader(next);
  } else if (pressed) {
    hold_until_ = Clock::now() + kPressurePause;
  }
  return {};
}

Result<void> AppendSession::take(const protocol::Reply& reply) {
  if (const auto* result = std::get_if<protocol::AppendResult>(&reply.body)) return take(*result);
  if (const auto* failed = std::get_if<protocol::Failed>(&reply.body)) {
    switch (failed->code) {
      case Code::not_leader:
      case Code::fenced:
      case Code::closed:
      case Code::indefinite: lose_leader(failed->hint.leader); return {};
      case Code::again:
      case Code::timed_out:
        hold_until_ = Clock::now() + kPressurePause;
        rewind();
        return {};
      default: return fail(failed->code, leader_->who() + ": " + failed->message);
    }
  }
  return {};
}

Result<void> AppendSession::receive_some(microseconds wait) {
  while (leader_ != nullptr) {
    const auto reply = leader_->receive(wait);
    if (!reply) {
      const Code code = reply.error().code;
      if (code == Code::timed_out || code == Code::again) return {};
      if (code != Code::closed) return tl::unexpected(reply.error());
      lose_leader({});
      return {};
    }
    wait = microseconds(0);
    if (const auto taken = take(*reply); !taken) return taken;
  }
  return {};
}

// A leader that is paused neither answers nor hangs up: the others know whether there is a newer
// one.
Result<void> AppendSession::check_time() {
  if (pending_.empty()) return {};
  const auto now = Clock::now();
  if (now - pending_.front().since >= options_.timeout) {
    return fail(Code::timed_out, "line " + std::to_string(pending_.front().sequence) +
                                     " was not acknowledged within " +
                                     std::to_string(options_.timeout.count() / 1000) + " s");
  }
  if (leader_ != nullptr && now - heard_ >= kSilence) {
    heard_ = now;
    if (links_.superseded(leader_->node(), term_)) {
      links_.drop(leader_->node());
      leader_ = nullptr;
    }
  }
  return {};
}

// Nothing is sent any more; what was sent has its answer under way, and with it its fate known.
Result<void> AppendSession::end_refused() {
  const auto until = Clock::now() + kLastAnswers;
  const auto open = [this] {
    return std::any_of(pending_.begin(), pending_.end(),
                       [](const Pending& one) { return !one.resolved && one.open > 0; });
  };
  while (leader_ != nullptr && open() && Clock::now() < until) {
    if (const auto received = receive_some(kPressurePause); !received) break;
  }
  if (refusal_->code == Code::broken_stream && options_.durability < Durability::persisted) {
    if (const auto heard = hear_apologies(); !heard) return heard;
  }
  return tl::unexpected(*refusal_);
}

// What was acknowledged went with its leader. The log notes for good what is missing (P20).
Result<void> AppendSession::hear_apologies() {
  const auto opened = open_stream(true, incarnation_, told_);
  if (!opened) return tl::unexpected(opened.error());
  if (opened->last_sequence >= told_) return tl::unexpected(*refusal_);  // nothing of it is
  apologies_ = opened->apologies;
  if (options_.history) {
    options_.history->attached(options_.client, opened->incarnation, apologies_);
  }
  lost_ = true;
  // The incarnation that they were sent under has ended: what it had not appended, it never will.
  for (Pending& pending : pending_) {
    if (pending.sequence > opened->last_sequence) pending.open = 0;
  }
  refusal_ =
      Error{Code::broken_stream,
            "lines " + std::to_string(opened->last_sequence + 1) + " to " + std::to_string(told_) +
                " were acknowledged at '" + std::string(name(options_.durability)) +
                "' and are lost with their leader; the log holds the lines before. The "
                "same --stream with --resume appends them again"};
  return {};
}

void AppendSession::take_apologies() {
  if (apologies_.empty() || leader_ == nullptr) return;
  const Position through = apologies_.back().noted;
  const auto taken = leader_->call<protocol::Done>(
      protocol::TakeApologies{leader_->log(), options_.client, through}, kCallTimeout);
  if (taken && options_.history) {
    options_.history->apologies_taken(options_.client, incarnation_, through);
  }
}

void AppendSession::end_history() const {
  if (options_.history == nullptr) return;
  for (const Pending& pending : pending_) {
    if (pending.resolved || pending.open > 0) continue;
    Asked last = asked(pending);
    if (last.since_ns == 0) last.since_ns = HistoryFile::now_ns();  // never sent
    options_.history->not_appended(last);
  }
}

Result<void> AppendSession::turn(microseconds wait) {
  if (const auto connected = connect(); !connected) return connected;
  if (!send_some()) {
    lose_leader({});
    return check_time();
  }
  if (const auto received = receive_some(wait); !received) return received;
  return refusal_ ? end_refused() : check_time();
}

std::vector<uint64_t> AppendSession::indefinite() const {
  std::vector<uint64_t> sequences;
  for (const Pending& pending : pending_) {
    if (!pending.resolved && pending.open > 0) sequences.push_back(pending.sequence);
  }
  return sequences;
}

std::vector<uint64_t> AppendSession::not_appended() const {
  std::vector<uint64_t> sequences;
  for (const Pending& pending : pending_) {
    if (!pending.resolved && pending.open == 0) sequences.push_back(pending.sequence);
  }
  return sequences;
}

}  // namespace caisson::tools
