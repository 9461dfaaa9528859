// SPDX-License-Identifier: BSD-3-Clause
// Looks for rot at rest: reads the committed entries of our ring again, a piece now and then, and
// verifies them against their chain. What does not hold is copied from a peer that still has it
// (R44).
#pragma once

#include <cstdint>

#include "caisson/types.hpp"
#include "core/replication/context.hpp"
#include "core/replication/mender.hpp"

namespace caisson::replication {

class Scrubber {
 public:
  Scrubber(Context& context, Mender& mender);

  // One piece, if one is due. `idle`: this turn had nothing else to do.
  void poll(uint64_t now_ns, bool idle) {
    if (now_ns >= (idle ? due_ns_ : overdue_ns_)) [[unlikely]]
      piece(now_ns);
  }
  const ScrubStatus& status() const { return status_; }

 private:
  // A turn stays below some 10 us of small entries.
  static constexpr uint64_t kPieceBytes = 32 * 1024;
  static constexpr uint64_t kPauseNs = 1'000'000;      // between two pieces, at least
  static constexpr uint64_t kPatienceNs = 50'000'000;  // then a piece does not wait to be idle
  static constexpr uint64_t kRetryNs = 20'000'000;     // of an entry that nobody could repair

  void piece(uint64_t now_ns);
  void rest(uint64_t now_ns, uint64_t wait_ns);
  bool mend();

  Context& c_;
  Mender& mender_;
  const uint64_t bytes_per_s_;
  log::Cursor at_;   // behind the last entry that was verified
  Position rotten_;  // the last finding
  uint64_t due_ns_ = 0;
  uint64_t overdue_ns_ = 0;
  ScrubStatus status_;
};

}  // namespace caisson::replication
