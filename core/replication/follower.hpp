// SPDX-License-Identifier: BSD-3-Clause
// The side of a replica that others write to: its own ring as a target. Answers seals and grants,
// validates what arrives, accepts commit marks, follows trims. Runs on every replica, the leader
// included.
#pragma once

#include "caisson/types.hpp"
#include "core/control/messages.hpp"
#include "core/replication/context.hpp"
#include "core/replication/salvage.hpp"

namespace caisson::replication {

class Follower {
 public:
  explicit Follower(Context& context) : c_(context), salvage_(context.region) {}

  // After open, or after a seal's promise is persistent: ends every grant, makes the ring what it
  // will stay (P2), and finds its tail anew. `whole` scans from the trim point and looks for damage
  // behind the tail (P16); otherwise the scan goes on from the tail known so far.
  enum class Extent : uint8_t { whole, tail };
  [[nodiscard]] Code seal_ring(Extent extent);
  // Some of our log, up to its tail, has rotted: no vote until that is repaired (P16). Reads all of
  // it again. Only while nobody is granted our ring.
  [[nodiscard]] Code confess();

  // What others may write here could not be ended the last time: no seal is answered meanwhile.
  bool stuck() const { return stuck_; }

  bool damaged() const { return c_.durable.superblock().damaged_through.value != 0; }
  // A new name for every answer; older ones are stale from then on.
  control::SealReply seal_reply(Term term, uint64_t nonce, Code code);
  // True until an entry of the leader's own term has chained. Till then the tail may be leftovers:
  // old lines behind a hole, which continue the chain once repair has filled the hole with the same
  // bytes.
  bool unsure() const { return granted() && c_.state.tail().term < given_.term; }
  // Lets the sealing candidate in with the answer to its seal, behind our tail.
  void grant_along(ReplicaId writer, control::SealReply& reply);

  // Lets `writer` in behind `request.divergence`, after putting the suffix behind it aside. The
  // promise, nonce and sender have been checked.
  control::GrantReply answer_grant(ReplicaId writer, const control::GrantRequest& request);

  // Forgets the log up to `request.base` and goes on behind it (R26). The promise, nonce and sender
  // have been checked. not_yet: the application has installed no state that covers it.
  [[nodiscard]] Code rebase(const control::Rebase& request);

  // Loses everything behind `keep`: into the salvage area first (P15), then blanks the first line,
  // so that nothing old continues the chain there. damaged: `keep` lies below what is committed
  // (P13).
  [[nodiscard]] Code cut(const log::Cursor& keep, Term sealed_by);

  // What was put aside, and is still there (R15).
  const SalvageArea& salvaged() const { return salvage_; }
  // not_found · not_yet: this replica's log ends in these very entries again, and they may yet be
  // committed.
  [[nodiscard]] Code discard_orphans(uint64_t id);

  // Bytes were stored behind the tail by ourselves: validates them up to exactly `expected`.
  [[nodiscard]] Code resume_at(const log::Cursor& expected);

  bool granted() const { return leader_.value != 0; }
  ReplicaId leader() const { return leader_; }
  // The ring is ours alone again; nothing that arrives is looked at.
  void stop() { leader_ = ReplicaId{}; }

  // Validates and commits what the leader's writes and marks allow. Returns work done.
  uint32_t poll(uint64_t now_ns);
  // Trims as far as the leader asked, and we can.
  uint32_t follow_trim();

  // While this replica leads, its tail holds entries that are not in its ring yet: only what is
  // committed counts as progress.
  void set_leading(bool leading) { leading_ = leading; }

  // The part of poll that a leader needs, too: applied marks, and the persisted cursor when it is
  // due.
  uint32_t keep_books(uint64_t now_ns);
  // Persists cursor and marks now.
  [[nodiscard]] Code save_progress();
  // Trims through p, a committed position that everybody here has applied.
  [[nodiscard]] Code trim(Position p);
  // What a leader may trim here (R8): durably applied, and not held by a reader.
  Position trimmable() const;
  void publish() const;

 private:
  DurableState::Progress progress() const;
  log::Cursor durable_tail() const;
  [[nodiscard]] Code let_in(const control::GrantRequest& request);
  void blank_behind(const log::Cursor& tail);
  Result<uint64_t> put_aside(const log::Cursor& keep, Term sealed_by);
  uint32_t validate();
  void accept(const transport::CommitCell& cell);
  // The tail, as far as it is known to be the leader's.
  const log::Cursor& sure_tail() const {
    return unsure() ? granted_behind_ : c_.state.batch_tail();
  }
  void look_again();
  void commit_hinted(Position hinted);
  // Our log ends in what is sure: what both held when the grant was given, and what is committed.
  [[nodiscard]] Code forget_unsure();
  // From the tail on, to the last batch end. Returns how far the entries say the log is committed.
  Position scan_on();
  [[nodiscard]] Code find_all();
  [[nodiscard]] Code look_for_damage(Position evidence);
  void repaired();

  static constexpr uint32_t kEntriesPerPoll = 512;  // keeps a turn below ~20 us of 64 B entries
  static constexpr uint64_t kLookAgainNs = 1'000'000;

  Context& c_;
  SalvageArea salvage_;
  ReplicaId leader_;    // who holds the grant; 0: nobody
  Offset chained_end_;  // behind the last entry that chained, batch end or not
  Position trim_to_;
  bool leading_ = false;
  uint64_t answers_ = 0;  // given by this process
  uint64_t answer_ = 0;   // the latest one's name
  control::GrantReply
      given_;  // what was answered to the grant request under it; answer 0: nothing yet
  log::Cursor granted_behind_;  // what both held when the grant was given: sure, whatever follows
  uint64_t looked_ns_ = 0;      // when the entries behind it were last looked at with success
  uint64_t unsaved_since_ns_ =
      0;  // when progress first went beyond the persisted cursor; 0: it has not
  bool stuck_ = false;
  uint64_t cell_seen_ = 0;  // committed position of the last commit cell that was looked at
};

}  // namespace caisson::replication
