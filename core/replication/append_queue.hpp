// SPDX-License-Identifier: BSD-3-Clause
// Appends on their way: taken, not yet resolved. Fixed capacity, nothing allocated after
// construction on the leader's path; step-down and what follows it may allocate.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/log/log_state.hpp"
#include "core/replication/replica.hpp"

namespace caisson::replication {

// How far a log has got at each level. `committed` serves Durability::persisted (P8).
struct LevelMarks {
  Offset replicated_end;
  Position committed;
  Offset all_end;
  Offset own_end;  // persisted by the leader itself
};

class AppendQueue {
 public:
  explicit AppendQueue(uint32_t capacity);  // a power of two, per level

  bool full() const { return waiting_ >= capacity_; }
  uint64_t waiting() const { return waiting_; }
  // Not for volatile_, which waits for nothing: see push_ready().
  void push(Durability level, uint64_t tag, Position position, Offset end) {
    Fifo& fifo = fifos_[index(level)];
    // Whenever all is resolved, the next goes to the front again: the same few lines stay in cache.
    if (fifo.head == fifo.tail) fifo.head = fifo.tail = 0;
    fifo.slots[fifo.tail++ & mask_] = {tag, position.value, end.value};
    ++waiting_;
  }

  // A retry of an entry that is in the log but not yet resolved at its level.
  void push_duplicate(Durability level, uint64_t tag, Position position, Offset end);
  // Resolved on the spot.
  void push_ready(const Resolution& resolution) { ready_.push_back(resolution); }

  size_t take(std::span<Resolution> out, const LevelMarks& marks, Term term);

  // The leader lost its term: everything waiting becomes indefinite, and is remembered until a
  // later leader's log decides it (R13).
  void step_down(Term term, const LevelMarks& marks);

  // Decides what is indefinite by the log as committed now.
  void decide(const log::LogState& state);
  bool undecided() const { return !limbo_.empty(); }

  // Gives everything up: `closed` for all that waits.
  void close();

 private:
  struct Waiting {
    uint64_t tag;
    uint64_t position;
    uint64_t end;
  };
  struct Fifo {
    std::vector<Waiting> slots;
    uint64_t head = 0;
    uint64_t tail = 0;
  };
  struct Duplicate {
    Durability level;
    Waiting waiting;
  };
  struct Limbo {
    Durability level;
    uint64_t tag;
    Position position;
    Term term;
  };
  static size_t index(Durability level) { return static_cast<size_t>(level) - 1; }
  static bool reached(Durability level, const Waiting& waiting, const LevelMarks& marks);

  const uint64_t capacity_;
  const uint64_t mask_;
  uint64_t waiting_ = 0;
  std::array<Fifo, 4> fifos_;
  std::vector<Duplicate> duplicates_;
  std::vector<Resolution> ready_;
  size_t ready_taken_ = 0;
  std::vector<Limbo> limbo_;
};

}  // namespace caisson::replication
