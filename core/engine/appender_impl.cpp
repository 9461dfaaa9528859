// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/appender_impl.hpp"

#include <sys/random.h>

#include <algorithm>
#include <bit>

#include "core/engine/log_impl_await.hpp"

namespace caisson::engine {

namespace {

uint64_t random_client() {
  uint64_t client = 0;
  while (client == 0) {
    if (getrandom(&client, sizeof client, 0) != sizeof client) client = Clock::instance().now_ns();
  }
  return client;
}

std::string cannot_open(const LogImpl& log, Code code) {
  std::string why = "cannot open a stream on log '" + log.name() + "': ";
  switch (code) {
    case Code::not_leader: {
      const Leadership known = log.leadership();
      return why +
             (known.leader.value == 0
                  ? std::string("no leader is known; wait for one (Engine::wait_ready)")
                  : "replica " + std::to_string(known.leader.value) + " leads; open it there");
    }
    case Code::closed: return why + "the engine is closed";
    case Code::held:
      return why + (log.standbys().empty() ? "too many of its apologies wait; take them first"
                                           : log.standby_text());
    case Code::timed_out: return why + "no quorum confirmed it in time; see the replicas' status";
    default: return why + std::string(caisson::name(code));
  }
}

}  // namespace

AppenderImpl::AppenderImpl(LogImpl& log, uint64_t client, uint32_t outstanding_max)
    : log_(log),
      poller_(log.poller()),
      clock_(log.poller().clock()),
      inline_(log.poller().runs_inline()),
      client_(client),
      outstanding_max_(outstanding_max),
      lane_(std::make_shared<Lane>(outstanding_max, inline_ ? 0 : log.entry_bytes_max())),
      kept_mask_(2 * std::bit_ceil(outstanding_max) - 1) {
  kept_ = std::make_unique<LaneCompletion[]>(kept_mask_ + 1);
}

AppenderImpl::~AppenderImpl() {
  abandon(claim_.number);
  log_.detach(lane_);
}

Result<std::unique_ptr<AppenderImpl>> AppenderImpl::open(LogImpl& log,
                                                         const AppenderOptions& options) {
  if (options.outstanding_max == 0 || options.outstanding_max > kStreamWindow) {
    return fail(Code::invalid, "AppenderOptions::outstanding_max is " +
                                   std::to_string(options.outstanding_max) + "; allowed are 1 to " +
                                   std::to_string(kStreamWindow));
  }
  const uint64_t client = options.client != 0 ? options.client : random_client();
  std::unique_ptr<AppenderImpl> impl(new AppenderImpl(log, client, options.outstanding_max));
  const uint64_t deadline_ns = log.poller().clock().deadline_ns(options.timeout_ns);
  LogImpl::Opening opening;
  opening.stream = {client, options.resume, options.told.incarnation, options.told.sequence};
  opening.await_leadership = options.await_leadership;
  opening.deadline_ns = deadline_ns;
  opening.lane = impl->lane_;
  replication::OpenedStream opened;
  const Code code = ask(log, std::move(opening), opened);
  if (code != Code::ok) return fail(code, cannot_open(log, code));
  impl->incarnation_ = opened.incarnation;
  impl->next_sequence_ = opened.last_sequence + 1;
  impl->apologies_ = std::move(opened.apologies);
  return impl;
}

Code AppenderImpl::ask(LogImpl& log, LogImpl::Opening opening, replication::OpenedStream& opened) {
  auto asked = std::make_shared<Asked>();
  const uint64_t deadline_ns = opening.deadline_ns;
  opening.done = [asked](Code code, replication::OpenedStream became) {
    asked->code = code;
    asked->opened = std::move(became);
    asked->done.store(true, std::memory_order_release);
  };
  log.open_stream(std::move(opening));
  const Code code =
      log.await([&] { return asked->done.load(std::memory_order_acquire); }, deadline_ns);
  if (code != Code::ok) return code;
  opened = std::move(asked->opened);
  return asked->code;
}

Code AppenderImpl::take_apologies(Position through, uint64_t timeout_ns) {
  if (apologies_.empty() || through < apologies_.front().noted) return Code::ok;
  LogImpl::Opening opening;
  opening.stream.client = client_;
  opening.taken_through = through;
  opening.deadline_ns = clock_.deadline_ns(timeout_ns);
  replication::OpenedStream now;
  const Code code = ask(log_, std::move(opening), now);
  if (code == Code::ok) apologies_ = std::move(now.apologies);
  return code;
}

// ---- Taking ----

// What stands against any append at all, beside room.
Code AppenderImpl::ready() {
  if (claim_.number != 0) return Code::again;
  if (lost_) return Code::broken_stream;
  return doubtful_ ? mend() : Code::ok;
}

// Appends of this stream were lost or refused. As its entries are a prefix of what was submitted
// (R4), all later ones are lost, too. Once that is certain of each, the numbering goes on where the
// log ends.
Code AppenderImpl::mend() {
  const bool idle =
      lane_->idle();  // first: the poller settles a lane after it has said what is gone
  const uint64_t gone_from = lane_->gone_from();
  if (gone_from == kNever) {
    doubtful_ = !idle;
    return Code::ok;
  }
  if (!idle) return log_.leading() == Term{} ? Code::not_leader : Code::again;
  // What the lane was told is gone may be there all the same: an append at `all` that was
  // committed, but of which not every voter is known. So the log is asked where the stream ends.
  next_sequence_ = gone_from;
  poller_.call([&](uint64_t) {
    if (log_.closed()) return;
    const replication::OpenedStream now = log_.replica().opened_stream(client_);
    if (now.incarnation != incarnation_) return;
    next_sequence_ = now.last_sequence + 1;
    // Numbers that were acknowledged are not given to other entries: somebody has to apologise.
    lost_ = now.last_sequence < lane_->told();
  });
  if (lost_) return Code::broken_stream;
  lane_->forget_gone();
  doubtful_ = false;
  fresh_ = true;
  return Code::ok;
}

Code AppenderImpl::take(std::span<const std::byte> payload, uint64_t tag, const How& how) {
  if (payload.size() > log_.entry_bytes_max()) [[unlikely]]
    return Code::too_large;
  if (claim_.number != 0 || doubtful_ || lost_) [[unlikely]] {
    if (const Code code = ready(); code != Code::ok) return closed_or(code);
  }
  if (inline_) return take_inline(payload, tag, how);
  if (log_.closed()) return Code::closed;
  if (log_.leading() == Term{}) return Code::not_leader;
  if (!lane_->fits(1, Lane::ring_bytes_of(payload.size()))) return Code::again;
  lane_->push(record(tag, how, next_sequence_, payload.size()), payload);
  lane_->publish();
  took(1);
  return Code::ok;
}

Code AppenderImpl::take_inline(std::span<const std::byte> payload, uint64_t tag, const How& how) {
  if (log_.closed()) [[unlikely]]
    return Code::closed;
  lane_->start_over_if_empty();
  if (!lane_->fits(1, 0)) [[unlikely]]
    return Code::again;
  const Code code = log_.replica().submit({{client_, incarnation_, next_sequence_},
                                           payload,
                                           how.level,
                                           LogImpl::tag_of(*lane_, lane_->next_ticket()),
                                           true,
                                           true,
                                           how.view});
  if (code != Code::ok) [[unlikely]]
    return code;
  lane_->admit(tag, how.deadline_ns, next_sequence_, true);
  took(1);
  return Code::ok;
}

LaneRecord AppenderImpl::record(uint64_t tag, const How& how, uint64_t sequence,
                                size_t payload_bytes) const {
  LaneRecord record;
  record.tag = tag;
  record.deadline_ns = how.deadline_ns;
  record.identity = {client_, incarnation_, sequence};
  record.payload_bytes = static_cast<uint32_t>(payload_bytes);
  record.level = how.level;
  record.view = how.view;
  if (fresh_) record.flags |= LaneRecord::kFresh;
  return record;
}

Code AppenderImpl::append_batch_async(std::span<const std::span<const std::byte>> payloads,
                                      uint64_t tag, const AppendOptions& options) {
  if (payloads.empty()) return Code::invalid;
  uint64_t payload_bytes = 0;
  uint64_t lane_bytes = 0;
  for (const auto payload : payloads) {
    if (payload.size() > log_.entry_bytes_max()) return Code::too_large;
    payload_bytes += payload.size();
    lane_bytes += Lane::ring_bytes_of(payload.size());
  }
  const size_t entries_max =
      std::min({kBatchEntriesMax, outstanding_max_, log_.options().outstanding_max});
  if (payloads.size() > entries_max || lane_bytes > log_.ring_bytes() / 4) return Code::too_large;
  if (const Code code = ready(); code != Code::ok) return closed_or(code);
  if (full()) return closed_or(Code::again);
  const How how = this->how(options);
  if (inline_) return take_batch_inline(payloads, payload_bytes, tag, how);
  if (lane_bytes > lane_->batch_ring_bytes_max()) return Code::too_large;
  if (log_.closed()) return Code::closed;
  if (log_.leading() == Term{}) return Code::not_leader;
  if (!lane_->fits(static_cast<uint32_t>(payloads.size()), lane_bytes)) return Code::again;
  for (size_t i = 0; i < payloads.size(); ++i) {
    LaneRecord entry = record(tag, how, next_sequence_ + i, payloads[i].size());
    if (i == 0) {
      entry.batch_count = static_cast<uint16_t>(payloads.size());
      entry.batch_payload_bytes = payload_bytes;
    } else {
      entry.flags &= static_cast<uint8_t>(~LaneRecord::kFresh);
    }
    if (i + 1 != payloads.size()) entry.flags &= LaneRecord::kFresh;
    lane_->push(entry, payloads[i]);
  }
  lane_->publish();
  took(payloads.size());
  return Code::ok;
}

Code AppenderImpl::take_batch_inline(std::span<const std::span<const std::byte>> payloads,
                                     uint64_t payload_bytes, uint64_t tag, const How& how) {
  if (log_.closed()) return Code::closed;
  const auto count = static_cast<uint32_t>(payloads.size());
  if (!lane_->fits(1, 0)) return Code::again;
  if (const Code code = log_.replica().reserve(client_, count, payload_bytes); code != Code::ok)
    return code;
  replication::Submission entry{{client_, incarnation_, next_sequence_},
                                {},
                                how.level,
                                LogImpl::tag_of(*lane_, lane_->next_ticket()),
                                false,
                                false,
                                how.view};
  for (const auto& payload : payloads) {
    entry.payload = payload;
    entry.batch_end = entry.resolves = &payload == &payloads.back();
    // Only the first can be refused: see Replica::reserve; the view is the same for all.
    if (const Code code = log_.replica().submit(entry); code != Code::ok) return code;
    ++entry.identity.sequence;
  }
  // One ticket stands for all: should the batch be lost, its first number is the lowest that is.
  lane_->admit(tag, how.deadline_ns, next_sequence_, true, count);
  took(count);
  return Code::ok;
}

// ---- Completions ----

size_t AppenderImpl::completions(std::span<Completion> out) {
  if (inline_) poller_.turn();
  size_t count = 0;
  while (count < out.size() && kept_read_ != kept_written_) {
    tell(kept_[kept_read_++ & kept_mask_], out[count++]);
  }
  while (count < out.size()) {
    const LaneCompletion* const next = pop();
    if (next == nullptr) break;
    tell(*next, out[count++]);
  }
  return count;
}

void AppenderImpl::keep(const LaneCompletion& completion) {
  kept_[kept_written_++ & kept_mask_] = completion;
}

Completion AppenderImpl::append(std::span<const std::byte> payload, const AppendOptions& options) {
  const How how = this->how(options);
  Code code = take(payload, 0, how);
  if (code == Code::again) [[unlikely]] {
    // Back-pressure: wait for room. What makes room is progress of the log alone: kept completions
    // have their own.
    const Code waited = log_.await(
        [&] {
          code = take(payload, 0, how);
          if (code != Code::again) return true;
          while (const LaneCompletion* const other = pop()) keep(*other);
          return false;
        },
        how.deadline_ns);
    if (waited == Code::closed) code = Code::closed;
  }
  if (code != Code::ok) [[unlikely]]
    return {0, code, {}, {}};
  return await(lane_->next_ticket() - 1);
}

Completion AppenderImpl::await(uint32_t ticket) {
  Completion result;
  if (inline_) {
    // The usual case: the bytes are placed and persisted by the flush, and counted by the first
    // poll.
    if (appends_++ % kAppendsPerLook == 0) [[unlikely]]
      poller_.look_at_clock();
    log_.replica().flush();
    log_.turn_replica(poller_.now_ns());
    if (turn_for(ticket, result)) [[likely]] {
      if (appends_ % kAppendsPerTurn == 0) [[unlikely]]
        poller_.turn();
      return result;
    }
  }
  // The lane times the append out by itself; the wait has no deadline of its own.
  if (log_.await([&] { return turn_for(ticket, result); }, kNever) == Code::closed) {
    result.code = Code::closed;
  }
  return result;
}

// Looks for the final completion of `ticket`; keeps the others.
bool AppenderImpl::turn_for(uint32_t ticket, Completion& out) {
  while (const LaneCompletion* const next = pop()) {
    if (next->ticket != ticket) {
      keep(*next);
    } else if (next->final) {
      tell(*next, out);
      return true;
    }
  }
  return false;
}

Code AppenderImpl::flush(uint64_t timeout_ns) {
  if (inline_ && !log_.closed()) log_.replica().flush();
  return log_.await(
      [&] {
        while (const LaneCompletion* const next = pop()) keep(*next);
        return lane_->unfinished() == 0;
      },
      clock_.deadline_ns(timeout_ns));
}

Code AppenderImpl::make_durable(uint64_t deadline_ns) {
  if (inline_ && !log_.closed()) log_.replica().flush();
  const Code flushed = log_.await(
      [&] {
        while (const LaneCompletion* const next = pop()) keep(*next);
        return lane_->unfinished() == 0;
      },
      deadline_ns);
  if (flushed != Code::ok) return flushed;
  // All of it lies below the leader's tail, or is lost.
  Term term;
  Position tail;
  const auto look = [&](uint64_t) {
    if (log_.closed()) return;
    const replication::OpenedStream now = log_.replica().opened_stream(client_);
    const bool whole = now.incarnation == incarnation_ && now.last_sequence >= lane_->told();
    term = whole ? log_.replica().leading() : Term{};
    tail = log_.state().tail().position;
  };
  if (!poller_.call(look)) return Code::closed;
  const Term asked = term;
  if (asked == Term{}) return Code::fenced;
  const Position target = tail;
  const Code waited = log_.await(
      [&] { return log_.state().committed() >= target || log_.leading() != asked; }, deadline_ns);
  if (waited != Code::ok) return waited;
  if (!poller_.call(look)) return Code::closed;
  return term == asked && log_.state().committed() >= target ? Code::ok : Code::fenced;
}

// ---- Claims ----

Result<replication::Claim> AppenderImpl::claim(uint32_t payload_bytes) {
  if (payload_bytes > log_.entry_bytes_max()) {
    return fail(Code::too_large, "a claim of " + std::to_string(payload_bytes) + " bytes: log '" +
                                     log_.name() + "' takes at most " +
                                     std::to_string(log_.entry_bytes_max()));
  }
  if (claim_.number != 0)
    return fail(Code::again, "a claim of this appender is open: submit or abandon it");
  if (doubtful_) {
    if (const Code code = mend(); code != Code::ok)
      return fail(closed_or(code), "the stream is recovering");
  }
  if (full() || !lane_->fits(1, 0)) {
    return fail(closed_or(Code::again), "too many appends are outstanding: take completions first");
  }
  Result<replication::Claim> result = fail(Code::closed, "the engine is closed");
  poller_.call([&](uint64_t now_ns) {
    if (log_.closed()) return;
    if (!inline_ && lane_->front() != nullptr) {
      result = fail(Code::again, "earlier appends of this stream are still waiting to be taken");
    } else {
      result = log_.replica().claim(payload_bytes, now_ns);
    }
  });
  if (result) claim_ = *result;
  return result;
}

Code AppenderImpl::submit(uint64_t number, uint32_t payload_bytes, uint64_t tag,
                          const AppendOptions& options) {
  if (number == 0 || number != claim_.number) return Code::fenced;
  if (payload_bytes > claim_.payload_bytes) return Code::too_large;
  const replication::Claim claim = claim_;
  claim_ = {};
  const How how = this->how(options);
  Code code = Code::closed;
  // The caller waits, so that the lane's two ends are one while the job runs.
  poller_.call([&](uint64_t) {
    if (log_.closed()) return;
    code = log_.replica().submit_claim(claim, {{client_, incarnation_, next_sequence_},
                                               {claim.payload, payload_bytes},
                                               how.level,
                                               LogImpl::tag_of(*lane_, lane_->next_ticket()),
                                               true,
                                               true,
                                               how.view});
    if (code == Code::ok) return lane_->admit(tag, how.deadline_ns, next_sequence_, true);
    // Its holder has given it up, and nobody appends while it is open.
    log_.replica().abandon_claim(claim);
  });
  if (code == Code::ok) took(1);
  return code;
}

void AppenderImpl::abandon(uint64_t number) {
  if (number == 0 || number != claim_.number) return;
  const replication::Claim claim = std::exchange(claim_, {});
  poller_.call([&](uint64_t) {
    if (!log_.closed()) log_.replica().abandon_claim(claim);
  });
}

}  // namespace caisson::engine
