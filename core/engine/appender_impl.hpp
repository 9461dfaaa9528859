// SPDX-License-Identifier: BSD-3-Clause
// The application's end of a lane: numbers entries, hands them to the log, waits where asked to.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "caisson/caisson.hpp"
#include "core/engine/lane.hpp"
#include "core/engine/log_impl.hpp"
#include "core/engine/poller.hpp"

namespace caisson::engine {

// The most appends of one stream that may be outstanding: the log remembers as many for retries
// (R30).
inline constexpr uint32_t kStreamWindow = 1024;
// The most entries of one atomic batch: see Replica::reserve.
inline constexpr uint32_t kBatchEntriesMax = kStreamWindow / 4;

class AppenderImpl {
 public:
  static Result<std::unique_ptr<AppenderImpl>> open(LogImpl& log, const AppenderOptions& options);
  ~AppenderImpl();
  AppenderImpl(const AppenderImpl&) = delete;
  AppenderImpl& operator=(const AppenderImpl&) = delete;

  Code append_async(std::span<const std::byte> payload, uint64_t tag,
                    const AppendOptions& options) {
    if (full()) [[unlikely]]
      return closed_or(Code::again);
    return take(payload, tag, how(options));
  }
  Code append_batch_async(std::span<const std::span<const std::byte>> payloads, uint64_t tag,
                          const AppendOptions& options);
  Completion append(std::span<const std::byte> payload, const AppendOptions& options);
  size_t completions(std::span<Completion> out);
  Code flush(uint64_t timeout_ns);
  Code make_durable(uint64_t deadline_ns);
  uint64_t deadline_ns(uint64_t timeout_ns) const {
    return timeout_ns == kNoDeadline ? kNever : clock_.deadline_ns(timeout_ns);
  }
  EntryIdentity last_identity() const { return {client_, incarnation_, next_sequence_ - 1}; }
  EntryIdentity acknowledged() const { return {client_, incarnation_, lane_->told()}; }
  const std::vector<Apology>& apologies() const { return apologies_; }
  Code take_apologies(Position through, uint64_t timeout_ns);

  Result<replication::Claim> claim(uint32_t payload_bytes);
  Code submit(uint64_t number, uint32_t payload_bytes, uint64_t tag, const AppendOptions& options);
  void abandon(uint64_t number);

 private:
  AppenderImpl(LogImpl& log, uint64_t client, uint32_t outstanding_max);

  // With an inline poller, how many synchronous appends pass between two whole turns of the engine,
  // and between two looks at the clock.
  static constexpr uint32_t kAppendsPerTurn = 64;
  static constexpr uint32_t kAppendsPerLook = 8;

  // What an append asks for, its deadline as a time.
  struct How {
    Durability level;
    uint64_t deadline_ns;
    View view;
  };
  How how(const AppendOptions& options) const {
    const bool endless = options.timeout_ns == kNoDeadline;
    return {options.durability, endless ? kNever : clock_.deadline_ns(options.timeout_ns),
            options.view};
  }
  bool full() const {
    return lane_->unfinished() + (kept_written_ - kept_read_) >= outstanding_max_;
  }
  Code closed_or(Code code) const { return log_.closed() ? Code::closed : code; }
  Code take(std::span<const std::byte> payload, uint64_t tag, const How& how);
  Code take_inline(std::span<const std::byte> payload, uint64_t tag, const How& how);
  Code take_batch_inline(std::span<const std::span<const std::byte>> payloads,
                         uint64_t payload_bytes, uint64_t tag, const How& how);
  Code ready();
  Code mend();
  struct Asked {  // of the poller; shared: it may answer after its caller has given up
    std::atomic<bool> done{false};
    Code code = Code::again;
    replication::OpenedStream opened;
  };
  static Code ask(LogImpl& log, LogImpl::Opening opening, replication::OpenedStream& opened);
  void took(uint64_t entries) {
    next_sequence_ += entries;
    fresh_ = false;
  }
  LaneRecord record(uint64_t tag, const How& how, uint64_t sequence, size_t payload_bytes) const;
  const LaneCompletion* pop() {
    const LaneCompletion* const next = lane_->pop();
    if (next != nullptr && next->code != Code::ok) [[unlikely]]
      doubtful_ = true;
    return next;
  }
  Completion await(uint32_t ticket);
  bool turn_for(uint32_t ticket, Completion& out);
  void keep(const LaneCompletion& completion);
  // Field by field: a whole copy of what was just written so would stall.
  static void tell(const LaneCompletion& from, Completion& to) {
    to.tag = from.tag;
    to.code = from.code;
    to.position = from.position;
    to.term = from.term;
  }

  LogImpl& log_;
  Poller& poller_;
  const Clock& clock_;
  const bool inline_;
  const uint64_t client_;
  uint32_t incarnation_ = 0;
  const uint32_t outstanding_max_;
  const std::shared_ptr<Lane> lane_;
  uint64_t next_sequence_ = 1;
  bool doubtful_ = false;  // a completion other than ok was seen: the numbering may have to go back
  bool fresh_ = false;     // … and has gone back: the next entry says so to the poller
  bool lost_ = false;      // what was acknowledged is not in the log: the stream cannot go on
  std::vector<Apology> apologies_;
  uint32_t appends_ = 0;  // synchronous ones, inline
  // Completions that a synchronous append met while it waited for its own; a ring.
  std::unique_ptr<LaneCompletion[]> kept_;
  uint64_t kept_mask_ = 0;
  uint64_t kept_read_ = 0;
  uint64_t kept_written_ = 0;
  replication::Claim claim_;  // number 0: none is open
};

}  // namespace caisson::engine
