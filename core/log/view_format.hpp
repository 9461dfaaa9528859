// SPDX-License-Identifier: BSD-3-Clause
// Who takes part in a log from a position on (R24), and the payload of the entry that says so.
// Explained in docs/format.md; how views follow one another in docs/design.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "caisson/members.hpp"
#include "caisson/types.hpp"
#include "core/log/quorum.hpp"

namespace caisson::log {

// A view. `birth` tells the lives of a replica id apart: a region that was created for a place in
// the log carries the birth under which it was admitted, and no other region speaks for that place
// (P17, R43). Founding members have birth 0.
struct Membership {
  View view;
  ReplicaSet voters;
  ReplicaSet outgoing;  // not empty in a joint view: the voters of the view before, who must agree
  ReplicaSet learners;  // receive the log, count for nothing, or for nothing once they have left
  ReplicaSet joining;   // learners that become voters once they have caught up …
  ReplicaSet leaving;   // … and the voters that leave with that change
  QuorumSystem quorum;  // of the voters, and of the outgoing ones
  std::array<uint64_t, kReplicaIdMax + 1> births{};
  ReplicaSet standbys;             // learners that appends do not run away from (R14) …
  StandbyBounds standby_bounds{};  // … farther than this; all 0 without standbys

  ReplicaSet electors() const { return voters | outgoing; }
  ReplicaSet members() const { return voters | outgoing | learners | joining; }
  bool joint() const { return !outgoing.empty(); }
  bool settled() const { return !joint() && joining.empty() && leaving.empty(); }
  // Enough of the voters and, in a joint view, of the outgoing ones.
  bool commits(ReplicaSet set) const {
    return quorum.commits(voters, set) && (!joint() || quorum.commits(outgoing, set));
  }
  bool elects(ReplicaSet set) const {
    return quorum.elects(voters, set) && (!joint() || quorum.elects(outgoing, set));
  }
  // Those of `set` alone can have a leader, and one that serves.
  bool suffices(ReplicaSet set) const { return commits(set) && elects(set); }
  // In a joint view both parts are asked for, although one of them meets every quorum: the view
  // that follows asks the voters alone.
  bool meets_elections(ReplicaSet set) const {
    return quorum.meets_elections(voters, set) &&
           (!joint() || quorum.meets_elections(outgoing, set));
  }
  bool meets_commits(ReplicaSet set) const {
    return quorum.meets_commits(voters, set) && (!joint() || quorum.meets_commits(outgoing, set));
  }
  // Both of one log, as far as their quorum systems tell; who was not admitted yet has none.
  bool alike(const Membership& other) const {
    return voters.empty() || other.voters.empty() || quorum == other.quorum;
  }
  bool operator==(const Membership&) const = default;
};

// A view and the position of the entry that named it; it is in force from there on.
struct ViewRun {
  Position first;
  Membership membership;
  bool operator==(const ViewRun&) const = default;
};

// True if the sets fit together: somebody votes, nobody learns and votes, only voters leave, only
// learners are standbys.
bool consistent(const Membership& membership);

struct ViewPayloadHeader {
  uint32_t view;
  uint16_t members;  // that many ViewPayloadMember follow, ascending by replica
  uint8_t commit;    // QuorumSystem::commit
  uint8_t reserved;
};
static_assert(sizeof(ViewPayloadHeader) == 8);

inline constexpr uint8_t kRoleVoter = 1;
inline constexpr uint8_t kRoleOutgoing = 2;
inline constexpr uint8_t kRoleLearner = 4;
inline constexpr uint8_t kRoleJoining = 8;
inline constexpr uint8_t kRoleLeaving = 16;
inline constexpr uint8_t kRoleStandby = 32;

struct ViewPayloadMember {
  uint8_t replica;
  uint8_t roles;
  uint16_t reserved0;
  uint32_t reserved1;
  uint64_t birth;
};
static_assert(sizeof(ViewPayloadMember) == 16);
// Behind the members, in a view with standbys: a StandbyBounds.
static_assert(sizeof(StandbyBounds) == 24);

std::vector<std::byte> encode_view(const Membership& membership);
// Nothing: no view's payload, or one that contradicts itself.
std::optional<Membership> decode_view(std::span<const std::byte> payload);

}  // namespace caisson::log
