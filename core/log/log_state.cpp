// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/log_state.hpp"

#include <algorithm>
#include <bit>

namespace caisson::log {

namespace {

// Every slot is needed for a ring full of the smallest entries.
uint64_t index_slots(uint64_t ring_bytes, uint64_t stride) {
  return std::bit_ceil(ring_bytes / kHeaderBytes / stride + 2);
}

Cursor behind(const EntryHeader& header, Offset at) {
  return {Position{header.position}, at + entry_bytes(header.payload_bytes), Term{header.term},
          header.chain};
}

}  // namespace

LogState::LogState(const LogIdentity& identity, Ring ring, uint32_t streams_max,
                   uint32_t stream_window)
    : ring_(ring),
      index_mask_(index_slots(ring.bytes(), kIndexStride) - 1),
      index_(std::make_unique<IndexSlot[]>(index_mask_ + 1)),
      streams_(streams_max, stream_window) {
  terms_.reserve(1024);
  reset(origin(identity));
}

void LogState::reset(const Cursor& trim, const ViewRun& view) {
  tail_ = batch_tail_ = trim_ = trim;
  terms_.clear();
  views_.assign(1, view);
  checkpoint_ = Position{0};
  pending_last_ = kNoPosition;
  streams_.clear();
  for (uint64_t i = 0; i <= index_mask_; ++i)
    index_[i].position.store(0, std::memory_order_relaxed);
  committed_end_.store(trim.end.value, std::memory_order_release);
  committed_.store(trim.position.value, std::memory_order_release);
  publish_trim();
}

void LogState::remember(Position p, Offset start) {
  IndexSlot& slot = index_[(p.value / kIndexStride) & index_mask_];
  slot.position.store(0, std::memory_order_release);
  slot.start.store(start.value, std::memory_order_release);
  slot.position.store(p.value, std::memory_order_release);
}

void LogState::publish_trim() {
  const uint64_t turn = trim_turn_.load(std::memory_order_relaxed);
  trim_turn_.store(turn + 1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);
  trim_words_[0].store(trim_.end.value, std::memory_order_relaxed);
  trim_words_[1].store(trim_.term.value, std::memory_order_relaxed);
  trim_words_[2].store(trim_.chain, std::memory_order_relaxed);
  trimmed_.store(trim_.position.value, std::memory_order_release);
  trim_turn_.store(turn + 2, std::memory_order_release);
}

Cursor LogState::published_trim() const {
  for (;;) {
    const uint64_t turn = trim_turn_.load(std::memory_order_acquire);
    Cursor cursor{Position{trimmed_.load(std::memory_order_relaxed)},
                  Offset{trim_words_[0].load(std::memory_order_relaxed)},
                  Term{trim_words_[1].load(std::memory_order_relaxed)},
                  static_cast<uint32_t>(trim_words_[2].load(std::memory_order_relaxed))};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (turn % 2 == 0 && trim_turn_.load(std::memory_order_relaxed) == turn) return cursor;
  }
}

void LogState::take_own(const EntryHeader& header) {
  switch (static_cast<Kind>(header.kind)) {
    case Kind::session: return open_session(header);
    case Kind::view: return open_view(header);
    case Kind::checkpoint: return open_checkpoint(header);
    case Kind::receipt: return open_receipt(header);
    default: return;
  }
}

void LogState::open_checkpoint(const EntryHeader& header) {
  const auto part = payload(ring_, tail_.end, header);
  CheckpointHeader first;
  if (part.size() < sizeof first) return;
  std::memcpy(&first, part.data(), sizeof first);
  // The one before is committed: a leader writes the next only then.
  if (first.part == 0) {
    if (checkpoint_pending()) settle_checkpoint();
    pending_first_ = Position{header.position};
  }
  streams_.take_over(part);
  pending_last_ = Position{header.position};
}

void LogState::settle_checkpoint() {
  checkpoint_ = pending_first_;
  pending_last_ = kNoPosition;
  streams_.settle(checkpoint_);
}

void LogState::open_session(const EntryHeader& header) {
  if (header.client == 0) return;
  SessionPayload session{};
  const auto bytes = payload(ring_, tail_.end, header);
  if (bytes.size() >= kSessionBytesMin) {
    std::memcpy(&session, bytes.data(), std::min(bytes.size(), sizeof session));
  }
  streams_.apply_session(header, session);
}

void LogState::open_receipt(const EntryHeader& header) {
  ReceiptPayload receipt{};
  const auto bytes = payload(ring_, tail_.end, header);
  if (bytes.size() != sizeof receipt) return;
  std::memcpy(&receipt, bytes.data(), sizeof receipt);
  streams_.apply_receipt(header, receipt);
}

void LogState::open_view(const EntryHeader& header) {
  // A view that cannot be understood has no voters: nobody decides anything here under it.
  views_.push_back({Position{header.position},
                    decode_view(payload(ring_, tail_.end, header)).value_or(Membership{})});
}

const ViewRun& LogState::view_at(Position p) const {
  size_t i = views_.size() - 1;
  while (i > 0 && views_[i].first > p) --i;
  return views_[i];
}

ReplicaSet LogState::voices() const {
  ReplicaSet voices;
  for (size_t i = views_.size(); i-- > 0;) {
    voices = voices | views_[i].membership.electors();
    if (views_[i].first <= committed()) break;
  }
  return voices;
}

void LogState::truncate(const Cursor& keep) {
  tail_ = batch_tail_ = keep;
  while (views_.size() > 1 && views_.back().first > keep.position) views_.pop_back();
  if (checkpoint_pending() && pending_last_ > keep.position) {
    pending_last_ = kNoPosition;
    streams_.drop_checkpoint();
  }
  while (!terms_.empty() && terms_.back().first > keep.position) terms_.pop_back();
  streams_.rollback(keep.position);
}

void LogState::commit(Position p, Offset end) {
  if (p.value <= committed_.load(std::memory_order_relaxed)) return;
  committed_end_.store(end.value, std::memory_order_release);
  committed_.store(p.value, std::memory_order_release);
  if (p >= pending_last_) [[unlikely]]
    settle_checkpoint();
}

void LogState::trim(const Cursor& to) {
  if (to.position <= trim_.position) return;
  trim_ = to;
  publish_trim();
  while (views_.size() > 1 && views_[1].first <= to.position) views_.erase(views_.begin());
  auto keep = terms_.begin();
  while (keep + 1 < terms_.end() && (keep + 1)->first <= to.position + 1) ++keep;
  terms_.erase(terms_.begin(), keep);
  if (!terms_.empty()) {
    if (to.position == tail_.position) {
      terms_.clear();
    } else {
      terms_.front().first = std::max(terms_.front().first, to.position + 1);
    }
  }
}

Term LogState::term_at(Position p) const {
  if (p == trim_.position) return trim_.term;
  if (p < trim_.position || p > tail_.position) return Term{0};
  const auto after =
      std::upper_bound(terms_.begin(), terms_.end(), p,
                       [](Position position, const TermRun& run) { return position < run.first; });
  return after == terms_.begin() ? Term{0} : (after - 1)->term;
}

Code LogState::find(Position p, Cursor& out) const {
  // From the nearest index slot at or below p, else from the trim point, header by header.
  Cursor cursor = published_trim();
  if (p < cursor.position) return Code::trimmed;
  const Position slot_position{p.value / kIndexStride * kIndexStride};
  const IndexSlot& slot = index_[(p.value / kIndexStride) & index_mask_];
  if (slot_position > cursor.position &&
      slot.position.load(std::memory_order_acquire) == slot_position.value) {
    const Offset start{slot.start.load(std::memory_order_acquire)};
    cursor = {Position{slot_position.value - 1}, start, Term{}, 0};
  }
  while (cursor.position < p) {
    const EntryHeader header = load_header(ring_.at(cursor.end));
    if (!header_sound(header) || header.position != cursor.position.value + 1 ||
        header.offset_line != offset_line(cursor.end)) {
      return p <= trimmed() ? Code::trimmed : Code::damaged;
    }
    cursor = behind(header, cursor.end);
  }
  out = cursor;
  return Code::ok;
}

Result<Cursor> LogState::cursor_at(Position p) const {
  if (p < trim_.position) return fail(Code::trimmed, "position lies below the trim point");
  if (p > tail_.position) return fail(Code::not_yet, "position lies above the tail");
  if (p == tail_.position) return tail_;
  if (p == batch_tail_.position) return batch_tail_;
  Cursor cursor;
  if (const Code code = find(p, cursor); code != Code::ok) {
    return fail(code, "no sound entry leads to position " + std::to_string(p.value));
  }
  return cursor;
}

Code LogState::verified(const Cursor& cursor, EntryView& out) const {
  const Offset committed_end{committed_end_.load(std::memory_order_acquire)};
  const Step next = step(ring_, cursor, committed_end);
  if (next.reason != Break::none) {
    return cursor.position < trimmed() ? Code::trimmed : Code::damaged;
  }
  out.header = next.header;
  out.payload = payload(ring_, cursor.end, next.header);
  out.cursor = next.next;
  return Code::ok;
}

Code LogState::read(Position p, EntryView& out) const {
  if (p > committed()) return Code::not_yet;
  if (p <= trimmed()) return Code::trimmed;
  Cursor before;
  if (const Code code = find(Position{p.value - 1}, before); code != Code::ok) return code;
  // find() walks headers only; the term below is not known for a slot, and not needed to verify.
  before.term = Term{0};
  return verified(before, out);
}

Code LogState::read_next(const Cursor& cursor, EntryView& out) const {
  if (cursor.position >= committed()) return Code::not_yet;
  if (cursor.position < trimmed()) return Code::trimmed;
  return verified(cursor, out);
}

Scan scan(LogState& state) {
  Scan result;
  for (;;) {
    const Step next = step(state.ring(), state.tail(), state.window_end());
    if (next.reason != Break::none) {
      result.reason = next.reason;
      return result;
    }
    result.hinted = std::max(result.hinted, commit_hint(next.header));
    state.extend(next.header, next.next, next.payload_crc);
  }
}

Position committed_beyond(const Ring& ring, const Cursor& tail, Offset window_end) {
  Position highest;
  for (Offset at = tail.end; at + kHeaderBytes <= window_end; at = at + kEntryAlignBytes) {
    const EntryHeader header = load_header(ring.at(at));
    if (header.format != kEntryFormat || header.offset_line != offset_line(at) ||
        header.position <= tail.position.value || !header_sound(header)) {
      continue;
    }
    highest = std::max(highest, commit_hint(header));
  }
  return highest > tail.position ? highest : Position{0};
}

}  // namespace caisson::log
