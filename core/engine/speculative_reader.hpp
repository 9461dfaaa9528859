// SPDX-License-Identifier: BSD-3-Clause
// Copies of entries that may not be committed yet, fetched on the poller's thread, which alone
// knows what the log holds beyond its commit mark (R32). One reading thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "core/engine/log_impl.hpp"
#include "core/log/speculation.hpp"

namespace caisson::engine {

class SpeculativeReader {
 public:
  struct Fetched {
    log::EntryHeader header;
    std::span<const std::byte> payload;  // until the next call
    bool committed;
  };

  SpeculativeReader(LogImpl& log, Position before)
      : log_(log), speculation_(before), last_(before), certain_(before) {}

  // As log::Speculation::next, but for revoked: `from` is the first position that was revoked.
  Code next(Fetched& out, Position& from);
  // Whether next() might say something else than not_yet. A hint; costs no call to the poller.
  bool worth_asking() const {
    return handed_ < copies_.size() || revoked_from_.value != 0 || log_.held_turn() != seen_turn_;
  }
  // As log::Speculation::settled; revoked is said again, with its position, by next().
  Code settled();
  Position certain() const { return certain_; }

 private:
  struct Copy {
    log::EntryHeader header;
    size_t at;
    bool committed;
  };
  Code fetch();
  void revoke_behind(Position last);

  LogImpl& log_;
  log::Speculation speculation_;  // poller's thread
  // Fetched and not handed out yet: from `handed_` on.
  std::vector<Copy> copies_;
  std::vector<std::byte> bytes_;
  size_t handed_ = 0;
  Position last_{};                  // handed out last
  Position revoked_from_{};          // 0: nothing is to be taken back
  Position certain_;                 // as of the last call to the poller
  uint64_t seen_turn_ = UINT64_MAX;  // LogImpl::held_turn() when it was asked last
};

}  // namespace caisson::engine
