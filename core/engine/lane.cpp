// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/lane.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace caisson::engine {

namespace {

constexpr uint64_t kRingBytesMin = 256 << 10;

// Room for some of the largest entries, so that one being taken does not stall the next.
uint64_t submission_ring_bytes(uint64_t payload_bytes_max) {
  if (payload_bytes_max == 0) return 0;
  return std::bit_ceil(std::max(kRingBytesMin, 3 * Lane::ring_bytes_of(payload_bytes_max)));
}

}  // namespace

Lane::Lane(uint32_t outstanding_max, uint64_t payload_bytes_max)
    : outstanding_max_(outstanding_max),
      slot_mask_(std::bit_ceil(outstanding_max) - 1),
      // An operation reports at most twice: indefinite, then how it ended.
      completion_mask_(2 * std::bit_ceil(outstanding_max) - 1),
      ring_bytes_(submission_ring_bytes(payload_bytes_max)),
      slots_(std::make_unique<Slot[]>(slot_mask_ + 1)),
      completions_(std::make_unique<LaneCompletion[]>(completion_mask_ + 1)) {
  if (ring_bytes_ != 0) {
    ring_.reset(
        static_cast<std::byte*>(::operator new[](ring_bytes_, std::align_val_t{kCacheLineBytes})));
  }
}

// ---- Producer ----

bool Lane::ring_fits(uint64_t ring_bytes) {
  // The bytes left before the wrap are lost to a record that does not fit into them.
  const uint64_t before_wrap = next_lap(write_at_) - write_at_;
  const uint64_t lost = before_wrap < ring_bytes ? std::min(before_wrap, ring_bytes) : 0;
  if (write_at_ + lost + ring_bytes - consumed_seen_ <= ring_bytes_) return true;
  consumed_seen_ = consumed_.load(std::memory_order_acquire);
  return write_at_ + lost + ring_bytes - consumed_seen_ <= ring_bytes_;
}

uint32_t Lane::push(const LaneRecord& record, std::span<const std::byte> payload) {
  const uint64_t bytes = ring_bytes_of(payload.size());
  if (next_lap(write_at_) - write_at_ < bytes) {
    record_at(write_at_)->flags = LaneRecord::kPad;
    write_at_ = next_lap(write_at_);
  }
  LaneRecord* const at = record_at(write_at_);
  *at = record;
  if (!payload.empty()) std::memcpy(at + 1, payload.data(), payload.size());
  write_at_ += bytes;
  if ((record.flags & LaneRecord::kReports) != 0) ++unfinished_;
  return static_cast<uint32_t>(next_ticket_++);
}

bool Lane::refill() {
  completed_seen_ = completed_.load(std::memory_order_acquire);
  if (popped_ != completed_seen_) return true;
  if (unfinished_ == 0 || !closed()) return false;
  // The poller is done with this lane; what was pushed since is resolved here.
  close();
  completed_seen_ = completed_.load(std::memory_order_relaxed);
  return popped_ != completed_seen_;
}

// ---- Poller ----

bool Lane::register_next() {
  if (registered_at_ == submitted_seen_) {
    submitted_seen_ = submitted_.load(std::memory_order_acquire);
    if (registered_at_ == submitted_seen_) return false;
  }
  if (record_at(registered_at_)->flags == LaneRecord::kPad)
    registered_at_ = next_lap(registered_at_);
  const LaneRecord& record = *record_at(registered_at_);
  occupy(registered_ticket_, record.tag, record.deadline_ns, record.identity.sequence,
         (record.flags & LaneRecord::kReports) != 0, 1);
  registered_at_ += ring_bytes_of(record.payload_bytes);
  ++registered_ticket_;
  return true;
}

const LaneRecord* Lane::front() {
  if (front_ticket_ == registered_ticket_ && !register_next()) return nullptr;
  if (record_at(read_at_)->flags == LaneRecord::kPad) read_at_ = next_lap(read_at_);
  return record_at(read_at_);
}

void Lane::drop_front() {
  read_at_ += ring_bytes_of(record_at(read_at_)->payload_bytes);
  ++front_ticket_;
}

void Lane::register_all() {
  while (register_next()) {
  }
}

void Lane::resolve_rarely(Slot& slot, uint32_t ticket, Code code, Position position, Term term) {
  if (slot.state == State::free || slot.ticket != ticket) return;
  if (code == Code::indefinite) {
    if (slot.state == State::waiting) {
      slot.state = State::indefinite;
      report(slot, code, position, term, false);
    }
    return;
  }
  if (code != Code::ok && code != Code::closed &&
      slot.sequence < gone_from_.load(std::memory_order_relaxed)) {
    gone_from_.store(slot.sequence, std::memory_order_release);
  }
  if (slot.state != State::timed_out) report(slot, code, position, term, true);
  slot.state = State::free;
  settle();
}

void Lane::expire(uint64_t now_ns) {
  deadline_min_ns_ = kNever;
  for (uint64_t ticket = settled_ticket_; ticket != registered_ticket_; ++ticket) {
    Slot& slot = slots_[ticket & slot_mask_];
    if (slot.state != State::waiting && slot.state != State::indefinite) continue;
    if (slot.deadline_ns <= now_ns) {
      slot.state = State::timed_out;
      report(slot, Code::timed_out, {}, {}, true);
    } else {
      deadline_min_ns_ = std::min(deadline_min_ns_, slot.deadline_ns);
    }
  }
}

void Lane::close() {
  if (ring_bytes_ != 0) register_all();
  for (uint64_t ticket = settled_ticket_; ticket != registered_ticket_; ++ticket) {
    resolve(static_cast<uint32_t>(ticket), Code::closed, {}, {});
  }
  closed_.store(true, std::memory_order_release);
}

bool Lane::drained() const {
  return settled_ticket_ == registered_ticket_ && front_ticket_ == registered_ticket_ &&
         registered_at_ == submitted_.load(std::memory_order_acquire);
}

}  // namespace caisson::engine
