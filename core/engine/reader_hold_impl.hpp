// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <memory>

#include "caisson/caisson.hpp"
#include "core/engine/log_impl.hpp"

namespace caisson::engine {

class ReaderHoldImpl {
 public:
  // Position 0: from the oldest entry that the log still holds.
  static Result<std::unique_ptr<ReaderHoldImpl>> open(LogImpl& log, Position from,
                                                      const HoldOptions& options);
  ~ReaderHoldImpl() { log_.holds().give_back(seat_); }
  ReaderHoldImpl(const ReaderHoldImpl&) = delete;
  ReaderHoldImpl& operator=(const ReaderHoldImpl&) = delete;

  Code renew();
  Code advance(Position from);
  Position from() const { return seat_.nothing_above() + 1; }

 private:
  ReaderHoldImpl(LogImpl& log, ReaderHolds::Seat& seat, uint64_t ttl_ns)
      : log_(log), seat_(seat), ttl_ns_(ttl_ns) {}

  LogImpl& log_;
  ReaderHolds::Seat& seat_;
  const uint64_t ttl_ns_;
};

// Takes a seat that holds `from` and what follows, for certain: what was trimmed before is seen. 0:
// from the oldest entry still held; `from` says which that is.
Result<ReaderHolds::Seat*> take_seat(LogImpl& log, Position& from, std::string_view name,
                                     uint64_t expires_ns);

}  // namespace caisson::engine
