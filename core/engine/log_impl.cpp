// SPDX-License-Identifier: BSD-3-Clause
// A log's turn on its poller: lanes in, the replica's progress, resolutions out.
#include "core/engine/log_impl.hpp"

#include <algorithm>

#include "core/engine/poller.hpp"

namespace caisson::engine {

namespace {

// A follower that is alive is written to again within it, whatever fenced its leader.
constexpr uint64_t kReconnectBudgetNs = 1'000'000'000;

}  // namespace

LogImpl::LogImpl(const LogOptions& options, uint32_t index, ReplicaId self, Poller& poller,
                 LogParts parts)
    : options_(options),
      index_(index),
      self_(self),
      poller_(poller),
      parts_(std::move(parts)),
      replica_(parts_.replica.get()),
      state_(replica_->log()) {
  openings_.reserve(64);
  last_status_ = replica_->status();
  status_.store(last_status_);
}

LogImpl::~LogImpl() {
  parts_.replica.reset();
  parts_.outbox.reset();
  parts_.upkeep.reset();
  parts_.endpoint.reset();
  parts_.region.reset();
}

uint32_t LogImpl::turn(uint64_t now_ns) {
  if (closed_.load(std::memory_order_relaxed)) return 0;
  uint32_t work = 0;
  if (!openings_.empty()) advance_openings(now_ns);
  const uint64_t applied = applied_wish_.load(std::memory_order_relaxed);
  if (applied != applied_seen_) {
    applied_seen_ = applied;
    replica_->mark_applied(Position{applied});
  }
  if (now_ns - holds_ns_ >= kHoldsNs) {
    holds_ns_ = now_ns;
    push_holds(now_ns);
  }
  work += serve_lanes(now_ns);
  work += replica_->poll(now_ns);
  work += resolve();
  if (!reading_.empty()) work += answer_reads();
  publish(now_ns, work);
  if (state_.batch_tail() != held_) {
    held_ = state_.batch_tail();
    held_turn_.store(held_turn_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  if (now_ns >= upkeep_due_ns_) [[unlikely]]
    look_after(now_ns, work);
  return work;
}

void LogImpl::look_after(uint64_t now_ns, uint32_t work) {
  if (parts_.upkeep == nullptr) {
    upkeep_due_ns_ = kNever;
    return;
  }
  if (work != 0 && now_ns - upkeep_due_ns_ < kUpkeepPatienceNs) return;
  upkeep_due_ns_ = parts_.upkeep->run() ? kNever : now_ns + 2 * kUpkeepDelayNs;
}

uint32_t LogImpl::serve_lanes(uint64_t now_ns) {
  if (open_batch_ != nullptr) return drain(*open_batch_);
  uint32_t work = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    Lane& lane = *active_[i];
    work += drain(lane);
    if (open_batch_ != nullptr) break;
    if (lane.deadline_passed(now_ns)) lane.expire(now_ns);
    if (lane.orphaned() && lane.drained()) retire(lane);
  }
  return work;
}

uint32_t LogImpl::drain(Lane& lane) {
  uint32_t taken = 0;
  while (taken < kDrainedPerTurn || open_batch_ != nullptr) {
    const LaneRecord* const record = lane.front();
    if (record == nullptr) break;
    if (!submit_front(lane, *record)) {
      lane.register_all();
      break;
    }
    ++taken;
  }
  if (taken != 0) lane.release();
  return taken;
}

// False: the log takes nothing now.
bool LogImpl::submit_front(Lane& lane, const LaneRecord& record) {
  const bool foreign = (record.flags & LaneRecord::kForeign) != 0;
  if (lane.broken != Code::ok && !foreign) {
    if ((record.flags & LaneRecord::kFresh) == 0) {
      refuse_front(lane, record, lane.broken);
      return true;
    }
    lane.broken = Code::ok;
  }
  Code code = Code::ok;
  if (record.batch_count != 0)
    code =
        replica_->reserve(record.identity.client, record.batch_count, record.batch_payload_bytes);
  const bool batch_end = (record.flags & LaneRecord::kBatchEnd) != 0;
  if (code == Code::ok) {
    code = replica_->submit({record.identity, Lane::payload(record), record.level,
                             tag_of(lane, lane.front_ticket()), batch_end, true, record.view});
  }
  if (code == Code::again) return false;
  if (code != Code::ok) {
    refuse_front(lane, record, code);
    return true;
  }
  open_batch_ = batch_end ? nullptr : &lane;
  lane.drop_front();
  return true;
}

void LogImpl::refuse_front(Lane& lane, const LaneRecord& record, Code code) {
  open_batch_ = nullptr;
  if ((record.flags & LaneRecord::kForeign) == 0) {
    // To its own stream the refusal is final: the entry is in no log. What follows would leave a
    // gap.
    if (code == Code::not_leader) code = Code::not_appended;
    lane.broken = code;
  }
  lane.resolve(lane.front_ticket(), code, {}, {});
  lane.drop_front();
}

uint32_t LogImpl::resolve() {
  uint32_t total = 0;
  for (;;) {
    const size_t count = replica_->take_resolutions(resolutions_);
    for (size_t i = 0; i < count; ++i) {
      const replication::Resolution& resolution = resolutions_[i];
      const auto lane_id = static_cast<uint32_t>(resolution.tag >> 32);
      if (lane_id == kControlLane) [[unlikely]] {
        resolve_opening(resolution);
        continue;
      }
      if (lane_id >= lanes_.size() || lanes_[lane_id] == nullptr) [[unlikely]] {
        continue;
      }
      lanes_[lane_id]->resolve(static_cast<uint32_t>(resolution.tag), resolution.code,
                               resolution.position, resolution.term);
    }
    total += static_cast<uint32_t>(count);
    if (count < resolutions_.size()) return total;
  }
}

// ---- Lanes ----

Code LogImpl::attach(std::shared_ptr<Lane> lane) {
  bool taken = false;
  const bool ran = poller_.call([&](uint64_t) {
    if (closed_.load(std::memory_order_relaxed)) return;
    attach_here(std::move(lane));
    taken = true;
  });
  return ran && taken ? Code::ok : Code::closed;
}

void LogImpl::attach_here(std::shared_ptr<Lane> lane) {
  const auto free = std::find(lanes_.begin(), lanes_.end(), nullptr);
  lane->id = static_cast<uint32_t>(free - lanes_.begin());
  active_.push_back(lane.get());
  if (free == lanes_.end()) {
    lanes_.push_back(std::move(lane));
  } else {
    *free = std::move(lane);
  }
}

void LogImpl::detach(std::shared_ptr<Lane> lane) {
  const auto orphan = [lane](uint64_t) { lane->orphan(); };
  if (poller_.runs_inline()) {
    orphan(0);
  } else {
    // If the box is closed the lane is closed, too, and nobody reads it any more.
    poller_.mailbox().post_function(orphan);
  }
}

void LogImpl::retire(Lane& lane) {
  std::erase(active_, &lane);
  lanes_[lane.id] = nullptr;
}

// ---- Streams ----

void LogImpl::open_stream(Opening opening) {
  if (poller_.runs_inline()) {
    if (closed()) return opening.done(Code::closed, {});
    openings_.push_back(std::move(opening));
    return;
  }
  auto shared = std::make_shared<Opening>(std::move(opening));
  const bool posted = poller_.mailbox().post_function([this, shared](uint64_t) {
    if (closed_.load(std::memory_order_relaxed)) return shared->done(Code::closed, {});
    openings_.push_back(std::move(*shared));
  });
  if (!posted) shared->done(Code::closed, {});
}

void LogImpl::advance_openings(uint64_t now_ns) {
  for (size_t i = 0; i < openings_.size();) {
    Opening& opening = openings_[i];
    Code code = Code::again;
    if (!opening.taken) {
      opening.serial = ++opening_serial_;
      const uint64_t tag = uint64_t{kControlLane} << 32 | opening.serial;
      code = opening.taken_through.value == 0
                 ? replica_->open_stream(opening.stream, tag)
                 : replica_->take_apologies(opening.stream.client, opening.taken_through, tag);
      opening.taken = code == Code::ok;
      if (code == Code::not_leader && opening.await_leadership) code = Code::again;
    }
    if (opening.taken || code == Code::again) {
      if (now_ns < opening.deadline_ns) {
        ++i;
        continue;
      }
      code = Code::timed_out;
    }
    const auto done = std::move(opening.done);
    openings_.erase(openings_.begin() + static_cast<std::ptrdiff_t>(i));
    done(code, {});
  }
}

void LogImpl::resolve_opening(const replication::Resolution& resolution) {
  if (resolution.code == Code::indefinite) return;
  const auto serial = static_cast<uint32_t>(resolution.tag);
  const auto found = std::find_if(openings_.begin(), openings_.end(), [&](const Opening& opening) {
    return opening.taken && opening.serial == serial;
  });
  if (found == openings_.end()) return;  // its deadline passed
  if (found->await_leadership && (resolution.code != Code::ok || replica_->leading() == Term{})) {
    found->taken = false;  // the term it was asked in is over
    return;
  }
  Opening opening = std::move(*found);
  openings_.erase(found);
  if (resolution.code == Code::ok) {
    if (opening.lane) attach_here(std::move(opening.lane));
    opening.done(Code::ok,
                 replica_->opened_stream(opening.stream.client, opening.taken_through.value == 0
                                                                    ? resolution.position
                                                                    : Position{}));
  } else {
    opening.done(resolution.code == Code::not_appended ? Code::not_leader : resolution.code, {});
  }
}

// ---- Holds, publication, end ----

Position LogImpl::push_holds(uint64_t now_ns) {
  const Position lowest = holds_.lowest(now_ns);
  replica_->set_reader_hold(lowest);
  return lowest;
}

Code LogImpl::push_holds_and_wait() {
  return poller_.call([this](uint64_t now_ns) { push_holds(now_ns); }) ? Code::ok : Code::closed;
}

void LogImpl::publish_now(uint64_t now_ns) {
  published_ns_ = now_ns;
  busy_turns_ = 0;
  led_ = replica_->leading();
  const replication::ReplicaStatus status = replica_->status();
  status_.store(status);
  leading_.store(led_.value, std::memory_order_release);
  if (status.promised != last_status_.promised || status.leader != last_status_.leader) {
    upkeep_due_ns_ = now_ns + kUpkeepDelayNs;  // a seal has revoked, here and at the peers
  }
  if (now_ns - followers_ns_ >= kPublicationNs) {
    followers_ns_ = now_ns;
    Followers followers;
    followers.count = static_cast<uint32_t>(replica_->peers(followers.all));
    followers_.store(followers);
    report_pace(followers);
    report_connections(followers, now_ns);
  }
  report_changes(last_status_, status);
  last_status_ = status;
}

void LogImpl::report_changes(const replication::ReplicaStatus& before,
                             const replication::ReplicaStatus& now) {
  Event event;
  event.log = index_;
  event.role = now.role;
  event.replica = now.leader;
  event.term = now.term;
  event.committed = now.marks.committed;
  event.evidence = now.detected_by;
  const auto put = [&](Event::Kind kind) {
    event.kind = kind;
    poller_.events().put(event);
  };
  if (now.role != before.role) put(Event::Kind::role);
  if (now.leader != before.leader || (now.term != before.term && now.leader.value != 0)) {
    put(Event::Kind::leader);
  }
  if (now.repairs != before.repairs) put(Event::Kind::repair);
  if (now.orphans.full && !before.orphans.full) put(Event::Kind::no_room);
  if (now.faults != before.faults && !now.poisoned) put(Event::Kind::fault);
  event.at = now.poison.at;
  if (now.poisoned && !before.poisoned) {
    put(file_deleted() ? Event::Kind::deleted : Event::Kind::poison);
  }
  if (now.stuck != before.stuck) put(now.stuck ? Event::Kind::stuck : Event::Kind::unstuck);
  event.at = now.scrub.findings;
  if (now.scrub.findings != before.scrub.findings) put(Event::Kind::rot);
  event.at = now.scrub.repaired;
  if (now.scrub.repaired != before.scrub.repaired) put(Event::Kind::mended);
  for_each(before.membership.voters & now.membership.learners, [&](ReplicaId id) {
    event.replica = id;
    put(Event::Kind::demoted);
  });
}

void LogImpl::report_pace(const Followers& followers) {
  ReplicaSet slow;
  for (uint32_t i = 0; i < followers.count; ++i) {
    if (followers.all[i].slow) slow.add(followers.all[i].id);
  }
  const auto put = [&](ReplicaSet whom, Event::Kind kind) {
    for_each(whom, [&](ReplicaId id) {
      Event event;
      event.kind = kind;
      event.log = index_;
      event.replica = id;
      poller_.events().put(event);
    });
  };
  put(slow - slow_, Event::Kind::slow);
  put(slow_ - slow, Event::Kind::keeps_pace);
  slow_ = slow;
}

// Who takes our writes again, at most once a second of each; and who does not for a whole one,
// although it is alive.
void LogImpl::report_connections(const Followers& followers, uint64_t now_ns) {
  if (led_ != connected_term_) {
    connected_term_ = led_;
    connections_.fill({false, false, now_ns, 0});
  }
  if (led_ == Term{}) return;
  const auto put = [&](ReplicaId id, Event::Kind kind, Connection& connection) {
    Event event;
    event.kind = kind;
    event.log = index_;
    event.replica = id;
    event.term = led_;
    event.at = now_ns - connection.since_ns;
    connection.told_ns = now_ns;
    poller_.events().put(event);
  };
  for (uint32_t i = 0; i < followers.count; ++i) {
    const replication::PeerStatus& peer = followers.all[i];
    Connection& connection = connections_[peer.id.value];
    if (peer.attached != connection.attached) {
      const bool often =
          now_ns - connection.told_ns < kReconnectBudgetNs && connection.told_ns != 0;
      if (peer.attached && (connection.missed || !often)) {
        put(peer.id, Event::Kind::written_to, connection);
      }
      connection = {peer.attached, false, now_ns, connection.told_ns};
    } else if (!peer.attached && !peer.suspected && !connection.missed &&
               now_ns - connection.since_ns >= kReconnectBudgetNs) {
      put(peer.id, Event::Kind::parted, connection);
      connection.missed = true;
    }
  }
}

void LogImpl::close(uint64_t now_ns) {
  if (closed_.load(std::memory_order_relaxed)) return;
  replica_->close(now_ns);
  resolve();
  answer_reads();
  for (Lane* lane : active_) lane->close();
  active_.clear();
  lanes_.clear();
  open_batch_ = nullptr;
  for (const Opening& opening : std::exchange(openings_, {})) opening.done(Code::closed, {});
  publish_now(now_ns);
  leading_.store(0, std::memory_order_release);
  closed_.store(true, std::memory_order_release);
}

}  // namespace caisson::engine
