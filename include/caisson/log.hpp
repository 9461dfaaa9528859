// SPDX-License-Identifier: BSD-3-Clause
// One log, as an application sees it. See caisson.hpp for threads and fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caisson/appender.hpp"
#include "caisson/hold.hpp"
#include "caisson/members.hpp"
#include "caisson/orphans.hpp"
#include "caisson/reads.hpp"
#include "caisson/subscription.hpp"
#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class EngineImpl;
class LogImpl;
}  // namespace engine

class Engine;

// Who leads, as this replica knows it.
struct Leadership {
  ReplicaId leader;  // 0: nobody known
  Term term;
  bool is_self = false;  // this replica leads and serves
};

// How far a log has got, as this replica knows it (R11). submitted, replicated and persisted are
// the leader's; a follower reports its committed mark for them.
struct Marks {
  Position submitted;
  Position replicated;
  Position persisted;
  Position committed;
  Position delivered;
  Position applied;
  Position trimmed;
};

class Log {
 public:
  const std::string& name() const;

  // Opens a stream; needs the leader. not_leader, timed_out, no_quorum, closed. Memory for
  // `outstanding_max` appends is taken first, whatever comes of it.
  Result<std::unique_ptr<Appender>> appender(const AppenderOptions& options = {});

  // Copies the payload of a committed entry into `out` (resized). not_yet, trimmed, damaged.
  // Entries that caisson wrote for itself read as Code::not_found.
  [[nodiscard]] Code read(Position position, std::vector<std::byte>& out,
                          Token* token = nullptr) const;
  // A session read: first waits until this replica has committed options.minimum; else not_yet.
  [[nodiscard]] Code read(Position position, const ReadOptions& options,
                          std::vector<std::byte>& out, Token* token = nullptr) const;

  // Where a linearizable read has to reach, on any replica: everything that was acknowledged (at
  // the levels persisted and all) before the call, by whichever leader, lies at or below the
  // position returned, and this replica has committed it. no_quorum: nobody could prove in time to
  // be leading · timed_out: what has to be read has not arrived here · again: the log is full, or
  // too many read · closed. On the leader ReadPath::leader costs a few loads, and takes no memory
  // and no system call if the engine is polled inline.
  [[nodiscard]] Result<Position> read_point(ReadPath path, uint64_t timeout_ns);

  // From this position on; from Position{0}: from the oldest entry still held. trimmed, closed,
  // too_large (at most 1024 at a time).
  Result<std::unique_ptr<Subscription>> subscribe(Position from,
                                                  const SubscribeOptions& options = {});

  // Returns ok once `position` is committed as this replica knows it.
  [[nodiscard]] Code wait_for(Position position, uint64_t timeout_ns) const;

  // Keeps `from` and what follows from being trimmed, on every replica; Position{0}: from the
  // oldest entry still held. trimmed, closed, too_large (as subscribe, which holds for itself).
  Result<std::unique_ptr<ReaderHold>> hold(Position from, const HoldOptions& options = {});

  // The last position known to be committed here. A stale read, on the leader, too: it may have
  // been deposed without having heard of it. See read_point().
  Position tail() const;
  Marks marks() const;
  Leadership leadership() const;
  Token token() const;  // {term led or followed, committed}: a fencing token (R23)

  // Leader only: forgets everything through `position`, once every voter has durably applied it and
  // no reader here holds it (R8). held: `holder` says who is in the way (0: a reader of this
  // process) · not_leader · not_yet: above what is committed · closed.
  [[nodiscard]] Code trim(Position position, ReplicaId* holder = nullptr);
  // … and which reader, until when.
  [[nodiscard]] Code trim(Position position, TrimHolder& holder);

  Members members() const;  // as this replica knows them

  // How far each standby is behind (R14); empty unless this replica leads.
  std::vector<StandbyLag> standbys() const;

  // Leader only: changes who takes part, and returns once that is the view in force. ok also if it
  // was already. timed_out: it goes on, under whoever leads · not_found: to be added, but its node
  // does not run or is no [[peer]] · exists: a voter cannot learn
  // · invalid: nobody would be left, or a standby is no learner · wrong_view · not_leader, also if
  // the lead is lost meanwhile: ask the new leader, whose members() say how far it got.
  [[nodiscard]] Code change_members(const MemberChange& change, uint64_t timeout_ns);

  // Leader only: has the voter `to` lead, once it holds all that was appended. Appends are answered
  // `again` meanwhile. ok: this replica leads no more · no_quorum: `to` is not up to date, or looks
  // dead · not_found: no voter · timed_out: this replica still leads.
  [[nodiscard]] Code hand_over(ReplicaId to, uint64_t timeout_ns);

  // The application has durably applied everything through `position` (LogOptions::auto_apply =
  // false). not_yet: above what is committed here · unsupported: with auto_apply · closed.
  [[nodiscard]] Code mark_applied(Position position);

  // What was displaced at this replica, and waits for a decision (R15): listed until it is
  // discarded, and never again. Read on the poller's thread in small pieces, so that appends go on
  // meanwhile. closed.
  Result<Orphans> orphans(OrphanPayloads payloads = OrphanPayloads::left_out);

  // Lets go of a record of this replica, durably: once its entries were appended again, or nobody
  // wants them. not_found: there is none, or no more · not_yet: the replica has fallen back on
  // these entries, and they may yet be committed: ask again once it follows a leader · closed.
  [[nodiscard]] Code discard_orphans(uint64_t id);

  // A word for people and monitors: role, term, marks, as a JSON object.
  std::string status_json() const;

 private:
  friend class Engine;
  friend class engine::EngineImpl;
  explicit Log(engine::LogImpl* impl) : impl_(impl) {}
  engine::LogImpl* impl_;
};

}  // namespace caisson
