// SPDX-License-Identifier: BSD-3-Clause
// How a leader keeps its appends within reach of the standbys (R14): nothing is taken for a client
// that would leave one of them farther behind than the view says. What a standby has is what is
// persisted there, as its last completion said; one that is gone has what it had then.
#include <algorithm>

#include "core/replication/leader.hpp"

namespace caisson::replication {

// What a standby has for certain: a batch end. What it had when it was attached, until an entry of
// our own term has arrived there: whatever it finds in between when it takes over, it cannot know
// to be ours (log::Granted).
Milestone Leader::held_by(const Peer& peer) const {
  if (peer.phase != Phase::attached) return peer.held;
  const Milestone reached = milestones_.reached(peer.persisted);
  return reached.end > peer.held.end ? reached : peer.held;
}

bool Leader::overdue(const Milestone& held) const {
  const uint64_t patience_ns = standby_bounds_.ms * 1'000'000;
  return patience_ns != 0 && held.end < c_.state.tail().end &&
         standby_now_ns_ - held.ns > patience_ns;
}

// Where appends have to stop because of the standbys, if each took as little room as it can.
Offset Leader::standby_end() const {
  Offset end{UINT64_MAX};
  const log::Cursor& tail = c_.state.tail();
  for_each(standbys_, [&](ReplicaId id) {
    const Milestone held = held_by(peers_[id.value]);
    // What it was told of the bounds is what it will say when it takes over.
    if (held.position < bounds_since_ || overdue(held)) {
      end = Offset{0};
      return;
    }
    end = std::min(end, held.end + standby_bounds_.bytes);
    const uint64_t behind = tail.position - held.position;
    const uint64_t left = standby_bounds_.entries - std::min(standby_bounds_.entries, behind);
    if (standby_bounds_.entries != 0) end = std::min(end, tail.end + left * log::kEntryAlignBytes);
  });
  return end;
}

bool Leader::standbys_allow(Offset end, uint32_t entries) const {
  bool allowed = true;
  const Position last = c_.state.tail().position + entries;
  for_each(standbys_, [&](ReplicaId id) {
    const Milestone held = held_by(peers_[id.value]);
    allowed = allowed && held.position >= bounds_since_ && !overdue(held) &&
              end - held.end <= standby_bounds_.bytes &&
              (standby_bounds_.entries == 0 || last - held.position <= standby_bounds_.entries);
  });
  return allowed;
}

// What the room says has been asked. ok, or what the log's policy makes of it.
Code Leader::ask_standbys(Offset end, uint32_t entries) const {
  if (standbys_.empty()) return Code::ok;
  const log::Cursor& tail = c_.state.tail();
  // The rest of a batch was asked for with its beginning.
  if (tail != c_.state.batch_tail()) return Code::ok;
  const bool fits = end - tail.end <= standby_bounds_.bytes &&
                    (standby_bounds_.entries == 0 || entries <= standby_bounds_.entries);
  if (!fits) return Code::too_large;
  if (standbys_allow(end, entries)) return Code::ok;
  return c_.options.standby_refuses ? Code::held : Code::again;
}

// The view in force has changed, or we have begun to lead.
void Leader::follow_standbys() {
  const log::Membership& view = c_.membership();
  standbys_ = view.standbys;
  standbys_.remove(c_.options.self);
  standby_bounds_ = view.standby_bounds;
  bounds_since_ = c_.state.view_position();
  // An earlier view that said the same of them will do.
  const auto& views = c_.state.views();
  for (auto run = views.rbegin(); run != views.rend(); ++run) {
    if (run->membership.standbys != view.standbys ||
        run->membership.standby_bounds != view.standby_bounds) {
      break;
    }
    bounds_since_ = run->first;
  }
  limit_ = room_end_ = Offset{0};
  const log::Cursor& tail = c_.state.batch_tail();
  if (tail.term == term_) milestones_.note({tail.end, tail.position, standby_now_ns_}, true);
}

void Leader::watch_standbys(uint64_t now_ns) {
  standby_now_ns_ = now_ns;
  const log::Cursor& tail = c_.state.tail();
  if (tail == c_.state.batch_tail() && tail.term == term_) {
    const Milestone& last = milestones_.last();
    constexpr uint64_t kParts = Milestones::kParts;
    const bool apart =
        tail.end - last.end >= standby_bounds_.bytes / kParts ||
        (standby_bounds_.entries != 0 &&
         tail.position - last.position >= standby_bounds_.entries / kParts) ||
        (standby_bounds_.ms != 0 && now_ns - last.ns >= standby_bounds_.ms * 1'000'000 / kParts);
    milestones_.note({tail.end, tail.position, now_ns}, apart);
  }
  Offset lowest{UINT64_MAX};
  bool late = false;
  for_each(standbys_, [&](ReplicaId id) {
    const Milestone held = held_by(peers_[id.value]);
    lowest = std::min(lowest, held.end);
    late = late || overdue(held);
  });
  milestones_.forget(lowest);
  if (late) limit_ = Offset{0};
}

// It is attached, and not farther behind than a standby may be.
bool Leader::keeps_up(ReplicaId id) const {
  const Peer& peer = peers_[id.value];
  return peer.phase == Phase::attached &&
         c_.state.tail().end - std::min(peer.persisted, c_.state.tail().end) <=
             c_.options.standby_bounds.bytes;
}

StandbyLag Leader::lag_of(const Peer& peer) const {
  const Milestone held = held_by(peer);
  const log::Cursor& tail = c_.state.tail();
  StandbyLag lag;
  lag.held = held.position;
  lag.bytes = tail.end - std::min(held.end, tail.end);
  lag.entries = tail.position - std::min(held.position, tail.position);
  lag.ns = held.end >= tail.end ? 0 : held.ns == 0 ? UINT64_MAX : standby_now_ns_ - held.ns;
  lag.at_bound = held.position < bounds_since_ || overdue(held) ||
                 lag.bytes + log::entry_bytes(0) > standby_bounds_.bytes ||
                 (standby_bounds_.entries != 0 && lag.entries >= standby_bounds_.entries);
  return lag;
}

}  // namespace caisson::replication
