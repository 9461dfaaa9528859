// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/reader_hold_impl.hpp"

#include "core/engine/log_impl_await.hpp"

namespace caisson::engine {

Result<ReaderHolds::Seat*> take_seat(LogImpl& log, Position& from, std::string_view name,
                                     uint64_t expires_ns) {
  if (log.closed()) return fail(Code::closed, "the engine is closed");
  const Position nothing_above{from.value == 0 ? 0 : from.value - 1};
  ReaderHolds::Seat* const seat = log.holds().take(nothing_above, name, expires_ns);
  if (seat == nullptr) {
    return fail(Code::too_large, "log '" + log.name() + "' has " + std::to_string(kReadersMax) +
                                     " readers, the most there can be: end one first");
  }
  // The hold binds from here on; what was trimmed before is seen below.
  if (log.push_holds_and_wait() != Code::ok) {
    log.holds().give_back(*seat);
    return fail(Code::closed, "the engine is closed");
  }
  const Position trimmed = log.state().trimmed();
  if (from.value == 0) from = trimmed + 1;
  if (from > trimmed) return seat;
  log.holds().give_back(*seat);
  return fail(Code::trimmed, "log '" + log.name() + "' is trimmed through position " +
                                 std::to_string(trimmed.value) + ": begin at " +
                                 std::to_string(trimmed.value + 1) + " or above");
}

Result<std::unique_ptr<ReaderHoldImpl>> ReaderHoldImpl::open(LogImpl& log, Position from,
                                                             const HoldOptions& options) {
  const auto seat =
      take_seat(log, from, options.name, log.poller().clock().deadline_ns(options.ttl_ns));
  if (!seat) return tl::unexpected(seat.error());
  (*seat)->move(Position{from.value - 1});
  return std::unique_ptr<ReaderHoldImpl>(new ReaderHoldImpl(log, **seat, options.ttl_ns));
}

Code ReaderHoldImpl::renew() {
  if (log_.closed()) return Code::closed;
  return seat_.renew(log_.poller().clock().deadline_ns(ttl_ns_)) ? Code::ok : Code::trimmed;
}

Code ReaderHoldImpl::advance(Position from) {
  if (from < this->from()) return Code::invalid;
  if (const Code code = renew(); code != Code::ok) return code;
  seat_.move(Position{from.value - 1});
  return Code::ok;
}

}  // namespace caisson::engine
