// SPDX-License-Identifier: BSD-3-Clause
// How long a log was when: what a leader needs to say how far behind a standby is (R14), in entries
// and in time, when all that the fabric tells is a mark in bytes. A few are kept, evenly enough
// spread; whatever lies between two counts as not there yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::replication {

struct Milestone {
  Offset end;  // of a batch
  Position position;
  uint64_t ns = 0;  // everything behind it was appended after that; 0: nobody knows when
};

class Milestones {
 public:
  // Nothing is known.
  void begin() {
    kept_.assign(1, Milestone{});
    kept_.reserve(kKeptMax);
  }

  // `at` is the end of the log now. Left out, unless it is `wanted`, where it says little more than
  // the one before; nothing is ever lost by that but precision.
  void note(const Milestone& at, bool wanted) {
    Milestone& last = kept_.back();
    if (at.end == last.end && last.position.value != 0) {
      last.ns = at.ns;
    } else if (wanted && kept_.size() < kKeptMax) {
      kept_.push_back(at);
    }
  }

  const Milestone& last() const { return kept_.back(); }

  // The last one at or below `mark`; all 0 if there is none.
  Milestone reached(Offset mark) const {
    size_t low = 0, high = kept_.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (kept_[middle].end <= mark) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low == 0 ? Milestone{} : kept_[low - 1];
  }

  // Nobody asks below `mark` any more.
  void forget(Offset mark) {
    size_t gone = 0;
    while (gone + 1 < kept_.size() && kept_[gone + 1].end <= mark) ++gone;
    // Moved now and then only: there are not many.
    if (gone > kKeptMax / 8 || (gone > 0 && gone + 1 == kept_.size())) {
      kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(gone));
    }
  }

  // A bound is kept to one part in so many, or one flush where that is more.
  static constexpr uint64_t kParts = 256;

 private:
  static constexpr size_t kKeptMax = 4 * kParts;
  std::vector<Milestone> kept_;
};

}  // namespace caisson::replication
