// SPDX-License-Identifier: BSD-3-Clause
// How a leader judges whether its followers keep pace (R27), and what it does about one that does
// not (R9): it waits, goes on without it in step, or proposes the view in which it has no vote.
#include <algorithm>

#include "core/replication/leader.hpp"

namespace caisson::replication {

// The next of the largest entries would have to wait for it, and for nothing else.
bool Leader::limits_appends(ReplicaId id, const Peer& peer) const {
  const Offset needed =
      fanned_end_ + log::entry_bytes(c_.options.entry_bytes_max) + headroom_bytes_;
  return in_sync_.has(id) && room_of(peer) < needed && room_of(peer) < c_.state.window_end();
}

// R9: one that stands still does not hold up the others; it is caught up from our ring.
void Leader::keep_in_step(ReplicaId id, Peer& peer, uint64_t now_ns) {
  if (!limits_appends(id, peer)) return;
  const bool suspected = c_.detector.suspected(id);
  const bool patient = !suspected && now_ns - peer.moved_ns <= c_.options.lag_patience_ns;
  const bool has_voice = c_.membership().electors().has(id);
  const ReplicaSet rest = (in_sync_ | just(c_.options.self)) - just(id);
  if (has_voice && (patient || !c_.membership().commits(rest))) return;
  flush();
  in_sync_.remove(id);
  peer.caught_from = peer.posted;
  // In step it was handed what we last handed over; in a full ring that may be nothing of our own.
  peer.vouched = c_.state.tail();
  if (record_tail_ != 0) {
    const Record& handed = record(record_tail_ - 1);
    peer.vouched = {handed.position, handed.end, term_, handed.chain};
  }
  limit_ = room_end_ = Offset{0};
}

// What has to be appended next would have to wait for it.
bool Leader::in_the_way(ReplicaId id, const Peer& peer) {
  if (limits_appends(id, peer)) return true;
  return trim_holder_ == id &&
         !room_for(fanned_end_ + log::entry_bytes(c_.options.entry_bytes_max), headroom_bytes_);
}

// Whoever is still being caught up is behind, and not slow, unless others wait for it already;
// whoever is suspected is worse than slow. Between slow and well lies a wide gap: none flickers.
void Leader::judge_pace(ReplicaId id, Peer& peer, uint64_t now_ns) {
  const uint64_t since_ns = now_ns - std::max(peer.pace_ns, tended_ns_);
  if (in_sync_.has(id)) peer.kept_up = true;
  const bool blocks = in_the_way(id, peer);
  if (c_.detector.suspected(id) || !(peer.kept_up || peer.slow || blocks)) {
    peer.slow = false;
    peer.pace_ns = now_ns;
    return;
  }
  const Offset reached = std::min(peer.validated_end, peer.persisted);
  const uint64_t behind_bytes = fanned_end_ > reached ? fanned_end_ - reached : 0;
  const uint64_t usable_bytes = c_.options.unvalidated_bytes_max -
                                std::min(c_.options.unvalidated_bytes_max, headroom_bytes_);
  const uint64_t bound_bytes = usable_bytes / (peer.slow ? 8 : 2);
  if ((behind_bytes >= bound_bytes) == peer.slow) {
    peer.pace_ns = now_ns;
  } else if (now_ns - peer.pace_ns >= c_.options.slow_after_ns) {
    peer.slow = !peer.slow;
    peer.pace_ns = now_ns;
    peer.blocked_ns = 0;
  }
  if (!peer.slow || !c_.options.demotes_slow) return;
  if (blocks) peer.blocked_ns += since_ns;
  if (peer.blocked_ns >= c_.options.demote_after_ns && may_demote(id)) demote(id);
}

// Never fewer voters than was agreed on, and never a view that could not go on by itself.
bool Leader::may_demote(ReplicaId id) const {
  const log::Membership& now = c_.membership();
  log::Membership next = now;
  next.voters.remove(id);
  const ReplicaSet rest = (in_sync_ | just(c_.options.self)) - just(id);
  return serving() && now.settled() && c_.state.view_position() <= c_.state.committed() &&
         now.voters.has(id) &&
         static_cast<uint32_t>(next.voters.count()) >= std::max(1u, c_.options.voters_min) &&
         now.commits(rest) && next.commits(rest);
}

// It leaves the voters and stays a learner; the way back is a change of members like any other.
void Leader::demote(ReplicaId id) {
  log::Membership next = c_.membership();
  next.leaving.add(id);
  next.learners.add(id);
  (void)append_view(next);  // not now: asked again at the next look
}

}  // namespace caisson::replication
