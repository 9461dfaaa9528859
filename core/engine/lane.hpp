// SPDX-License-Identifier: BSD-3-Clause
// The way of one stream's appends to its log's poller and back: a byte ring of submissions, a table
// of what is outstanding, a ring of completions. One producer (the application's thread), one
// consumer (the poller); inline both are the same thread, and the submission ring stays unused.
// Nothing is allocated after construction, nothing locks, nothing enters the kernel.
//
// Tickets count the lane's entries. An entry holds the slot `ticket & mask` from its submission to
// its last resolution, so a lane has at most `slots` of them outstanding.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "caisson/types.hpp"
#include "core/log/entry_format.hpp"
#include "core/replication/replica.hpp"

namespace caisson::engine {

inline constexpr uint64_t kNever = UINT64_MAX;

// What a submission is, apart from its bytes. Lies in the submission ring in front of them.
struct LaneRecord {
  static constexpr uint8_t kPad = 1;  // nothing: the ring wraps here
  static constexpr uint8_t kBatchEnd =
      2;  // commits with all before it since the last batch end (P10)
  static constexpr uint8_t kReports = 4;  // its resolution is told to the producer
  static constexpr uint8_t kFresh = 8;    // first of a stream that goes on after losing appends
  static constexpr uint8_t kForeign =
      16;  // identity chosen elsewhere: judged alone, refused as it is

  uint64_t tag = 0;  // of its completion
  uint64_t deadline_ns = kNever;
  EntryIdentity identity;
  uint64_t batch_payload_bytes = 0;  // of the whole batch, where batch_count > 0
  uint32_t payload_bytes = 0;
  uint16_t batch_count = 0;  // first of a batch: how many entries it has
  Durability level = Durability::persisted;
  uint8_t flags = kBatchEnd | kReports;
  View view;  // not 0: only in this view
};
static_assert(sizeof(LaneRecord) == 64);
static_assert(std::is_trivially_copyable_v<LaneRecord>);

struct LaneCompletion {
  uint64_t tag = 0;
  Position position;
  Term term;
  uint32_t ticket = 0;
  Code code = Code::ok;
  bool final = true;  // false: another one of the same ticket follows
};

class Lane {
 public:
  // outstanding_max: entries, 1 … 65536. payload_bytes_max: of one entry; 0: no submission ring
  // (inline).
  Lane(uint32_t outstanding_max, uint64_t payload_bytes_max);

  // ---- Producer ----
  // Room for `count` more entries with `ring_bytes` (see ring_bytes_of) in all?
  bool fits(uint32_t count, uint64_t ring_bytes) {
    if (unfinished_ >= outstanding_max_) return false;
    if (next_ticket_ + count - oldest_seen_ > outstanding_max_) {
      oldest_seen_ = oldest_.load(std::memory_order_acquire);
      if (next_ticket_ + count - oldest_seen_ > outstanding_max_) return false;
    }
    return ring_bytes == 0 || ring_fits(ring_bytes);
  }
  static uint64_t ring_bytes_of(uint64_t payload_bytes) {
    return sizeof(LaneRecord) + log::padded(payload_bytes);
  }
  // The most ring bytes that one batch may take: it must fit whatever the ring's position.
  uint64_t batch_ring_bytes_max() const { return ring_bytes_ / 2; }
  // Precondition: fits. Visible to the poller with the next publish(). Returns the ticket.
  uint32_t push(const LaneRecord& record, std::span<const std::byte> payload);
  void publish() { submitted_.store(write_at_, std::memory_order_release); }

  // The next completion, good until its producer submits again; nullptr: none.
  const LaneCompletion* pop() {
    if (popped_ == completed_seen_ && !refill()) return nullptr;
    const LaneCompletion* const next = &completions_[popped_++ & completion_mask_];
    if (next->final) --unfinished_;
    return next;
  }
  bool pop(LaneCompletion& out) {
    const LaneCompletion* const next = pop();
    if (next != nullptr) out = *next;
    return next != nullptr;
  }
  // Operations whose final completion has not been popped.
  uint32_t unfinished() const { return unfinished_; }
  // Everything submitted is resolved, timed-out entries included.
  bool idle() { return oldest_.load(std::memory_order_acquire) == next_ticket_; }
  // The lowest sequence that was refused or lost since the last forget_gone(); kNever if none.
  uint64_t gone_from() const { return gone_from_.load(std::memory_order_acquire); }
  // The highest sequence that was reported as ok, at any level.
  uint64_t told() const { return told_.load(std::memory_order_acquire); }
  // Only while idle().
  void forget_gone() { gone_from_.store(kNever, std::memory_order_relaxed); }
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  // ---- Inline: producer and consumer in one, without the submission ring ----
  // While nothing is outstanding and nothing untaken, tickets start over: a stream of synchronous
  // appends then lives in one slot, and stays in the first-level cache.
  void start_over_if_empty() {
    if (settled_ticket_ != registered_ticket_ || unfinished_ != 0) return;
    next_ticket_ = registered_ticket_ = front_ticket_ = settled_ticket_ = oldest_seen_ = 0;
    popped_ = completed_seen_ = completion_at_ = 0;
    oldest_.store(0, std::memory_order_relaxed);
    completed_.store(0, std::memory_order_relaxed);
  }
  // The ticket that the next admit() will occupy.
  uint32_t next_ticket() const { return static_cast<uint32_t>(next_ticket_); }
  // `count` entries from `sequence` on have one ticket.
  void admit(uint64_t tag, uint64_t deadline_ns, uint64_t sequence, bool reports,
             uint32_t count = 1) {
    occupy(next_ticket_, tag, deadline_ns, sequence, reports, count);
    registered_ticket_ = front_ticket_ = ++next_ticket_;
    if (reports) ++unfinished_;
  }

  // ---- Poller ----
  // The record to submit next, registered as outstanding; nullptr if there is none.
  const LaneRecord* front();
  static std::span<const std::byte> payload(const LaneRecord& record) {
    return {reinterpret_cast<const std::byte*>(&record + 1), record.payload_bytes};
  }
  uint32_t front_ticket() const { return static_cast<uint32_t>(front_ticket_); }
  void drop_front();  // it was submitted, or refused
  void release() { consumed_.store(read_at_, std::memory_order_release); }  // gives the bytes back
  // Registers everything behind the front too, so that its deadlines run while the log takes
  // nothing.
  void register_all();

  void resolve(uint32_t ticket, Code code, Position position, Term term) {
    Slot& slot = slots_[ticket & slot_mask_];
    const bool plain = code == Code::ok && slot.state == State::waiting && slot.ticket == ticket;
    if (!plain) [[unlikely]]
      return resolve_rarely(slot, ticket, code, position, term);
    report(slot, code, position, term, true);
    slot.state = State::free;
    settle();
  }
  bool deadline_passed(uint64_t now_ns) const { return now_ns >= deadline_min_ns_; }
  void expire(uint64_t now_ns);
  // Resolves everything outstanding as `closed` and takes nothing more.
  void close();
  // The producer is gone: completions are dropped from now on.
  void orphan() { orphaned_ = true; }
  bool orphaned() const { return orphaned_; }
  bool drained() const;  // nothing in the ring, nothing outstanding

  // Why later entries of the stream are refused: an earlier one was (R4). Poller's.
  Code broken = Code::ok;
  uint32_t id = 0;

 private:
  enum class State : uint8_t { free, waiting, indefinite, timed_out };
  struct Slot {
    uint64_t tag = 0;
    uint64_t deadline_ns = kNever;
    uint64_t sequence = 0;
    uint32_t ticket = 0;
    State state = State::free;
    bool reports = false;
    uint16_t more = 0;  // entries of the same ticket behind `sequence`
  };
  static_assert(sizeof(Slot) == 32);
  struct AlignedDelete {
    void operator()(std::byte* p) const {
      ::operator delete[](p, std::align_val_t{kCacheLineBytes});
    }
  };

  LaneRecord* record_at(uint64_t at) const {
    return reinterpret_cast<LaneRecord*>(ring_.get() + (at & (ring_bytes_ - 1)));
  }
  void occupy(uint64_t ticket, uint64_t tag, uint64_t deadline_ns, uint64_t sequence, bool reports,
              uint32_t count) {
    slots_[ticket & slot_mask_] = {tag,
                                   deadline_ns,
                                   sequence,
                                   static_cast<uint32_t>(ticket),
                                   State::waiting,
                                   reports,
                                   static_cast<uint16_t>(count - 1)};
    if (deadline_ns < deadline_min_ns_) deadline_min_ns_ = deadline_ns;
  }
  uint64_t next_lap(uint64_t at) const { return (at | (ring_bytes_ - 1)) + 1; }
  bool refill();
  bool ring_fits(uint64_t ring_bytes);
  bool register_next();
  void resolve_rarely(Slot& slot, uint32_t ticket, Code code, Position position, Term term);
  void report(const Slot& slot, Code code, Position position, Term term, bool final) {
    if (orphaned_ || !slot.reports) return;
    if (code == Code::ok) {
      const uint64_t last = slot.sequence + slot.more;
      if (last > told_.load(std::memory_order_relaxed))
        told_.store(last, std::memory_order_release);
    }
    LaneCompletion& at = completions_[completion_at_++ & completion_mask_];
    at.tag = slot.tag;
    at.position = position;
    at.term = term;
    at.ticket = slot.ticket;
    at.code = code;
    at.final = final;
    completed_.store(completion_at_, std::memory_order_release);
  }
  void settle() {
    const uint64_t before = settled_ticket_;
    while (settled_ticket_ != registered_ticket_ &&
           slots_[settled_ticket_ & slot_mask_].state == State::free) {
      ++settled_ticket_;
    }
    if (settled_ticket_ != before) oldest_.store(settled_ticket_, std::memory_order_release);
  }

  // Constant after construction.
  const uint32_t outstanding_max_;
  const uint32_t slot_mask_;
  const uint32_t completion_mask_;
  uint64_t ring_bytes_ = 0;
  std::unique_ptr<std::byte[], AlignedDelete> ring_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<LaneCompletion[]> completions_;

  // Producer's own.
  alignas(kCacheLineBytes) uint64_t write_at_ = 0;
  uint64_t next_ticket_ = 0;
  uint64_t consumed_seen_ = 0;
  uint64_t oldest_seen_ = 0;
  uint64_t popped_ = 0;
  uint64_t completed_seen_ = 0;
  uint32_t unfinished_ = 0;  // reports promised, and not yet popped

  // Written by the producer, read by the poller.
  alignas(kCacheLineBytes) std::atomic<uint64_t> submitted_{0};

  // Written by the poller, read by the producer.
  alignas(kCacheLineBytes) std::atomic<uint64_t> consumed_{0};
  std::atomic<uint64_t> oldest_{0};
  std::atomic<uint64_t> completed_{0};
  std::atomic<uint64_t> gone_from_{kNever};
  std::atomic<uint64_t> told_{0};
  std::atomic<bool> closed_{false};

  // Poller's own.
  alignas(kCacheLineBytes) uint64_t read_at_ = 0;  // the front
  uint64_t front_ticket_ = 0;
  uint64_t registered_at_ = 0;  // everything below has a slot
  uint64_t registered_ticket_ = 0;
  uint64_t submitted_seen_ = 0;
  uint64_t settled_ticket_ = 0;
  uint64_t completion_at_ = 0;
  uint64_t deadline_min_ns_ = kNever;
  bool orphaned_ = false;
};

}  // namespace caisson::engine
