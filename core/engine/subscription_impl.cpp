// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/subscription_impl.hpp"

#include "core/engine/log_impl_await.hpp"

namespace caisson::engine {

Result<std::unique_ptr<SubscriptionImpl>> SubscriptionImpl::open(LogImpl& log, Position from,
                                                                 const SubscribeOptions& options) {
  if (log.closed()) return fail(Code::closed, "the engine is closed");
  const uint64_t nothing_above = from.value == 0 ? 0 : from.value - 1;
  LogImpl::Hold* const hold = log.take_hold(Position{nothing_above});
  if (hold == nullptr) {
    return fail(Code::too_large, "log '" + log.name() + "' has " + std::to_string(kReadersMax) +
                                     " subscriptions, the most there can be: end one first");
  }
  // The hold binds from here on; what was trimmed before is seen below.
  if (log.push_holds_and_wait() != Code::ok) {
    log.return_hold(hold);
    return fail(Code::closed, "the engine is closed");
  }
  const Position trimmed = log.state().trimmed();
  if (from.value == 0) from = trimmed + 1;
  if (from <= trimmed) {
    log.return_hold(hold);
    return fail(Code::trimmed, "log '" + log.name() + "' is trimmed through position " +
                                   std::to_string(trimmed.value) + ": subscribe from " +
                                   std::to_string(trimmed.value + 1) + " or above");
  }
  return std::unique_ptr<SubscriptionImpl>(new SubscriptionImpl(log, *hold, from, options));
}

// An entry of caisson's own that was asked for.
bool SubscriptionImpl::shown(const log::EntryView& view) {
  if (!options_.views || view.header.kind != static_cast<uint8_t>(log::Kind::view)) return false;
  const auto membership = log::decode_view(view.payload);
  if (!membership) return false;
  members_ = members_of(*membership, view.cursor.position, true);
  return true;
}

Code SubscriptionImpl::next(Entry& out) {
  if (log_.closed()) [[unlikely]]
    return Code::closed;
  const log::LogState& state = log_.state();
  for (;;) {
    // The entry handed out last is given back only now.
    hold_.store(before_.position.value, std::memory_order_release);
    log::EntryView view;
    const Code code =
        found_ ? state.read_next(before_, view) : state.read(before_.position + 1, view);
    if (code != Code::ok) return code;
    found_ = true;
    const bool data = view.header.kind == static_cast<uint8_t>(log::Kind::data);
    if (!data && !shown(view)) [[unlikely]] {
      before_ = view.cursor;
      continue;
    }
    // The hold stays below this entry until the next call.
    out.position = view.cursor.position;
    out.term = Term{view.header.term};
    out.identity = {view.header.client, view.header.incarnation, view.header.sequence};
    out.payload = view.payload;
    out.members = data ? nullptr : &members_;
    before_ = view.cursor;
    return Code::ok;
  }
}

Code SubscriptionImpl::next_wait(Entry& out, uint64_t timeout_ns) {
  Code code = next(out);
  if (code != Code::not_yet) return code;
  const Code waited = log_.await(
      [&] {
        if (log_.state().committed() <= before_.position) return false;
        code = next(out);
        return code != Code::not_yet;
      },
      log_.poller().clock().deadline_ns(timeout_ns));
  return waited == Code::ok ? code : waited;
}

}  // namespace caisson::engine
