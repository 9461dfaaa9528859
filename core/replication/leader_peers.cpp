// SPDX-License-Identifier: BSD-3-Clause
// How a leader opens its followers' rings, and catches them up.
#include <algorithm>

#include "core/replication/history.hpp"
#include "core/replication/leader.hpp"

namespace caisson::replication {

ReplicaSet Leader::attached() const {
  ReplicaSet set = just(c_.options.self);
  for_each(followers_, [&](ReplicaId id) {
    if (attached(id)) set.add(id);
  });
  return set;
}

size_t Leader::peers(std::span<PeerStatus> out) const {
  size_t count = 0;
  if (!active_) return count;
  for_each(followers_ - departed_, [&](ReplicaId id) {
    if (count == out.size()) return;
    const Peer& peer = peers_[id.value];
    PeerStatus& status = out[count++];
    status = {id,         attached(id), in_sync_.has(id),   c_.detector.suspected(id),
              peer.slow,  peer.refused, peer.validated_end, peer.caught_from,
              peer.posted};
    if (!standbys_.has(id)) return;
    status.standby = true;
    status.lag = lag_of(peer);
  });
  return count;
}

void Leader::unseal(ReplicaId id, Peer& peer, uint64_t now_ns) {
  c_.endpoint.detach(id);
  in_sync_.remove(id);
  told_.remove(id);
  peer.held = held_by(peer);
  peer.phase = Phase::unsealed;
  peer.placed = peer.persisted = Offset{0};
  peer.starved = peer.kept_up = peer.slow = false;
  peer.retry_ns = now_ns;
}

void Leader::ask_grant(ReplicaId id, Peer& peer, uint64_t now_ns) {
  peer.phase = Phase::granting;
  peer.retry_ns = now_ns + c_.options.retry_ns;
  c_.outbox.send(id, control::GrantRequest{term_, nonce_, peer.answer, peer.divergence});
}

void Leader::on_seal_reply(ReplicaId from, const control::SealReply& reply, uint64_t now_ns) {
  if (reply.term != term_ || reply.nonce != nonce_ || !followers_.has(from)) return;
  if (reply.code != Code::ok && reply.code != Code::damaged) return;
  // Another life of the same number: whatever it holds, it was never admitted.
  if (reply.birth != c_.membership().births[from.value]) return;
  Peer& peer = peers_[from.value];
  // Answers are numbered, by each region for itself: a late one describes a ring that has changed
  // since.
  if (reply.answer <= peer.answer) return;
  peer.birth = reply.birth;
  peer.answer = reply.answer;
  unseal(from, peer, now_ns + c_.options.retry_ns);
  const History theirs{reply.trim, reply.tail, reply.epochs};
  if (!consistent(theirs)) return;
  if (reply.persistence == Persistence::none) {  // R12: its bytes would prove nothing
    peer.phase = Phase::lost;
    peer.retry_ns = now_ns + 20 * c_.options.retry_ns;
    return;
  }
  const auto common = last_common(history_of(c_.state), theirs);
  if (!common.has_value() || *common < reply.committed) {
    peer.phase = Phase::lost;
    peer.retry_ns = now_ns + 20 * c_.options.retry_ns;
    if (reply.committed < c_.state.trimmed()) rebase(from, peer, now_ns);
    return;
  }
  auto divergence = c_.state.cursor_at(*common);
  if (!divergence.has_value()) return;
  divergence->term = c_.state.term_at(*common);
  peer.divergence = *divergence;
  peer.incarnation = reply.incarnation;
  peer.head = reply.trim.end;
  if (reply.grant.has_value() && peer.divergence == reply.tail) {
    return open(from, peer, *reply.grant, now_ns);
  }
  ask_grant(from, peer, now_ns);
}

void Leader::on_grant_reply(ReplicaId from, const control::GrantReply& reply, uint64_t now_ns) {
  if (reply.term != term_ || reply.nonce != nonce_ || !followers_.has(from)) return;
  Peer& peer = peers_[from.value];
  if (peer.phase != Phase::granting || reply.answer != peer.answer) return;
  // Two fresh regions number alike. Nodes of an earlier version do not say it.
  if (reply.birth != 0 && reply.birth != peer.birth) return;
  // Its ring has changed since the answer that we asked upon; or its fabric does not know ours yet.
  if (reply.code == Code::again || reply.code == Code::not_yet) {
    unseal(from, peer, reply.code == Code::again ? now_ns : now_ns + c_.options.retry_ns);
    return;
  }
  if (reply.code != Code::ok) return refused(from, peer, now_ns);
  open(from, peer, reply.grant, now_ns);
}

// What stands in the way there (a full salvage area, a damaged history) passes slowly, if at all.
void Leader::refused(ReplicaId id, Peer& peer, uint64_t now_ns) {
  unseal(id, peer, now_ns + 10 * c_.options.retry_ns);
}

void Leader::open(ReplicaId id, Peer& peer, const transport::Grant& grant, uint64_t now_ns) {
  peer.refused = c_.endpoint.attach(id, grant, peer.divergence.end);
  if (peer.refused != Code::ok) return refused(id, peer, now_ns);
  opened(id, peer, now_ns);
  advance();
}

void Leader::opened(ReplicaId id, Peer& peer, uint64_t now_ns) {
  peer.phase = Phase::attached;
  peer.held = {peer.divergence.end, peer.divergence.position, 0};
  peer.posted = peer.placed = peer.persisted = peer.divergence.end;
  peer.validated_end = peer.tended_end = peer.divergence.end;
  peer.vouched = peer.divergence;
  peer.moved_ns = peer.pace_ns = now_ns;
  peer.caught_from = peer.posted;
  // What it lacks is most often little, and somebody waits for a quorum.
  allow_catch_up(now_ns);
  catch_up_allowance_ = std::max(catch_up_allowance_, kCatchUpBytes);
  catch_up(id, peer, now_ns);
}

void Leader::take_over(ReplicaId from, const control::SealReply& reply, uint64_t now_ns) {
  Peer& peer = peers_[from.value];
  peer.divergence = reply.tail;
  peer.birth = reply.birth;
  peer.answer = reply.answer;
  peer.incarnation = reply.incarnation;
  peer.head = reply.trim.end;
  opened(from, peer, now_ns);
}

// Only who has no voice: what a voter holds may be all that is left of an acknowledged entry.
void Leader::rebase(ReplicaId id, Peer& peer, uint64_t now_ns) {
  if (c_.state.voices().has(id)) return;
  // A base that is trimmed before it is taken would have to be given anew, for ever under a steady
  // load. Waited for half of the time at most: it may never be taken.
  const uint64_t patience_ns = kBaseRetries * c_.options.retry_ns;
  if (now_ns >= peer.based_until_ns + patience_ns) peer.based_until_ns = now_ns + patience_ns;
  c_.outbox.send(id, control::Rebase{term_, nonce_, peer.answer, c_.state.trim_cursor(),
                                     c_.state.views().front()});
}

void Leader::on_hello(ReplicaId from, const control::Hello& hello, uint64_t now_ns) {
  const log::Membership& view = c_.membership();
  births_[from.value] = hello.birth;
  if (!view.members().has(from) || hello.birth != view.births[from.value]) {
    // The one that we wrote to is gone for good.
    if (attached(from) && !departed_.has(from)) unseal(from, peers_[from.value], now_ns);
    if (standbys_.has(from)) {
      peers_[from.value].held = {};
      limit_ = Offset{0};
    }
    return;
  }
  Peer& peer = peers_[from.value];
  if (peer.phase == Phase::attached && hello.promised < term_)
    return;  // it said so before our seal
  // It holds no grant of ours, whatever we believed.
  if (peer.phase == Phase::attached ||
      (peer.phase != Phase::unsealed && peer.incarnation != hello.incarnation)) {
    unseal(from, peer, now_ns);
  }
  // The application there may have installed what it lacked.
  if (peer.phase == Phase::lost && !c_.state.voices().has(from)) unseal(from, peer, now_ns);
  if (peer.phase == Phase::unsealed) tend(from, peer, now_ns);
}

// Returns the term under which it was published.
Term Leader::read_cell(ReplicaId id, Peer& peer) {
  const transport::TargetCell cell = c_.endpoint.target_cell(id);
  // P11: believed only under this term and incarnation.
  if (cell.term == term_ && cell.incarnation == peer.incarnation) {
    peer.head = std::max(peer.head, cell.head);
    peer.validated_end = std::max(peer.validated_end, cell.validated_end);
  }
  return cell.term;
}

// Appends and those who are being caught up share the poller and its way to memory: so much a
// second, in pieces. Twice what is appended in any case, or they would never arrive.
void Leader::allow_catch_up(uint64_t now_ns) {
  const uint64_t rate = c_.options.catch_up_bytes_per_s;
  constexpr uint64_t kLongest_ns = 10'000'000;
  if (now_ns - allowed_ns_ > kLongest_ns) allowed_ns_ = now_ns - std::min(now_ns, kLongest_ns);
  const uint64_t earned = rate * (now_ns - allowed_ns_) / 1'000'000'000;
  // Only the time that was paid out: a slow rate must not be rounded away.
  allowed_ns_ += std::min(now_ns - allowed_ns_, earned * 1'000'000'000 / rate);
  const uint64_t appended = fanned_end_ > allowed_end_ ? fanned_end_ - allowed_end_ : 0;
  allowed_end_ = fanned_end_;
  catch_up_allowance_ = std::min(catch_up_allowance_ + earned, kCatchUpBytes) + 2 * appended;
}

bool Leader::mend(const log::Cursor& at, uint64_t now_ns) {
  if (now_ns < mend_ns_) return false;
  mend_ns_ = now_ns + c_.options.retry_ns;
  rotten_ = !mender_.mend(at, own_persisted_);
  return !rotten_;
}

// What has rotted at rest here is copied nowhere: it would be counted there, and nobody could read
// it (P12). Who has it mends it first. Returns where the good bytes end, at `end` or before.
Offset Leader::vouch(Peer& peer, Offset end, uint64_t now_ns) {
  while (peer.vouched.end < end) {
    const log::Step next = log::step(c_.state.ring(), peer.vouched, own_persisted_);
    if (next.reason == log::Break::none) {
      peer.vouched = next.next;
    } else if (!mend(peer.vouched, now_ns)) {
      return peer.vouched.end;
    }
  }
  return end;
}

uint32_t Leader::catch_up(ReplicaId id, Peer& peer, uint64_t now_ns) {
  if (in_sync_.has(id)) return 0;
  // Nobody waits for who has no voice: what it lacks may have been trimmed meanwhile.
  if (peer.posted < c_.state.trim_cursor().end) {
    unseal(id, peer, 0);
    return 1;
  }
  const Offset until = std::min(own_persisted_, room_of(peer));
  const uint64_t wanted = until > peer.posted ? until - peer.posted : 0;
  uint64_t bytes = std::min(wanted, catch_up_allowance_) / kCacheLineBytes * kCacheLineBytes;
  if (bytes < std::min(wanted, kCatchUpPieceBytes)) bytes = 0;
  if (bytes > 0) {
    catch_up_allowance_ -= bytes;
    bytes = vouch(peer, peer.posted + bytes, now_ns) - peer.posted;
    peer.starved = bytes == 0;
  }
  if (bytes > 0) {
    c_.endpoint.write(id, peer.posted, bytes);
    peer.posted = peer.posted + bytes;
    c_.endpoint.complete_through(just(id), false, peer.posted);
  }
  if (peer.posted == fanned_end_ && staged_ == 0) {
    in_sync_.add(id);
    limit_ = room_end_ = Offset{0};  // ask it, too
  }
  return bytes > 0 ? 1 : 0;
}

// The term under which `id` may grant along with its answer. None before our own term has an entry:
// the log we adopted may be shorter than what it holds of the same term. Nor for who has no voice:
// it may need a new base first.
Term Leader::grant_along(ReplicaId id) const {
  const bool fits = c_.state.batch_tail().term == term_ && c_.membership().electors().has(id);
  return fits ? term_ : Term{0};
}

uint32_t Leader::tend(ReplicaId id, Peer& peer, uint64_t now_ns) {
  const bool due = now_ns >= peer.retry_ns;
  switch (peer.phase) {
    case Phase::unsealed:
      if (!due) return 0;
      peer.retry_ns = now_ns + c_.options.retry_ns;
      c_.outbox.send(id, control::Seal{term_, nonce_, c_.membership().view, grant_along(id)});
      return 1;
    case Phase::granting:
      if (!due) return 0;
      ask_grant(id, peer, now_ns);
      return 1;
    case Phase::lost:
      // Its log may be longer by now: an earlier leader's writes were still on their way.
      if (due) unseal(id, peer, now_ns + c_.options.retry_ns);
      return 0;
    case Phase::attached: break;
  }
  if (c_.detector.evidence(id) == control::Evidence::death_notice) {
    // Its memory would go on taking writes, but nobody is there to validate them: it counts again
    // once it answers a seal (R20).
    unseal(id, peer, now_ns + c_.options.retry_ns);
    return 1;
  }
  if (read_cell(id, peer) > term_) {
    // It listens to a later leader, and says so when it is asked. Nobody else may: that one may
    // have dismissed us, and who writes nothing is refused nothing.
    unseal(id, peer, now_ns);
    return 1;
  }
  const bool moved = peer.validated_end != peer.tended_end;
  peer.tended_end = peer.validated_end;
  if (moved || peer.validated_end >= peer.persisted) peer.moved_ns = now_ns;
  if (!c_.detector.suspected(id) && now_ns - peer.moved_ns > c_.options.fault_after_ns) {
    // P12: what it persisted does not validate. Seal it again: it scans, and repair starts at its
    // tail.
    unseal(id, peer, now_ns);
    return 1;
  }
  judge_pace(id, peer, now_ns);
  keep_in_step(id, peer, now_ns);
  return moved ? 1 : 0;
}

// After a sleep, or a clock that was set: nobody was listened to meanwhile, and silence proves
// nothing.
void Leader::excuse(uint64_t gap_ns, uint64_t now_ns) {
  if (gap_ns <= std::min(c_.options.fault_after_ns, c_.options.quorum_patience_ns) / 2) return;
  alive_ns_ = std::min(alive_ns_ + gap_ns, now_ns);
  for_each(followers_, [&](ReplicaId id) {
    Peer& peer = peers_[id.value];
    peer.moved_ns = std::min(peer.moved_ns + gap_ns, now_ns);
  });
}

uint32_t Leader::tend(uint64_t now_ns) {
  uint32_t work = 0;
  if (!(followers_ - in_sync_).empty()) [[unlikely]] {
    allow_catch_up(now_ns);
    for_each(followers_ - in_sync_, [&](ReplicaId id) {
      Peer& peer = peers_[id.value];
      if (peer.phase == Phase::attached) work += catch_up(id, peer, now_ns);
    });
  }
  if (now_ns - tend_ns_ < kTendEvery_ns) return work;
  if (tend_ns_ != 0) excuse(now_ns - tend_ns_, now_ns);
  tended_ns_ = tend_ns_;
  tend_ns_ = now_ns;
  ReplicaSet alive = just(c_.options.self);
  for_each(followers_, [&](ReplicaId id) {
    Peer& peer = peers_[id.value];
    work += tend(id, peer, now_ns);
    if (peer.phase == Phase::attached && !peer.starved && !c_.detector.suspected(id)) alive.add(id);
  });
  if (c_.membership().commits(alive)) alive_ns_ = now_ns;
  release_departed(now_ns);
  return work;
}

bool Leader::quorum_lost(uint64_t now_ns) const {
  return active_ && now_ns - alive_ns_ > c_.options.quorum_patience_ns;
}

}  // namespace caisson::replication
