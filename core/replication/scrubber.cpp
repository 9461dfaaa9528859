// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/scrubber.hpp"

#include <algorithm>

namespace caisson::replication {

Scrubber::Scrubber(Context& context, Mender& mender)
    : c_(context),
      mender_(mender),
      bytes_per_s_(context.options.scrub_bytes_per_s),
      at_(context.state.trim_cursor()) {
  if (bytes_per_s_ == 0) due_ns_ = overdue_ns_ = UINT64_MAX;
}

void Scrubber::rest(uint64_t now_ns, uint64_t wait_ns) {
  due_ns_ = now_ns + std::max(wait_ns, kPauseNs);
  overdue_ns_ = due_ns_ + kPatienceNs;
}

void Scrubber::piece(uint64_t now_ns) {
  const log::LogState& state = c_.state;
  // Trimmed beneath us, or the log has begun anew behind a base.
  if (at_.position < state.trimmed()) {
    at_ = state.trim_cursor();
    rotten_ = status_.rotten = Position{};
  }
  uint64_t spent = 0;
  while (spent < kPieceBytes) {
    if (at_.position >= state.committed()) {
      if (at_.position > state.trimmed()) ++status_.rounds;
      at_ = state.trim_cursor();
      break;
    }
    const log::Step next = log::step(state.ring(), at_, state.committed_end());
    if (next.reason != log::Break::none) {
      if (!mend()) return rest(now_ns, kRetryNs);
      continue;
    }
    spent += next.next.end - at_.end;
    at_ = next.next;
    // By the leader, meanwhile.
    if (at_.position == rotten_) rotten_ = status_.rotten = Position{};
    status_.through = at_.position;
  }
  rest(now_ns, spent * 1'000'000'000 / bytes_per_s_);
}

// The entry behind at_ does not hold. True if now it does.
bool Scrubber::mend() {
  const Position p = at_.position + 1;
  if (p != rotten_) ++status_.findings;
  rotten_ = status_.rotten = p;
  if (!mender_.mend(at_, c_.state.committed_end())) return false;
  ++status_.repaired;
  rotten_ = status_.rotten = Position{};
  return true;
}

}  // namespace caisson::replication
