// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/append_queue.hpp"

#include <algorithm>

namespace caisson::replication {

namespace {

// The common one first.
constexpr std::array kWaitingLevels{Durability::persisted, Durability::replicated,
                                    Durability::local, Durability::all};

}  // namespace

static_assert(static_cast<int>(Durability::local) == 1);
static_assert(static_cast<int>(Durability::all) == 4);

AppendQueue::AppendQueue(uint32_t capacity) : capacity_(capacity), mask_(capacity - 1) {
  for (Fifo& fifo : fifos_) fifo.slots.resize(capacity);
  duplicates_.reserve(64);
  ready_.reserve(1024);
}

void AppendQueue::push_duplicate(Durability level, uint64_t tag, Position position, Offset end) {
  duplicates_.push_back({level, {tag, position.value, end.value}});
}

inline bool AppendQueue::reached(Durability level, const Waiting& waiting,
                                 const LevelMarks& marks) {
  switch (level) {
    case Durability::volatile_: return true;
    case Durability::local: return waiting.end <= marks.own_end.value;
    case Durability::replicated: return waiting.end <= marks.replicated_end.value;
    case Durability::persisted: return waiting.position <= marks.committed.value;
    case Durability::all:
      return waiting.end <= marks.all_end.value && waiting.position <= marks.committed.value;
  }
  return false;
}

size_t AppendQueue::take(std::span<Resolution> out, const LevelMarks& marks, Term term) {
  size_t count = 0;
  while (ready_taken_ < ready_.size() && count < out.size()) out[count++] = ready_[ready_taken_++];
  if (ready_taken_ == ready_.size() && ready_taken_ > 0) {
    ready_.clear();
    ready_taken_ = 0;
  }
  if (waiting_ > 0) {
    for (const Durability level : kWaitingLevels) {
      Fifo& fifo = fifos_[index(level)];
      const uint64_t head = fifo.head;
      while (fifo.head != fifo.tail && count < out.size()) {
        const Waiting& waiting = fifo.slots[fifo.head & mask_];
        if (!reached(level, waiting, marks)) break;
        Resolution& resolution = out[count++];
        resolution.tag = waiting.tag;
        resolution.code = Code::ok;
        resolution.position = Position{waiting.position};
        resolution.term = term;
        ++fifo.head;
      }
      waiting_ -= fifo.head - head;
    }
  }
  for (size_t i = 0; i < duplicates_.size() && count < out.size();) {
    const Duplicate duplicate = duplicates_[i];
    if (!reached(duplicate.level, duplicate.waiting, marks)) {
      ++i;
      continue;
    }
    out[count++] = {duplicate.waiting.tag, Code::ok, Position{duplicate.waiting.position}, term};
    duplicates_.erase(duplicates_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return count;
}

void AppendQueue::step_down(Term term, const LevelMarks& marks) {
  const auto resolve = [&](Durability level, const Waiting& waiting) {
    if (reached(level, waiting, marks)) {
      ready_.push_back({waiting.tag, Code::ok, Position{waiting.position}, term});
      return;
    }
    ready_.push_back({waiting.tag, Code::indefinite, {}, term});
    limbo_.push_back({level, waiting.tag, Position{waiting.position}, term});
  };
  for (const Durability level : kWaitingLevels) {
    Fifo& fifo = fifos_[index(level)];
    for (; fifo.head != fifo.tail; ++fifo.head) resolve(level, fifo.slots[fifo.head & mask_]);
  }
  waiting_ = 0;
  // A duplicate's entry may be of an older term: its fate is that of its position's, whoever wrote
  // it, so its client simply asks again.
  for (const Duplicate& duplicate : duplicates_) {
    ready_.push_back({duplicate.waiting.tag, Code::not_leader, {}, term});
  }
  duplicates_.clear();
}

void AppendQueue::decide(const log::LogState& state) {
  const Position committed = state.committed();
  const Term newest = state.term_at(committed);
  std::erase_if(limbo_, [&](const Limbo& limbo) {
    if (limbo.position <= committed) {
      const Term there = state.term_at(limbo.position);  // 0: trimmed meanwhile
      const bool mine = there == limbo.term;
      // What was trimmed cannot be told apart any more, and committed says nothing of *every*
      // voter: its client asks the new leader, whose stream table knows.
      const bool unknown = there == Term{0} || (mine && limbo.level == Durability::all);
      const Code code = unknown ? Code::not_leader : mine ? Code::ok : Code::not_appended;
      ready_.push_back({limbo.tag, code, mine ? limbo.position : Position{}, limbo.term});
      return true;
    }
    // Terms only grow along a log: behind a committed entry of a later term there is no room for
    // ours.
    if (newest > limbo.term) {
      ready_.push_back({limbo.tag, Code::not_appended, {}, limbo.term});
      return true;
    }
    return false;
  });
}

void AppendQueue::close() {
  for (Fifo& fifo : fifos_) {
    for (; fifo.head != fifo.tail; ++fifo.head) {
      const Waiting& waiting = fifo.slots[fifo.head & mask_];
      ready_.push_back({waiting.tag, Code::closed, {}, Term{0}});
    }
  }
  waiting_ = 0;
  for (const Duplicate& duplicate : duplicates_) {
    ready_.push_back({duplicate.waiting.tag, Code::closed, {}, Term{0}});
  }
  for (const Limbo& limbo : limbo_) ready_.push_back({limbo.tag, Code::closed, {}, Term{0}});
  duplicates_.clear();
  limbo_.clear();
}

}  // namespace caisson::replication
