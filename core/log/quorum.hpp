// SPDX-License-Identifier: BSD-3-Clause
// Which sets of voters decide (R17). Safety needs one thing alone: every set that commits meets
// every set that elects, so that a new leader finds what was committed. Sets that elect need not
// meet one another: of two leaders the lower term's commits nothing once the higher one's voters
// have promised (Howard, Malkhi, Spiegelman: Flexible Paxos).
#pragma once

#include <algorithm>
#include <cstdint>

#include "caisson/types.hpp"

namespace caisson::log {

struct QuorumSystem {
  static constexpr uint8_t kMajority = 0;
  static constexpr uint8_t kAll = 255;

  // Copies that commit: kMajority · kAll, f + 1 voters then survive the death of f · or a number.
  uint8_t commit = kMajority;

  bool sound() const { return commit <= kReplicaIdMax || commit == kAll; }

  // Of `voters`; where there are fewer than `commit`, all of them commit.
  uint32_t commits(uint32_t voters) const {
    return commit == kMajority ? voters / 2 + 1 : std::min<uint32_t>(commit, voters);
  }
  uint32_t elects(uint32_t voters) const {
    return commit == kMajority ? voters / 2 + 1 : voters - commits(voters) + 1;
  }

  bool commits(ReplicaSet of, ReplicaSet set) const { return size(of & set) >= commits(size(of)); }
  bool elects(ReplicaSet of, ReplicaSet set) const { return size(of & set) >= elects(size(of)); }
  // No set of `of` that elects, or that commits, is without one of `set`.
  bool meets_elections(ReplicaSet of, ReplicaSet set) const {
    return size(of & set) + elects(size(of)) > size(of);
  }
  bool meets_commits(ReplicaSet of, ReplicaSet set) const {
    return size(of & set) + commits(size(of)) > size(of);
  }

  bool operator==(const QuorumSystem&) const = default;

 private:
  static uint32_t size(ReplicaSet set) { return static_cast<uint32_t>(set.count()); }
};

}  // namespace caisson::log
