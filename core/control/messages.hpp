// SPDX-License-Identifier: BSD-3-Clause
// What replicas of one log say to each other over the control plane. Plain values;
// core/control/wire.hpp turns them into protobuf bytes and back, and rejects hostile ones with a
// typed error (R42).
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/log_state.hpp"
#include "transport/fabric.hpp"

namespace caisson::control {

// "Do you, too, see the leader of `term` stale?" (P21). Disturbs nothing.
struct PreSeal {
  Term term;           // of the leader under suspicion; 0 if none is known
  ReplicaId leader;    // 0 if none is known
  uint64_t nonce = 0;  // pairs the reply with the question
  View view;           // in force where the question comes from
};
struct PreSealReply {
  uint64_t nonce = 0;
  bool stale = false;  // true: I see it stale, or know of no leader
  Term promised;       // the highest term the replier has promised
};

// The election (P1-P4). A replica answers it only after promise, revocation, flush and scan.
struct Seal {
  Term term;
  uint64_t nonce = 0;  // a retry of the same candidate carries the same one (P3)
  View view;           // the candidate's last view
  Term last;  // of its own log's last entry; 0: not told. A log that ends in the same term is a
              // prefix of it, or it of that one
};

// A term's first position; a list of them names every (term, position) of a log (P14).
struct Epoch {
  Term term;
  Position first;
  bool operator==(const Epoch&) const = default;
};
inline constexpr size_t kEpochsMax = 4096;

struct SealReply {
  Term term;  // of the Seal answered
  uint64_t nonce = 0;
  Code code =
      Code::internal;  // ok · fenced: a higher term is promised · damaged: sealed, no vote (P16)
  Term promised;
  uint64_t answer = 0;  // names this answer: a grant is asked for, and given, under it only
  Incarnation incarnation;
  Persistence persistence = Persistence::none;
  log::Cursor tail;           // last batch end of what it holds (P10)
  log::Cursor trim;           // the first entry it holds follows this cursor
  Position committed;         // what it knows to be committed
  uint64_t birth = 0;         // of the region that answers; see log::Membership
  log::ViewRun view;          // in force at `tail` (P18)
  std::vector<Epoch> epochs;  // of trim+1 … tail, ascending
  // Given at once, behind `tail`, where both logs end in one term: as if asked for under `answer`
  // with that divergence. Of no use if the leader's log turns out to part from this one earlier.
  std::optional<transport::Grant> grant;
};

// The new leader asks to write behind `divergence`, the last entry that both hold. It was found
// from the seal answer named `answer`; once a later one was given, or a grant under this one,
// entries may have been counted that this request would cut off: it is stale and changes nothing.
struct GrantRequest {
  Term term;
  uint64_t nonce = 0;
  uint64_t answer = 0;
  log::Cursor divergence;
};
struct GrantReply {
  Term term;
  uint64_t nonce = 0;
  uint64_t answer = 0;
  Code code = Code::internal;  // ok · again: stale answer, seal anew · no_space: the salvage area
                               // is full · invalid, damaged: the histories contradict each other
  uint64_t birth = 0;          // of the region that answers
  transport::Grant grant;      // valid where code == ok
};

// Sent by a replica that hears no leader, or has just started: "I am here; seal me into your term".
struct Hello {
  Term promised;
  Incarnation incarnation;
  uint64_t birth = 0;
};

// The leader's ring begins behind what this replica holds: "begin anew behind `base`, where `view`
// is in force" (R26). Under the same conditions as a GrantRequest. Answered by a new SealReply; not
// at all while the application has not installed a state that covers `base`.
struct Rebase {
  Term term;
  uint64_t nonce = 0;
  uint64_t answer = 0;
  log::Cursor base;
  log::ViewRun view;
};

// The leader hands over: "lead now, above `term`; I have stopped taking appends". Nobody need be
// asked (P21): it is the leader itself who says so.
struct Succeed {
  Term term;
};

// A leader or candidate met this higher promise; sent so that it can stop early.
struct Fenced {
  Term promised;
};

// "Up to where do I have to read, to miss nothing that was acknowledged before I asked?" (R31).
struct ReadRequest {
  uint64_t nonce = 0;  // ascending for each asker; names the question
  bool through_log =
      false;  // answered by an entry of its own, once committed; else by a proof (P19)
};
struct ReadReply {
  uint64_t nonce = 0;
  Code code = Code::internal;  // ok · not_leader · no_quorum: the proof failed · again: no room
  Position position;           // where code == ok
};

using Message = std::variant<PreSeal, PreSealReply, Seal, SealReply, GrantRequest, GrantReply,
                             Hello, Fenced, Rebase, Succeed, ReadRequest, ReadReply>;

// How a replica's messages leave it. Sending may fail silently: every exchange is retried by time.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void send(ReplicaId to, const Message& message) = 0;
};

}  // namespace caisson::control
