// SPDX-License-Identifier: BSD-3-Clause
// Who takes part in a log, and how that changes.
#pragma once

#include "caisson/types.hpp"

namespace caisson {

// How far an asynchronous standby may be behind before appends have to wait, or are refused (R14).
// Counted over the whole log, in `bytes` of the ring and in entries; `ms`: for how long an entry
// may already have been in the log without it. 0: no bound of that kind; `bytes` always bounds.
struct StandbyBounds {
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t ms = 0;
  constexpr bool operator==(const StandbyBounds&) const = default;
};

// Who takes part in a log, from `position` on (R24).
struct Members {
  View view;
  Position position;  // of the entry that names them
  bool committed = false;
  ReplicaSet voters;
  ReplicaSet outgoing;  // not empty while a change is half way: the voters before, who still count
  ReplicaSet learners;  // receive the log, count for nothing
  ReplicaSet joining;   // will vote once they have caught up …
  ReplicaSet leaving;   // … and these will not any more
  uint32_t commit_quorum = 0;      // of the voters, so many copies commit an entry …
  uint32_t election_quorum = 0;    // … and so many votes make a leader (R17)
  ReplicaSet standbys;             // learners whose lag is bounded …
  StandbyBounds standby_bounds{};  // … by this
  constexpr bool settled() const {
    return committed && outgoing.empty() && joining.empty() && leaving.empty();
  }
};

// How far a standby is behind, as the leader knows: never less than it is.
struct StandbyLag {
  ReplicaId replica;
  bool attached = false;  // it takes what the leader writes
  Position held;          // it has everything through here, persistent
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t ms = 0;  // how long the oldest entry that it lacks has been in the log; UINT64_MAX:
                    // it is of an earlier leader
  bool at_bound = false;  // appends wait for it, or are refused
};

// Who is to come, and who is to go (R25). Nobody votes before it has caught up.
struct MemberChange {
  ReplicaSet add{};     // as voters
  ReplicaSet learn{};   // as learners
  ReplicaSet remove{};  // from whatever they are
  View view{};          // not 0: only if this view is in force
  // As standbys: learners whose lag bounds the appends from then on, as the leader's configuration
  // says. Named in `learn` alone, one becomes an ordinary learner again.
  ReplicaSet standby{};
};

}  // namespace caisson
