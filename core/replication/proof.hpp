// SPDX-License-Identifier: BSD-3-Clause
// One-sided proofs that a term was not over when they began (P19). docs/design.md argues why they
// hold.
#pragma once

#include "caisson/types.hpp"
#include "core/replication/context.hpp"
#include "core/replication/follower.hpp"

namespace caisson::replication {

// ok: everything that was committed anywhere before the call lies at or below `position` ·
// not_leader: a newer term is promised · no_quorum: too few say anything.
struct Proof {
  Code code = Code::no_quorum;
  Position position;
};

// By the leader of `term`, whose term start is committed.
Proof prove_leading(const Context& context, Term term);

// By one of its followers. `position` may lie above what is committed here, or at all: so far.
Proof prove_following(const Context& context, const Follower& follower);

}  // namespace caisson::replication
