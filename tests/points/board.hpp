// SPDX-License-Identifier: BSD-3-Clause
// What the processes of a cluster and the suite share: a file in the cluster's directory, mapped by
// all of them, which outlives whoever is killed. Each passing is counted there, and the order of
// the suite stands there that the n-th passing from now on is to be struck by a fault.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/points/points.hpp"

namespace caisson::points {

// The environment variable that names the file.
inline constexpr const char* kBoardVariable = "CAISSON_POINTS";

struct alignas(64) Cell {
  uint32_t strikes() const {
    uint32_t all = 0;
    for (const auto& each : struck) all += each.load();
    return all;
  }
  std::atomic<uint64_t> passings;
  std::array<std::atomic<uint32_t>, kActions.size()> struck;  // by action
  std::atomic<uint64_t> order;  // 0: none; else the action above the passings that are left
  std::atomic<pid_t> stopped;   // the process that stopped itself here; the suite takes it away
};

class Board {
 public:
  // Of a file that is made, all zero, if it is not there. Null: it cannot be.
  static Board* open(const std::string& path);

  // ---- The suite ----
  void order(Point point, Action action, uint32_t nth) {
    cells_[point].order.store(uint64_t{static_cast<uint8_t>(action)} << 32 | nth);
  }
  void withdraw(Point point) { cells_[point].order.store(0); }
  bool waits(Point point) const { return cells_[point].order.load() != 0; }
  Cell& cell(Point point) { return cells_[point]; }
  // Never passed, or never struck.
  std::vector<Point> missing() const;

  // ---- The processes: any thread, no lock ----
  // The next passing is to be struck, unless another process passes first.
  bool strikes_next(Point point) const {
    const uint64_t order = cells_[point].order.load(std::memory_order_relaxed);
    return order != 0 && static_cast<uint32_t>(order) <= 1;
  }
  // True: whatever is about to be done is to fail.
  bool pass(Point point) {
    Cell& cell = cells_[point];
    cell.passings.fetch_add(1, std::memory_order_relaxed);
    if (cell.order.load(std::memory_order_relaxed) == 0) [[likely]]
      return false;
    return pass_ordered(cell);
  }

 private:
  bool pass_ordered(Cell& cell);
  std::array<Cell, kPointCount> cells_;
};

// Of this process: the one of its environment, or one that nobody looks at.
Board& board();
inline bool pass(Point point) { return board().pass(point); }

}  // namespace caisson::points
