// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <memory>
#include <optional>

#include "caisson/caisson.hpp"
#include "core/engine/log_impl.hpp"
#include "core/engine/speculative_reader.hpp"

namespace caisson::engine {

class SubscriptionImpl {
 public:
  // from 0: the oldest entry that the log still holds.
  static Result<std::unique_ptr<SubscriptionImpl>> open(LogImpl& log, Position from,
                                                        const SubscribeOptions& options);
  ~SubscriptionImpl() { log_.holds().give_back(hold_); }
  SubscriptionImpl(const SubscriptionImpl&) = delete;
  SubscriptionImpl& operator=(const SubscriptionImpl&) = delete;

  Code next(Entry& out);
  Code next_wait(Entry& out, uint64_t timeout_ns);
  Code flush(uint64_t timeout_ns);

 private:
  SubscriptionImpl(LogImpl& log, ReaderHolds::Seat& hold, Position from,
                   const SubscribeOptions& options)
      : log_(log),
        hold_(hold),
        options_(options),
        leased_(options.hold_ttl_ns != kNoDeadline),
        before_{Position{from.value - 1}, Offset{}, Term{}, 0} {
    if (options.speculative) speculative_.emplace(log, before_.position);
  }
  bool shown(const log::EntryHeader& header, std::span<const std::byte> payload, bool committed);
  void hand_out(const log::EntryHeader& header, std::span<const std::byte> payload, bool committed,
                Entry& out) const;
  Code next_speculative(Entry& out);
  bool something_new() const;

  LogImpl& log_;
  ReaderHolds::Seat& hold_;
  const SubscribeOptions options_;
  const bool leased_;
  Members members_;     // of the view handed out last
  log::Cursor before_;  // of the entry handed out last; only its position while `found_` is false
  bool found_ = false;
  std::optional<SpeculativeReader> speculative_;
};

}  // namespace caisson::engine
