// SPDX-License-Identifier: BSD-3-Clause
// What a replica knows of its log: tail, commit, trim, where each position lies, which term each
// belongs to, and the stream table. Written by the owner thread; the part marked [any thread] may
// be read by all.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/ring.hpp"
#include "core/log/stream_table.hpp"
#include "core/log/view_format.hpp"

namespace caisson::log {

// A term's first position; see control::Epoch for the wire form.
struct TermRun {
  Term term;
  Position first;
};

struct EntryView {
  EntryHeader header{};
  std::span<const std::byte> payload;  // in the ring
  Cursor cursor;                       // behind this entry: pass it to read_next
};

class LogState {
 public:
  LogState(const LogIdentity& identity, Ring ring, uint32_t streams_max, uint32_t stream_window);

  // ---- Owner thread ----
  // Forgets everything; the log now is empty behind `trim`, where `view` is in force.
  void reset(const Cursor& trim, const ViewRun& view = {});

  // The entry whose header was judged sound at tail().end joins the log. payload_crc is used only
  // for entries of a client.
  void extend(const EntryHeader& header, const Cursor& next, uint32_t payload_crc) {
    if (header.term != tail_.term.value || terms_.empty()) [[unlikely]] {
      terms_.push_back({Term{header.term}, Position{header.position}});
    }
    if (header.kind != static_cast<uint8_t>(Kind::data)) [[unlikely]] {
      take_own(EntryHeader(header));
    } else if (header.client != 0) {
      streams_.apply(header, payload_crc);
    }
    if (next.position.value % kIndexStride == 0) remember(next.position, tail_.end);
    move(tail_, next);
    if ((header.flags & kFlagBatchEnd) != 0) move(batch_tail_, next);
  }

  // Everything behind `keep` leaves the log. keep.position >= committed().
  void truncate(const Cursor& keep);

  // Commits through p, a batch end at or below the tail. Never goes back.
  void commit(Position p, Offset end);

  // Trims through `to`, a committed entry's cursor.
  void trim(const Cursor& to);

  const Cursor& tail() const { return tail_; }
  const Cursor& batch_tail() const { return batch_tail_; }  // the last batch end (P10)
  const Cursor& trim_cursor() const { return trim_; }
  const std::vector<TermRun>& terms() const { return terms_; }
  Term term_at(Position p) const;  // 0 if not held
  // Views, ascending: the one in force at the trim point, and every later one. A view is in force
  // as soon as its entry is in the log, committed or not.
  const std::vector<ViewRun>& views() const { return views_; }
  const Membership& membership() const { return views_.back().membership; }
  Position view_position() const { return views_.back().first; }
  const ViewRun& view_at(Position p) const;  // p >= the trim point
  // Everybody with a voice in a view that may yet turn out to be the one in force: the last
  // committed one, and every later one.
  ReplicaSet voices() const;
  // Cursor behind the entry at p, trim <= p <= tail; reads only headers.
  Result<Cursor> cursor_at(Position p) const;
  // Everything below the last committed checkpoint may be trimmed without the stream table
  // forgetting anything: the position it begins at; 0: there is none.
  Position checkpoint() const { return checkpoint_; }
  bool checkpoint_pending() const { return pending_last_ != kNoPosition; }
  StreamTable& streams() { return streams_; }
  const StreamTable& streams() const { return streams_; }
  const Ring& ring() const { return ring_; }
  Offset window_end() const { return trim_.end + ring_.bytes(); }

  // ---- [any thread] ----
  Position committed() const { return Position{committed_.load(std::memory_order_acquire)}; }
  // End of the entry at committed(), or of a later one.
  Offset committed_end() const { return Offset{committed_end_.load(std::memory_order_acquire)}; }
  Position trimmed() const { return Position{trimmed_.load(std::memory_order_acquire)}; }

  // Finds and verifies the committed entry at p. The view points into the ring and is good for as
  // long as trimmed() < p; a caller that copies must check trimmed() again after the copy. trimmed,
  // not_yet, damaged: the bytes there do not hold what was committed.
  Code read(Position p, EntryView& out) const;
  // The entry behind `cursor`, a cursor got from read() or read_next(). Same results as read().
  Code read_next(const Cursor& cursor, EntryView& out) const;

 private:
  static constexpr Position kNoPosition{UINT64_MAX};
  static constexpr uint64_t kIndexStride = 16;  // positions between two index slots
  struct IndexSlot {
    std::atomic<uint64_t> position{0};
    std::atomic<uint64_t> start{0};  // offset of the entry at `position`
  };
  // Field by field: `from` was just written so, and read in larger pieces it would stall.
  static void move(Cursor& to, const Cursor& from) {
    to.position = from.position;
    to.end = from.end;
    to.term = from.term;
    to.chain = from.chain;
  }
  void take_own(const EntryHeader& header);
  void open_session(const EntryHeader& header);
  void open_receipt(const EntryHeader& header);
  void open_view(const EntryHeader& header);
  void open_checkpoint(const EntryHeader& header);
  void settle_checkpoint();
  void remember(Position p, Offset start);
  void publish_trim();
  Cursor published_trim() const;
  Code find(Position p, Cursor& out) const;
  Code verified(const Cursor& cursor, EntryView& out) const;

  const Ring ring_;
  const uint64_t index_mask_;
  const std::unique_ptr<IndexSlot[]> index_;
  Cursor tail_;
  Cursor batch_tail_;
  Cursor trim_;
  std::vector<TermRun> terms_;
  std::vector<ViewRun> views_;
  Position checkpoint_;
  Position pending_first_;  // of a checkpoint that is not committed yet
  Position pending_last_ = kNoPosition;
  StreamTable streams_;
  std::atomic<uint64_t> committed_{0};
  std::atomic<uint64_t> committed_end_{0};
  std::atomic<uint64_t> trimmed_{0};
  std::atomic<uint64_t> trim_turn_{0};     // odd while the words below change
  std::atomic<uint64_t> trim_words_[3]{};  // end, term, chain of the trim cursor
};

// The position that `header` says was committed when it was sealed; 0 if it says nothing.
inline Position commit_hint(const EntryHeader& header) {
  if (header.commit_lag == kCommitLagUnknown || header.commit_lag > header.position) return {};
  return Position{header.position - header.commit_lag};
}

// What a scan found behind a cursor.
struct Scan {
  Break reason = Break::none;  // why it ended
  Position hinted;             // highest commit hint among the entries that chained
};

// Extends `state` by every entry that chains, up to its window. Read-only towards the ring.
Scan scan(LogState& state);

// Evidence that the break behind `tail` lies in an acknowledged range (P16): the highest position
// that a self-valid later header in the window says is committed; 0 if none reaches beyond the
// tail.
Position committed_beyond(const Ring& ring, const Cursor& tail, Offset window_end);

}  // namespace caisson::log
