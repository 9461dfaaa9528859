// SPDX-License-Identifier: BSD-3-Clause
// How a leader changes who takes part (R24, R25). Every step is an entry of the log, so that
// whoever leads next goes on where this leader stopped:
//
//   intent   joining and leaving are named; those that join are caught up, and count for nothing
//   joint    the voters to come and the outgoing ones both have to agree
//   settled  the new voters alone
//
// A view is in force once it is in the leader's log. The next one is appended only when the one
// before is committed (docs/design.md).
#include <algorithm>

#include "core/replication/leader.hpp"

namespace caisson::replication {

// The view in force has changed.
void Leader::follow_view() {
  const log::Membership& view = c_.membership();
  voters_ = view.voters;
  outgoing_ = view.outgoing;
  commit_voters_ = view.quorum.commits(static_cast<uint32_t>(voters_.count()));
  commit_outgoing_ = view.quorum.commits(static_cast<uint32_t>(outgoing_.count()));
  view_ = static_cast<uint32_t>(view.view.value);
  unsettled_ = !view.settled() || !view.voters.has(c_.options.self);
  ReplicaSet members = view.members();
  members.remove(c_.options.self);
  departed_ = (departed_ | (followers_ - members)) - members;
  followers_ = members | departed_;
  // Who has another birth is another one, of whom nothing is known yet.
  for_each(members, [&](ReplicaId id) {
    Peer& peer = peers_[id.value];
    if (peer.answer == 0 || peer.birth == view.births[id.value]) return;
    unseal(id, peer, 0);
    peer = Peer{};
  });
  follow_standbys();
}

Code Leader::append_view(log::Membership next) {
  next.view = View{c_.membership().view.value + 1};
  if (!consistent(next)) return Code::invalid;
  const Code code = append_own(log::Kind::view, log::encode_view(next));
  if (code == Code::ok) follow_view();
  return code;
}

Code Leader::change_members(const MemberChange& change) {
  if (!serving()) return Code::not_leader;
  const log::Membership& now = c_.membership();
  if (change.view.value != 0 && change.view != now.view) return Code::wrong_view;
  log::Membership next = now;
  next.joining = (now.joining | change.add) - change.remove - now.electors();
  next.learners = (now.learners | change.learn) - change.remove - change.add;
  next.leaving = (now.leaving | (change.remove & now.voters)) - change.add;
  next.standbys = ((now.standbys - change.learn) | change.standby) & next.learners;
  // Who leads says how far; asked for again, the bounds are those of its configuration.
  if (!change.standby.empty()) next.standby_bounds = c_.options.standby_bounds;
  if (next.standbys.empty()) next.standby_bounds = {};
  if (!(change.learn & (now.electors() | now.joining)).empty()) return Code::exists;
  if (((change.add | change.learn) & change.remove).bits != 0) return Code::invalid;
  if (!(change.standby - next.standbys).empty()) return Code::invalid;
  if (((now.voters | next.joining) - next.leaving).empty()) return Code::invalid;
  Code code = Code::ok;
  for_each((change.add | change.learn) - now.electors(), [&](ReplicaId id) {
    // It may have been admitted by what its former life had said. Who asks again means the one that
    // said hello last.
    const bool there = births_[id.value] == 0 || attached(id);
    if (now.members().has(id) && there) return;
    // Nobody is admitted unseen: the birth it says is the one that counts from now on.
    if (births_[id.value] == 0) code = Code::not_found;
    next.births[id.value] = births_[id.value];
  });
  if (code != Code::ok) return code;
  for_each(change.remove - now.voters, [&](ReplicaId id) { next.births[id.value] = 0; });
  next.view = now.view;
  if (next == now) return Code::ok;
  // One change at a time: an earlier one that has not become joint yet may still be amended.
  if (now.joint() || c_.state.view_position() > c_.state.committed()) return Code::again;
  for_each(change.standby, [&](ReplicaId id) {
    const bool is_one = now.standbys.has(id) && now.births[id.value] == next.births[id.value];
    if (!is_one && !keeps_up(id)) code = Code::not_yet;
  });
  if (code != Code::ok) return code;
  return append_view(next);
}

// In step, and nothing that is only on its way there is trimmed here already: a voter that came
// back without it could be given no base any more. What is trimmed from now on it has applied.
bool Leader::caught_up(ReplicaSet joining) const {
  if (!(joining - in_sync_).empty()) return false;
  Offset needed = c_.state.trim_cursor().end;
  if (const auto named = c_.state.cursor_at(c_.state.view_position())) {
    needed = std::max(needed, named->end);
  }
  bool held = true;
  for_each(joining, [&](ReplicaId id) { held = held && peers_[id.value].persisted >= needed; });
  return held;
}

uint32_t Leader::advance_view() {
  const log::Membership& now = c_.membership();
  if (now.settled()) return 0;
  if (!serving() || c_.state.view_position() > c_.state.committed()) return 0;
  log::Membership next = now;
  if (now.joint()) {
    for_each(now.outgoing - now.voters - now.learners,
             [&](ReplicaId id) { next.births[id.value] = 0; });
    next.outgoing = {};
  } else {
    // R25: who joins counts only once it holds all that the others do.
    if (!caught_up(now.joining)) return 0;
    next.outgoing = now.voters;
    next.voters = (now.voters | now.joining) - now.leaving;
    next.joining = next.leaving = {};
  }
  return append_view(next) == Code::ok ? 1 : 0;
}

// They stay attached until they hold the view that leaves them out, and know it committed.
void Leader::release_departed(uint64_t now_ns) {
  if (departed_.empty()) {
    departed_ns_ = 0;
    return;
  }
  if (departed_ns_ == 0) departed_ns_ = now_ns;
  const bool settled = c_.membership().settled() && c_.state.view_position() <= told_committed_;
  if (now_ns - departed_ns_ < (settled ? c_.options.retry_ns : c_.options.quorum_patience_ns)) {
    return;
  }
  for_each(departed_, [&](ReplicaId id) {
    unseal(id, peers_[id.value], now_ns);
    peers_[id.value] = {};
  });
  followers_ = followers_ - departed_;
  departed_ = {};
  departed_ns_ = 0;
}

bool Leader::dismissed() const {
  return serving() && !(voters_ | outgoing_).has(c_.options.self) &&
         c_.state.view_position() <= c_.state.committed();
}

// ---- Handing over ----

Code Leader::hand_over(ReplicaId to, uint64_t now_ns) {
  if (!serving()) return Code::not_leader;
  if (to == c_.options.self) return Code::ok;
  if (!voters_.has(to)) return Code::not_found;
  if (!in_sync_.has(to) || c_.detector.suspected(to)) return Code::no_quorum;
  appoint(to, now_ns);
  return Code::ok;
}

// Nobody would suspect us, who are alive, and none of our followers would stand up: who was
// dismissed asks one after the other until somebody does.
uint32_t Leader::retire(uint64_t now_ns) {
  if (heir_.value != 0 || !dismissed()) return 0;
  const ReplicaSet ready = (voters_ & in_sync_).empty() ? voters_ : voters_ & in_sync_;
  ReplicaId next{static_cast<uint8_t>(__builtin_ctzll(ready.bits))};
  for_each(ready, [&](ReplicaId id) {
    if (next <= last_heir_ && id > last_heir_) next = id;
  });
  last_heir_ = next;
  appoint(next, now_ns);
  return 1;
}

void Leader::appoint(ReplicaId heir, uint64_t now_ns) {
  heir_ = heir;
  heir_told_ = false;
  heir_until_ns_ = now_ns + 4 * c_.options.retry_ns;
}

// Appends wait meanwhile. Once all that was taken is committed and persisted there, the heir has
// nothing to fetch and nobody has anything to repair. That it has not read it yet does not matter:
// its own seal does.
uint32_t Leader::pass_on(uint64_t now_ns) {
  if (now_ns >= heir_until_ns_) {
    heir_ = ReplicaId{};
    return 1;
  }
  const Peer& peer = peers_[heir_.value];
  if (heir_told_) return 0;
  const bool behind =
      c_.state.committed() != c_.state.tail().position || peer.persisted < c_.state.tail().end;
  if (behind && peer.phase == Phase::attached) return 0;
  c_.outbox.send(heir_, control::Succeed{term_});
  heir_told_ = true;
  return 1;
}

}  // namespace caisson::replication
