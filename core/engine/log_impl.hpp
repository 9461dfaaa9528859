// SPDX-License-Identifier: BSD-3-Clause
// One log of this engine: its replica, the lanes that feed it, and what other threads may know of
// it. The poller that owns the log is the only thread that touches the replica.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "caisson/caisson.hpp"
#include "core/control/messages.hpp"
#include "core/engine/engine_events.hpp"
#include "core/engine/engine_published.hpp"
#include "core/engine/lane.hpp"
#include "core/engine/poller_mailbox.hpp"
#include "core/engine/reader_holds.hpp"
#include "core/log/superblock_format.hpp"
#include "core/replication/orphans.hpp"
#include "core/replication/replica.hpp"
#include "pmem/region.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

class Poller;

// What a fabric does when there is nothing better to do: map what peers have moved, prepare what
// the next revocation will need. It may take system calls, so it runs only when something asks for
// it.
class Upkeep {
 public:
  virtual ~Upkeep() = default;
  virtual bool run() = 0;  // false: not everything could be done, try again
  // [any thread] Looks whether somebody has deleted the log's file under it: then nothing of it
  // counts any more (R44).
  virtual void look_at_file() = 0;
  virtual bool file_deleted() const = 0;
  // The log is closed for good: gives the region's lock back. What readers hold stays mapped.
  // False: it could not be closed to its peers, and keeps the lock.
  virtual bool release() = 0;
};

// As the API shows a view.
Members members_of(const log::Membership& membership, Position position, bool committed);

// How the leader sees its followers, published now and then.
struct Followers {
  uint32_t count = 0;
  std::array<replication::PeerStatus, kReplicaIdMax> all{};
};

// Everything beneath a log, in the order in which it must be destroyed: last first.
struct LogParts {
  std::unique_ptr<pmem::Region> region;
  std::unique_ptr<transport::Endpoint> endpoint;
  std::unique_ptr<Upkeep> upkeep;
  std::unique_ptr<control::Outbox> outbox;
  std::unique_ptr<replication::Replica> replica;
  log::Recovered recovered;  // as it was when the log was opened
};

class LogImpl {
 public:
  LogImpl(const LogOptions& options, uint32_t index, ReplicaId self, Poller& poller,
          LogParts parts);
  ~LogImpl();
  LogImpl(const LogImpl&) = delete;
  LogImpl& operator=(const LogImpl&) = delete;

  // ---- [any thread] ----
  const std::string& name() const { return options_.name; }
  const LogOptions& options() const { return options_; }
  uint32_t index() const { return index_; }
  uint32_t entry_bytes_max() const { return options_.entry_bytes_max; }
  uint64_t ring_bytes() const { return options_.ring_bytes; }
  Poller& poller() const { return poller_; }
  const log::LogState& state() const { return state_; }
  const pmem::Region& region() const { return *parts_.region; }
  // Nothing is read here any more (R44).
  bool poisoned() const { return parts_.region->poisoned(); }
  void look_at_file() const {
    if (parts_.upkeep != nullptr) parts_.upkeep->look_at_file();
  }
  bool file_deleted() const { return parts_.upkeep != nullptr && parts_.upkeep->file_deleted(); }
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  // Grows with every change of what this replica holds, committed or not.
  uint64_t held_turn() const { return held_turn_.load(std::memory_order_acquire); }
  // The term led, as last published; 0: not leading.
  Term leading() const { return Term{leading_.load(std::memory_order_acquire)}; }
  replication::ReplicaStatus status() const;
  // As of the last publication: for threads that are not the application's.
  replication::ReplicaStatus published() const { return status_.load(); }
  Leadership leadership() const;
  Marks marks() const;
  std::string status_json() const;

  Code read(Position position, std::vector<std::byte>& out, Token* token) const;
  Code wait_for(Position position, uint64_t timeout_ns) const;
  // ---- log_impl_reads.cpp ----
  Code read_at_least(Position position, const ReadOptions& options, std::vector<std::byte>& out,
                     Token* token) const;
  // `done` is called once, on the poller's thread (or within the call). See Replica::read_point.
  using OnReadPoint = std::function<void(const replication::ReadPoint&)>;
  void read_point(ReadPath path, uint64_t timeout_ns, OnReadPoint done);
  Result<Position> read_point_and_wait(ReadPath path, uint64_t timeout_ns);
  std::string why_unread(Code code) const;
  // Until a leader is known; where it is this replica, until it serves.
  Code await_leader(uint64_t deadline_ns) const;
  // held: `holder` says by whom.
  Code trim(Position position, TrimHolder& holder);
  Code mark_applied(Position position);
  // See Replica::mark_installed.
  void mark_installed(Position position);
  // Before the first turn: how the application's state travels, for the status.
  void set_state_status(std::function<nlohmann::json()> status) {
    state_status_ = std::move(status);
  }
  Members members() const;
  std::vector<StandbyLag> standbys() const;
  std::string standby_text() const;  // for people: which of them is in the way, and the cure
  // Asked once; see Replica. `settled`: whether the view then in force is what it is going to be.
  Code change_members(const MemberChange& change, bool* settled = nullptr);
  Code hand_over(ReplicaId to);
  // … and waited for; see Log.
  Code change_members_and_wait(const MemberChange& change, uint64_t timeout_ns);
  Code hand_over_and_wait(ReplicaId to, uint64_t timeout_ns);

  // What was displaced (R15), as read on the poller's thread. A cursor of position 0 and end 0 is
  // the record's beginning. not_found: the record is gone · closed.
  Code orphan_records(Orphans& out);
  Code orphan_page(uint64_t record, const log::Cursor& from,
                   const replication::OrphanPageLimits& limits, replication::OrphanPage& out);
  Code discard_orphans(uint64_t record);
  Result<Orphans> orphans(OrphanPayloads payloads);

  // The readers here, and what they keep from being trimmed.
  ReaderHolds& holds() { return holds_; }
  const ReaderHolds& holds() const { return holds_; }

  // Opens a stream, or takes its apologies; `done` is called once, on the poller's thread (or
  // within the call, if closed).
  struct Opening {
    replication::StreamOpening stream;
    Position taken_through{};  // not 0: the stream's apologies up to here are taken, no more
    bool await_leadership = false;
    uint64_t deadline_ns = kNever;
    std::function<void(Code, replication::OpenedStream)> done;
    std::shared_ptr<Lane> lane = nullptr;  // becomes one of this log's with the stream
    uint32_t serial = 0;
    bool taken = false;  // by the replica: its resolution follows
  };
  void open_stream(Opening opening);
  // Makes the lane one of this log's; waits for the poller.
  Code attach(std::shared_ptr<Lane> lane);
  void attach_here(std::shared_ptr<Lane> lane);  // poller's thread
  // The producer is gone. What it submitted goes on; the lane ends when all of it is resolved.
  void detach(std::shared_ptr<Lane> lane);
  // Waits until `done()`; ok, timed_out or closed. Inline it runs the engine meanwhile.
  template <class Done>
  Code await(Done&& done, uint64_t deadline_ns) const;
  // Brings the readers' holds to the replica now.
  Code push_holds_and_wait();
  // Control messages posted to the poller and not yet handed to the replica.
  std::atomic<uint32_t> messages_waiting{0};

  // ---- Poller ----
  uint32_t turn(uint64_t now_ns);
  // What an inline append needs of a turn: its own log's progress.
  uint32_t turn_replica(uint64_t now_ns) {
    const uint32_t work = replica_->poll(now_ns) + resolve();
    publish(now_ns, work);
    return work;
  }
  void on_message(ReplicaId from, const control::Message& message, uint64_t now_ns) {
    if (!closed()) replica_->on_message(from, message, now_ns);
  }
  void close(uint64_t now_ns);
  // After close(), when no thread turns it any more: others may open the region. False: not yet, as
  // Upkeep has it.
  bool release() { return parts_.upkeep == nullptr || parts_.upkeep->release(); }
  replication::Replica& replica() { return *replica_; }
  transport::Endpoint& endpoint() { return *parts_.endpoint; }
  static uint64_t tag_of(const Lane& lane, uint32_t ticket) {
    return uint64_t{lane.id} << 32 | ticket;
  }

 private:
  static constexpr uint32_t kControlLane = UINT32_MAX;
  static constexpr size_t kResolutionsPerTurn = 256;
  static constexpr uint32_t kDrainedPerTurn = 256;  // of one lane, so that lanes take turns
  static constexpr uint32_t kTurnsPerPublication = 32;
  static constexpr uint64_t kPublicationNs = 10'000'000;
  static constexpr uint64_t kHoldsNs = 1'000'000;
  static constexpr uint64_t kTrimPatienceNs = 1'000'000'000;
  static constexpr uint64_t kTrimLookNs = 1'000'000;
  static constexpr uint64_t kChangeLookNs = 20'000'000;
  // Long enough behind a revocation that the election it belongs to is over.
  static constexpr uint64_t kUpkeepDelayNs = 50'000'000;
  static constexpr uint64_t kUpkeepPatienceNs =
      500'000'000;  // then it does not wait for an idle turn

  struct ReadingPoint {
    uint64_t tag = 0;
    OnReadPoint done;
  };

  void read_point_here(ReadPath path, uint64_t timeout_ns, uint64_t now_ns, OnReadPoint done);
  uint32_t answer_reads();
  nlohmann::json members_json() const;
  nlohmann::json readers_json() const;
  uint32_t serve_lanes(uint64_t now_ns);
  uint32_t drain(Lane& lane);
  bool submit_front(Lane& lane, const LaneRecord& record);
  void refuse_front(Lane& lane, const LaneRecord& record, Code code);
  uint32_t resolve();
  void resolve_opening(const replication::Resolution& resolution);
  void advance_openings(uint64_t now_ns);
  Position push_holds(uint64_t now_ns);  // the lowest of them
  void look_after(uint64_t now_ns, uint32_t work);
  void publish(uint64_t now_ns, uint32_t work) {
    const bool leads_now = replica_->leading() != led_;
    busy_turns_ += work != 0;
    if (leads_now || (busy_turns_ != 0 && (work == 0 || busy_turns_ >= kTurnsPerPublication)) ||
        now_ns - published_ns_ >= kPublicationNs) {
      publish_now(now_ns);
    }
  }
  void publish_now(uint64_t now_ns);
  void report_changes(const replication::ReplicaStatus& before,
                      const replication::ReplicaStatus& now);
  void report_pace(const Followers& followers);
  void report_connections(const Followers& followers, uint64_t now_ns);
  Followers followers() const;
  void retire(Lane& lane);

  // Constant after construction.
  const LogOptions options_;
  const uint32_t index_;
  const ReplicaId self_;
  Poller& poller_;
  LogParts parts_;
  replication::Replica* const replica_;
  const log::LogState& state_;
  std::function<nlohmann::json()> state_status_;

  // Poller's own.
  std::vector<std::shared_ptr<Lane>> lanes_;  // by id; null: free
  std::vector<Lane*> active_;
  Lane* open_batch_ = nullptr;  // its batch has begun: nobody else may come between
  std::vector<Opening> openings_;
  std::vector<ReadingPoint> reading_;
  uint64_t read_tag_ = 0;
  std::array<replication::Resolution, kResolutionsPerTurn> resolutions_{};
  uint32_t opening_serial_ = 0;
  uint32_t busy_turns_ = 0;
  Term led_;
  uint64_t published_ns_ = 0;
  uint64_t followers_ns_ = 0;
  uint64_t holds_ns_ = 0;
  uint64_t upkeep_due_ns_ = 0;  // kNever: nothing to do
  uint64_t applied_seen_ = 0;
  replication::ReplicaStatus last_status_;
  ReplicaSet slow_;  // as last reported
  // Whether a follower takes our writes, and since when; of the term that is led.
  struct Connection {
    bool attached = false;
    bool missed = false;  // said: for too long it did not
    uint64_t since_ns = 0;
    uint64_t told_ns = 0;
  };
  Term connected_term_;
  std::array<Connection, kReplicaIdMax + 1> connections_{};

  // Written by the poller, read by all.
  log::Cursor held_;
  alignas(kCacheLineBytes) std::atomic<uint64_t> leading_{0};
  std::atomic<uint64_t> held_turn_{0};
  std::atomic<bool> closed_{false};
  Published<replication::ReplicaStatus> status_;
  Published<Followers> followers_;

  // Written by others, read by the poller.
  alignas(kCacheLineBytes) std::atomic<uint64_t> applied_wish_{0};
  ReaderHolds holds_;
};

}  // namespace caisson::engine
