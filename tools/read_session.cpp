// SPDX-License-Identifier: BSD-3-Clause
#include "tools/read_session.hpp"

#include <algorithm>

namespace caisson::tools {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCallTimeout{5'000};
constexpr milliseconds kAnswerTimeout{10'000};
constexpr milliseconds kFollowSilence{
    200};  // nothing new for so long: let the reader see what there is

uint64_t microseconds_of(milliseconds time) { return static_cast<uint64_t>(time.count()) * 1000; }

// Somebody else may well serve.
bool passing(Code code) {
  return code == Code::closed || code == Code::not_leader || code == Code::fenced ||
         code == Code::no_quorum;
}

}  // namespace

Result<NodeLink*> ReadSession::connect() {
  if (options_.replica.value != 0) return links_.node(options_.replica, kCallTimeout);
  return links_.leader(Clock::now() + options_.timeout);
}

// Fixes what will be read: once, so that a reading that moves to another node still ends where it
// should.
Result<void> ReadSession::begin(NodeLink& link) {
  if (begun_) return {};
  if (options_.wait_for.value != 0) {
    const auto waited = link.call<protocol::Waited>(
        protocol::WaitFor{link.log(), options_.wait_for, microseconds_of(options_.timeout)},
        options_.timeout + kCallTimeout);
    if (!waited) return tl::unexpected(waited.error());
    if (waited->code != Code::ok) {
      return fail(waited->code, "position " + std::to_string(options_.wait_for.value) +
                                    " is not there: " + link.who() + " knows of positions up to " +
                                    std::to_string(waited->committed.value));
    }
  }
  protocol::Tail ask{link.log()};
  auto patience = kCallTimeout;
  if (options_.linearizable.has_value()) {
    ask.path = static_cast<uint32_t>(*options_.linearizable);
    ask.timeout_us = microseconds_of(options_.timeout);
    patience += options_.timeout;
  }
  const uint64_t since_ns = HistoryFile::now_ns();
  const auto tail = link.call<protocol::TailIs>(ask, patience);
  if (!tail) return tl::unexpected(tail.error());
  const auto log = link.open_log(options_.log, kCallTimeout);
  if (!log) return tl::unexpected(log.error());
  next_ = options_.from.value != 0 ? options_.from : log->trimmed + 1;
  if (next_ <= log->trimmed) {
    return fail(Code::trimmed, "position " + std::to_string(next_.value) +
                                   " is trimmed; the first one held is " +
                                   std::to_string(log->trimmed.value + 1));
  }
  // An older node does not know how, and says so.
  if (options_.linearizable.has_value() && !tail->linearizable) {
    return fail(Code::unsupported, link.who() + " knows no linearizable reads: upgrade it");
  }
  if (options_.history && tail->linearizable) options_.history->read(tail->position, since_ns);
  limit_ = options_.follow ? options_.to : std::min(options_.to, tail->position);
  begun_ = true;
  return {};
}

// Between what a reader is shown stand entries of the engine's own.
void ReadSession::note_hidden(Position end) {
  if (options_.history == nullptr) return;
  for (Position p = next_; p < end && p <= limit_; p = p + 1) options_.history->hidden(p);
}

Result<bool> ReadSession::take_entries(const protocol::Entries& entries, const TakeEntry& take) {
  for (const protocol::ReadEntry& entry : entries.entries) {
    if (entry.position < next_) continue;
    note_hidden(entry.position);
    if (entry.position > limit_) return false;
    if (options_.history) {
      options_.history->delivered(entry.position, entry.term, entry.identity, entry.payload);
    }
    const auto taken = take(entry);
    if (!taken) return taken;
    next_ = entry.position + 1;
    if (!*taken) return false;
  }
  note_hidden(entries.next);
  next_ = std::max(next_, entries.next);
  return next_ <= limit_;
}

Result<bool> ReadSession::read_from(NodeLink& link, const TakeEntry& take, const Pause& pause) {
  if (const auto begun = begin(link); !begun) return tl::unexpected(begun.error());
  if (next_ > limit_) return false;
  protocol::Read read;
  read.log = link.log();
  read.from = next_;
  read.to = limit_.value == UINT64_MAX ? Position{} : limit_;
  read.follow = options_.follow;
  read.timeout_us = microseconds_of(kCallTimeout);
  const uint64_t id = link.send(read);
  if (id == 0) return fail(Code::closed, link.who() + " hung up");
  for (;;) {
    const auto reply = link.receive(options_.follow ? kFollowSilence : kAnswerTimeout);
    if (!reply && reply.error().code == Code::timed_out && options_.follow) {
      const auto goes_on = pause();
      if (!goes_on || !*goes_on) return goes_on;
      continue;
    }
    if (!reply && reply.error().code == Code::again) continue;
    if (!reply) return tl::unexpected(reply.error());
    if (reply->id != id) continue;
    if (const auto* failed = std::get_if<protocol::Failed>(&reply->body)) {
      return fail(failed->code, link.who() + ": " + failed->message);
    }
    const auto* entries = std::get_if<protocol::Entries>(&reply->body);
    if (entries == nullptr) return fail(Code::internal, link.who() + " gave no entries");
    const auto more = take_entries(*entries, take);
    if (!more || !*more) return more;
    if (options_.follow) {
      const auto goes_on = pause();
      if (!goes_on || !*goes_on) return goes_on;
    }
    if (entries->last) return true;
  }
}

Result<void> ReadSession::run(const TakeEntry& take, const Pause& pause) {
  auto stuck_since = Clock::now();
  Position reached = next_;
  for (;;) {
    const auto link = connect();
    if (!link) return tl::unexpected(link.error());
    const ReplicaId node = (*link)->node();
    const auto more = read_from(**link, take, pause);
    if (more && !*more) return {};
    if (next_ > reached) {
      reached = next_;
      stuck_since = Clock::now();
    }
    if (!more) {
      links_.drop(node);
      const bool elsewhere = options_.replica.value == 0 && passing(more.error().code);
      if (!elsewhere) return tl::unexpected(more.error());
    }
    if (Clock::now() - stuck_since > options_.timeout && !options_.follow) {
      return fail(Code::timed_out, "nothing more was read for " +
                                       std::to_string(options_.timeout.count() / 1000) +
                                       " s; the next position is " + std::to_string(next_.value));
    }
  }
}

}  // namespace caisson::tools
