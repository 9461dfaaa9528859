// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <deque>

#include "tests/core/log_fixture.hpp"

namespace caisson::log {
namespace {

constexpr uint64_t kRingBytes = 1u << 14;

// A log beside a naive model: the entries it should hold.
class LogModel {
 public:
  explicit LogModel(uint64_t ring_bytes = kRingBytes)
      : ring_(ring_bytes), state_(test_identity(), ring_.ring(), 16, 64) {
    cursors_.push_back(origin(test_identity()));
  }

  bool append(uint64_t term, std::string bytes, bool batch_end,
              uint32_t commit_lag = kCommitLagUnknown) {
    const Cursor before = cursors_.back();
    if (before.end + entry_bytes(bytes.size()) > state_.window_end()) return false;
    const Cursor after = ring_.append(
        before, {.term = term, .payload = bytes, .batch_end = batch_end, .commit_lag = commit_lag});
    const Step next = step(ring_.ring(), before, state_.window_end());
    EXPECT_EQ(next.reason, Break::none);
    state_.extend(next.header, next.next, next.payload_crc);
    cursors_.push_back(after);
    entries_.push_back({term, std::move(bytes), batch_end});
    return true;
  }
  void truncate(uint64_t position) {
    cursors_.resize(position - trimmed_ + 1);
    entries_.resize(position - trimmed_);
    state_.truncate(cursors_.back());
  }
  void commit(uint64_t position) {
    state_.commit(Position{position}, cursors_[position - trimmed_].end);
    committed_ = std::max(committed_, position);
  }
  void trim(uint64_t position) {
    state_.trim(cursors_[position - trimmed_]);
    cursors_.erase(cursors_.begin(), cursors_.begin() + static_cast<long>(position - trimmed_));
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<long>(position - trimmed_));
    trimmed_ = position;
  }
  uint64_t last_batch_end() const {
    for (size_t i = entries_.size(); i > 0; --i) {
      if (entries_[i - 1].batch_end) return trimmed_ + i;
    }
    return trimmed_;
  }

  void check() const {
    RC_ASSERT(state_.tail() == cursors_.back());
    RC_ASSERT(state_.committed().value == std::max(committed_, trimmed_));
    RC_ASSERT(state_.trimmed().value == trimmed_);
    EntryView view;
    RC_ASSERT(state_.read(Position{trimmed_}, view) == Code::trimmed);
    RC_ASSERT(state_.read(Position{committed_ + 1}, view) == Code::not_yet);
    Cursor walk = cursors_.front();
    for (uint64_t p = trimmed_ + 1; p <= tail(); ++p) {
      const Entry& entry = entries_[p - trimmed_ - 1];
      RC_ASSERT(state_.term_at(Position{p}).value == entry.term);
      const auto found = state_.cursor_at(Position{p});
      RC_ASSERT(found.has_value());
      RC_ASSERT(found->end == cursors_[p - trimmed_].end);
      if (p > committed_) continue;
      RC_ASSERT(state_.read(Position{p}, view) == Code::ok);
      RC_ASSERT(as_string(view.payload) == entry.payload);
      RC_ASSERT(view.header.position == p);
      RC_ASSERT(state_.read_next(walk, view) == Code::ok);
      RC_ASSERT(as_string(view.payload) == entry.payload);
      walk = view.cursor;
    }
  }

  uint64_t tail() const { return trimmed_ + entries_.size(); }
  uint64_t committed() const { return committed_; }
  uint64_t trimmed() const { return trimmed_; }
  uint64_t last_term() const {
    return entries_.empty() ? cursors_.back().term.value : entries_.back().term;
  }
  bool batch_end(uint64_t p) const { return p == trimmed_ || entries_[p - trimmed_ - 1].batch_end; }
  MirroredRing& ring() { return ring_; }
  LogState& state() { return state_; }
  const Cursor& cursor(uint64_t p) const { return cursors_[p - trimmed_]; }

 private:
  struct Entry {
    uint64_t term;
    std::string payload;
    bool batch_end;
  };
  MirroredRing ring_;
  LogState state_;
  std::deque<Cursor> cursors_;  // behind trimmed_, trimmed_ + 1, …
  std::deque<Entry> entries_;
  uint64_t committed_ = 0;
  uint64_t trimmed_ = 0;
};

void arbitrary_turn(LogModel& model) {
  switch (*rc::gen::weightedElement<int>({{10, 0}, {1, 1}, {4, 2}, {2, 3}})) {
    case 0: {
      const uint64_t term =
          std::max<uint64_t>(model.last_term(), 1) + *rc::gen::inRange<uint64_t>(0, 2);
      model.append(term, test_payload(model.tail(), *rc::gen::inRange<size_t>(0, 300)),
                   *rc::gen::inRange(0, 4) != 0);
      break;
    }
    case 1: {
      uint64_t keep =
          *rc::gen::inRange(std::max(model.committed(), model.trimmed()), model.tail() + 1);
      while (!model.batch_end(keep)) --keep;
      if (keep >= model.committed()) model.truncate(keep);
      break;
    }
    case 2: {
      const uint64_t to = model.last_batch_end();
      if (to > model.committed()) model.commit(to);
      break;
    }
    default:
      if (model.committed() > model.trimmed()) {
        model.trim(*rc::gen::inRange(model.trimmed(), model.committed() + 1));
      }
  }
}

TEST(LogState, AgreesWithANaiveModelOverManyLaps) {
  EXPECT_TRUE(rc::check([] {
    LogModel model;
    for (int turn = 0; turn < 200; ++turn) {
      arbitrary_turn(model);
      if (turn % 20 == 0) model.check();
    }
    model.check();
  }));
}

TEST(LogState, AScanFindsWhatWasWrittenAndNothingElse) {
  EXPECT_TRUE(rc::check([] {
    LogModel model;
    for (int turn = 0; turn < 150; ++turn) arbitrary_turn(model);
    LogState again(test_identity(), model.ring().ring(), 16, 64);
    again.reset(model.state().trim_cursor());
    const Scan found = scan(again);
    RC_ASSERT(found.reason != Break::none);
    // Entries cut off by a truncation are still there: a scan may find them, never less.
    RC_ASSERT(again.tail().position >= model.state().tail().position);
    RC_ASSERT(again.batch_tail().position >= model.state().batch_tail().position);
    for (uint64_t p = model.trimmed() + 1; p <= model.tail(); ++p) {
      RC_ASSERT(again.term_at(Position{p}) == model.state().term_at(Position{p}));
    }
  }));
}

// R42, S17: one flipped bit anywhere in the ring never changes what is delivered.
TEST(LogState, ASingleFlippedBitIsNeverDelivered) {
  LogModel model(1u << 14);
  model.append(1, test_payload(1, 4096), true);
  for (uint64_t i = 0; i < 20; ++i)
    model.append(1 + i / 7, test_payload(i + 2, i * 13), i % 3 != 1);
  model.commit(model.last_batch_end());
  std::vector<std::string> truth;
  EntryView view;
  for (uint64_t p = 1; p <= model.committed(); ++p) {
    ASSERT_EQ(model.state().read(Position{p}, view), Code::ok);
    truth.push_back(as_string(view.payload));
  }
  const uint64_t bits = model.cursor(model.committed()).end.value * 8;
  uint64_t noticed = 0;
  for (uint64_t bit = 0; bit < bits; bit += bit < 64 * 8 || bit % 8 == 7 ? 1 : 3) {
    model.ring().flip(bit);
    Cursor walk = origin(test_identity());
    for (uint64_t p = 1; p <= model.committed(); ++p) {
      const Code code = model.state().read(Position{p}, view);
      if (code == Code::ok) {
        ASSERT_EQ(as_string(view.payload), truth[p - 1]) << "bit " << bit << " position " << p;
        ASSERT_EQ(view.header.position, p);
      } else {
        ASSERT_EQ(code, Code::damaged);
        ++noticed;
      }
    }
    for (uint64_t p = 1; p <= model.committed(); ++p) {
      const Code code = model.state().read_next(walk, view);
      if (code != Code::ok) break;
      ASSERT_EQ(as_string(view.payload), truth[p - 1]) << "bit " << bit << " position " << p;
      walk = view.cursor;
    }
    LogState again(test_identity(), model.ring().ring(), 16, 64);
    scan(again);
    ASSERT_LE(again.tail().position, model.state().tail().position);
    model.ring().flip(bit);
  }
  EXPECT_GT(noticed, 0u);
}

// P16: a commit hint behind a break tells damage from a tail.
TEST(LogState, DamageBelowAHintedCommitIsToldFromATail) {
  LogModel model;
  for (uint64_t i = 0; i < 12; ++i) {
    model.append(1, test_payload(i, 100), true, i < 2 ? kCommitLagUnknown : 2);
  }
  const auto beyond = [&](uint64_t keep) {
    return committed_beyond(model.ring().ring(), model.cursor(keep), Offset{kRingBytes});
  };
  EXPECT_EQ(beyond(12), Position{0});  // nothing behind the tail
  EXPECT_EQ(beyond(10), Position{0});  // 11 and 12 say at most 10
  EXPECT_EQ(beyond(9), Position{10});
  EXPECT_EQ(beyond(5), Position{10});
  // An entry of the last lap hints at nothing.
  Cursor lap_later = model.cursor(5);
  lap_later.end = lap_later.end + kRingBytes;
  EXPECT_EQ(committed_beyond(model.ring().ring(), lap_later, lap_later.end + kRingBytes),
            Position{0});
}

TEST(LogState, AnIncompleteBatchIsNotItsTail) {
  LogModel model;
  model.append(1, "a", true);
  model.append(1, "b", false);
  model.append(1, "c", false);
  EXPECT_EQ(model.state().tail().position, Position{3});
  EXPECT_EQ(model.state().batch_tail().position, Position{1});
  model.append(1, "d", true);
  EXPECT_EQ(model.state().batch_tail().position, Position{4});
}

TEST(LogState, ATrimThroughTheTailLeavesAnEmptyLogThatGoesOn) {
  LogModel model;
  for (int i = 0; i < 5; ++i) model.append(2, "x", true);
  model.commit(5);
  model.trim(5);
  EXPECT_EQ(model.state().term_at(Position{5}), Term{2});
  model.append(3, "y", true);
  model.commit(6);
  model.check();
  EntryView view;
  EXPECT_EQ(model.state().read(Position{5}, view), Code::trimmed);
}

}  // namespace
}  // namespace caisson::log
