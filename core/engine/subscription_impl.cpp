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
bool SubscriptionImpl::shown(const log::EntryHeader& header, std::span<const std::byte> payload,
                             bool committed) {
  if (header.kind == static_cast<uint8_t>(log::Kind::data)) return true;
  if (!options_.views || header.kind != static_cast<uint8_t>(log::Kind::view)) return false;
  const auto membership = log::decode_view(payload);
  if (!membership) return false;
  members_ = members_of(*membership, Position{header.position}, committed);
  return true;
}

void SubscriptionImpl::hand_out(const log::EntryHeader& header, std::span<const std::byte> payload,
                                bool committed, Entry& out) const {
  out.position = Position{header.position};
  out.term = Term{header.term};
  out.identity = {header.client, header.incarnation, header.sequence};
  out.payload = payload;
  out.members = header.kind == static_cast<uint8_t>(log::Kind::data) ? nullptr : &members_;
  out.committed = committed;
}

Code SubscriptionImpl::next(Entry& out) {
  if (log_.closed()) [[unlikely]]
    return Code::closed;
  if (leased_ && !hold_.renew(log_.poller().clock().deadline_ns(options_.hold_ttl_ns)))
    return Code::trimmed;
  if (speculative_) return next_speculative(out);
  const log::LogState& state = log_.state();
  for (;;) {
    // The entry handed out last is given back only now.
    hold_.move(before_.position);
    log::EntryView view;
    const Code code =
        found_ ? state.read_next(before_, view) : state.read(before_.position + 1, view);
    if (log_.poisoned()) [[unlikely]]
      return Code::damaged;
    if (code != Code::ok) return code;
    found_ = true;
    before_ = view.cursor;
    if (!shown(view.header, view.payload, true)) [[unlikely]]
      continue;
    // The hold stays below this entry until the next call.
    hand_out(view.header, view.payload, true, out);
    return Code::ok;
  }
}

Code SubscriptionImpl::next_speculative(Entry& out) {
  for (;;) {
    SpeculativeReader::Fetched entry;
    const Code code = speculative_->next(entry, out.position);
    hold_.move(speculative_->certain());
    if (log_.poisoned()) [[unlikely]]
      return Code::damaged;
    if (code != Code::ok) return code;
    if (!shown(entry.header, entry.payload, entry.committed)) continue;
    hand_out(entry.header, entry.payload, entry.committed, out);
    return Code::ok;
  }
}

bool SubscriptionImpl::something_new() const {
  return speculative_ ? speculative_->worth_asking() : log_.state().committed() > before_.position;
}

Code SubscriptionImpl::next_wait(Entry& out, uint64_t timeout_ns) {
  Code code = next(out);
  if (code != Code::not_yet) return code;
  const Code waited = log_.await(
      [&] {
        if (!something_new() && !log_.poisoned()) return false;
        code = next(out);
        return code != Code::not_yet;
      },
      log_.poller().clock().deadline_ns(timeout_ns));
  return waited == Code::ok ? code : waited;
}

Code SubscriptionImpl::flush(uint64_t timeout_ns) {
  if (!speculative_) return log_.closed() ? Code::closed : Code::ok;
  Code code = Code::not_yet;
  const Code waited = log_.await(
      [&] {
        code = speculative_->settled();
        return code != Code::not_yet;
      },
      log_.poller().clock().deadline_ns(timeout_ns));
  return waited == Code::ok ? code : waited;
}

}  // namespace caisson::engine
