// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/subscription_impl.hpp"

#include "core/engine/log_impl_await.hpp"
#include "core/engine/reader_hold_impl.hpp"

namespace caisson::engine {

Result<std::unique_ptr<SubscriptionImpl>> SubscriptionImpl::open(LogImpl& log, Position from,
                                                                 const SubscribeOptions& options) {
  const bool leased = options.hold_ttl_ns != kNoDeadline;
  const uint64_t expires_ns =
      leased ? log.poller().clock().deadline_ns(options.hold_ttl_ns) : ReaderHolds::kNone;
  const auto seat = take_seat(log, from, options.name, expires_ns);
  if (!seat) return tl::unexpected(seat.error());
  return std::unique_ptr<SubscriptionImpl>(new SubscriptionImpl(log, **seat, from, options));
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
  if (leased_ && !hold_.renew(log_.poller().clock().deadline_ns(options_.hold_ttl_ns)))
    return Code::trimmed;
  const log::LogState& state = log_.state();
  for (;;) {
    // The entry handed out last is given back only now.
    hold_.move(before_.position);
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
