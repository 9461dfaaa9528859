// SPDX-License-Identifier: BSD-3-Clause
// One replica of one log: its role, its part in elections, its appends and deliveries. Sans I/O:
// driven by poll(now_ns) and by messages handed in; everything it does to the world goes through
// Region, Endpoint and Outbox. One thread at a time, except where marked [any thread].
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "caisson/members.hpp"
#include "caisson/reads.hpp"
#include "caisson/types.hpp"
#include "core/control/failure_detector.hpp"
#include "core/control/messages.hpp"
#include "core/log/log_state.hpp"
#include "core/replication/salvage.hpp"
#include "pmem/region.hpp"
#include "transport/fabric.hpp"

namespace caisson::replication {

struct ReplicaOptions {
  LogIdentity identity;
  ReplicaId self;
  ReplicaSet peers;                     // everybody who can be reached, members or not
  uint64_t seed = 1;                    // of nonces and jitter; production passes true randomness
  bool auto_apply = true;               // applied follows delivered: no application marks it
  uint32_t entry_bytes_max = 1u << 20;  // largest payload; entry_bytes(max) <= ring_bytes / 4
  uint32_t outstanding_max = 1u << 16;  // appends not yet resolved; a power of two
  uint32_t streams_max = 4096;          // clients remembered
  uint32_t stream_window = 1024;        // latest sequences remembered per client; a power of two
  uint64_t unvalidated_bytes_max = 0;  // how far a follower's validation may lag (P12); 0: ring / 2
  uint64_t cursor_persist_bytes = 0;   // progress between persisted cursors; 0: ring / 16
  uint64_t cursor_persist_idle_ns = 5'000'000;  // … and the longest an unpersisted cursor rests
  uint64_t commit_idle_ns = 2'000;              // idle time before the commit mark travels alone
  uint64_t retry_ns = 5'000'000;            // unanswered control messages are sent again after this
  uint64_t election_jitter_ns = 3'000'000;  // spread of candidates after the first failed attempt
  uint64_t stagger_ns = 500'000;            // between the first candidates after a leader's death
  uint64_t leaderless_patience_ns =
      20'000'000;  // how long a replica waits to be sealed into a live term
  uint64_t quorum_patience_ns =
      200'000'000;  // a leader without a live quorum steps down after this (R20)
  uint64_t lag_patience_ns =
      10'000'000;  // a follower that blocks appends for so long is caught up apart
  uint64_t fault_after_ns = 100'000'000;  // persisted but unvalidated for so long: a fault (P12)
  uint64_t claim_timeout_ns = 1'000'000'000;  // an abandoned claim is taken back after this (R45)
  // Those that were away are caught up at this rate, all together; faster only where appends come
  // faster.
  uint64_t catch_up_bytes_per_s = 1'000'000'000;
  // A follower is slow once it has been behind for so long by half of what appends may be ahead of
  // it (R27), and keeps pace again once it has been behind by less than an eighth for so long.
  uint64_t slow_after_ns = 20'000'000;
  // Slow, and in the way of appends for `demote_after_ns` in all: it becomes a learner, unless
  // fewer than `voters_min` voters would be left (R9).
  bool demotes_slow = false;
  uint64_t demote_after_ns = 1'000'000'000;
  uint32_t voters_min = 2;
  uint64_t scrub_bytes_per_s = 0;  // committed entries read again and verified (R44); 0: never
  // How far behind a standby may be that this replica, leading, admits as one, and whether appends
  // that would go beyond are refused (`held`) or wait (`again`) (R14).
  StandbyBounds standby_bounds;
  bool standby_refuses = false;
};

enum class Role : uint8_t {
  follower,   // follows a leader, or waits for one
  learner,    // follows, without a voice: learns, is being caught up, or was dismissed
  asking,     // pre-seal: asks whether others see the leader stale, too (P21)
  sealing,    // seal sent, collecting a quorum
  attaching,  // adopted the log, opening the followers' rings; leads once the term start commits
  leader,
  damaged,  // promises, but votes in no seal (P16) until repaired; poisoned, it is mute (R44)
  closed,
};
std::string_view name(Role role);

// One append. The bytes are copied, or placed, before submit() returns.
struct Submission {
  EntryIdentity identity;  // client 0: not deduplicated
  std::span<const std::byte> payload;
  Durability level = Durability::persisted;
  uint64_t tag = 0;       // comes back in its Resolution
  bool batch_end = true;  // false: atomic with the next one (P10); see reserve()
  bool resolves = true;   // false, where batch_end is: no Resolution; its batch's last one has one
  View view{};            // not 0: only in this view (R34)
};

// What became of a tag. `indefinite` is followed by exactly one final one: ok, not_appended, or
// not_leader where it cannot be told here (its entry was trimmed meanwhile, or committed without
// word of every voter); every other code is final.
struct Resolution {
  uint64_t tag = 0;
  Code code = Code::ok;
  Position position;  // where code == ok
  Term term;
};

struct StreamOpening {
  uint64_t client = 0;
  bool resume = false;
  // The last that the client was told was appended; 0: nothing, or nothing that could be lost.
  uint32_t told_incarnation = 0;
  uint64_t told_sequence = 0;
};

// ok: everything acknowledged (persisted, all) before it was asked for lies at or below `position`,
// and that is committed here · no_quorum: nobody could prove in time that it leads · timed_out:
// what has to be read has not arrived here in time · again: the log is full, or too many read ·
// closed.
struct ReadPoint {
  uint64_t tag = 0;
  Code code = Code::ok;
  Position position;
};

struct OpenedStream {
  uint32_t incarnation = 0;
  uint64_t last_sequence = 0;      // appends go on with last_sequence + 1
  std::vector<Apology> apologies;  // that wait to be taken, oldest first
};

// Marks of R11, as this replica knows them. submitted … persisted are the leader's.
struct Marks {
  Position submitted;
  Position replicated;
  Position persisted;
  Position committed;
  Position delivered;
  Position applied;
  Position trimmed;
};

// How the entries at rest are (R44).
struct ScrubStatus {
  Position through;       // of the round under way: verified up to here
  uint64_t rounds = 0;    // in which everything committed was verified
  uint64_t findings = 0;  // entries that were found rotten
  uint64_t repaired = 0;  // of them, from a peer
  Position rotten;        // the one that nobody could repair so far; 0: none
};

struct ReplicaStatus {
  Role role = Role::follower;
  Term term;  // of the leader followed, or led
  Term promised;
  ReplicaId leader;            // 0: unknown
  log::Membership membership;  // in force; its entry may not be committed yet
  Position view_position;      // of that entry
  Marks marks;
  Offset tail_end;
  Incarnation incarnation;
  uint64_t birth = 0;    // of this replica's region; see log::Membership
  Position base_wanted;  // the leader's log begins here: the application has to install a state
                         // that covers it (mark_installed) before this replica can follow; 0: no
  // What was displaced here and waits for somebody to decide (R15).
  struct Waiting {
    uint64_t records = 0;
    uint64_t bytes = 0;
    bool full = false;  // there was no room for more, and so no grant
  } orphans;
  uint64_t repairs = 0;    // grants that moved a divergent suffix aside
  uint64_t elections = 0;  // terms this replica tried to lead
  uint64_t faults = 0;     // breaks found below a completed persist (P12)
  control::Evidence detected_by = control::Evidence::none;  // of the last election it started
  // Its memory was poisoned (R44), in this process or an earlier one: it has to be admitted anew.
  bool poisoned = false;
  pmem::Poison poison;  // as far as this process has met it
  // What others may write here cannot be ended: it votes for nobody until it can.
  bool stuck = false;
  ScrubStatus scrub;
};

// How far a standby is behind, as its leader knows: never less than it is.
struct StandbyLag {
  Position held;  // it has everything through here
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t ns = 0;        // UINT64_MAX: the oldest that it lacks is of an earlier leader
  bool at_bound = false;  // appends wait for it, or are refused
};

// How a leader sees one of its followers.
struct PeerStatus {
  ReplicaId id;
  bool attached = false;  // it takes our writes
  bool in_sync = false;   // … as they happen; otherwise it is being caught up
  bool suspected = false;
  bool slow = false;        // alive, attached, and far behind for long
  Code refused = Code::ok;  // why it is not attached; damaged: its memory is poisoned (R44)
  Offset validated_end;     // its own word, of this term
  // Of the log as it was last caught up: from where, and how far it has been written.
  Offset caught_from;
  Offset written_end;
  bool standby = false;
  StandbyLag lag{};  // of a standby
};

struct Claim {
  std::byte* payload = nullptr;
  uint32_t payload_bytes = 0;
  uint64_t number = 0;
};

class Replica {
 public:
  // Recovers: reads the superblock, ends every old grant (H9), scans. Changes nothing durable but
  // the incarnation. Code::amnesia, damaged (of the superblock, or the memory is poisoned),
  // wrong_cluster, wrong_version, io.
  static Result<std::unique_ptr<Replica>> open(const ReplicaOptions& options, pmem::Region& region,
                                               transport::Endpoint& endpoint,
                                               control::FailureDetector& detector,
                                               control::Outbox& outbox, uint64_t now_ns);
  virtual ~Replica() = default;

  // One turn: completions, validation, commit, delivery, elections. Returns how much was done; 0
  // lets the caller idle.
  virtual uint32_t poll(uint64_t now_ns) = 0;
  virtual void on_message(ReplicaId from, const control::Message& message, uint64_t now_ns) = 0;

  // ---- Appending (leader) ----

  // ok: taken; a Resolution with its tag follows. Otherwise nothing was taken: again, not_leader,
  // held (a standby is as far behind as it may be, and the policy is to say so), closed, too_large,
  // stale_stream, broken_stream, aged_out, identity_reused. A duplicate of a known identity is
  // taken, too, and resolves to the original position.
  [[nodiscard]] virtual Code submit(const Submission& submission) = 0;
  // ok: a batch of `count` entries of `client` with these payload bytes in all fits now: the
  // following `count` submissions, the last one with batch_end, will not be refused with `again`.
  // too_large: more than stream_window / 4 entries, or than a quarter of the ring.
  [[nodiscard]] virtual Code reserve(uint64_t client, uint32_t count, uint64_t payload_bytes) = 0;
  // Posts what submit() took without waiting for the next poll. Inline callers use it.
  virtual void flush() = 0;
  // Opens a new incarnation of a client; resolves by tag, then opened_stream() tells what it
  // became. What the client was told and the log has lost is noted in it for good (R13).
  [[nodiscard]] virtual Code open_stream(const StreamOpening& opening, uint64_t tag) = 0;
  // The client has taken the apologies noted at `through` or before; resolves by tag.
  [[nodiscard]] virtual Code take_apologies(uint64_t client, Position through, uint64_t tag) = 0;
  // Of the session that resolved at `session`; 0: the latest one of the client, committed or not.
  virtual OpenedStream opened_stream(uint64_t client, Position session = {}) const = 0;

  // Zero copy: room for one payload in our own ring. At most one claim is open; while it is, every
  // append is answered `again`. The address dies at abandon, claim timeout and step-down: what is
  // stored there later lands in scratch memory (P1). At submit() the bytes become the log's: a
  // store behind that is the caller's error, and damages the entry.
  virtual Result<Claim> claim(uint32_t payload_bytes, uint64_t now_ns) = 0;
  // `submission.payload` is ignored but for its size (<= claimed). fenced: the claim is gone.
  // again: too much of this client is uncommitted; the claim stays open.
  [[nodiscard]] virtual Code submit_claim(const Claim& claim, const Submission& submission) = 0;
  virtual void abandon_claim(const Claim& claim) = 0;

  // Takes resolved appends, in position order within each level. Returns how many were filled in.
  virtual size_t take_resolutions(std::span<Resolution> out) = 0;

  // ---- Linearizable reads (any replica) ----

  // Answered at once, unless its code is not_yet: then a ReadPoint with this tag follows.
  [[nodiscard]] virtual ReadPoint read_point(ReadPath path, uint64_t tag, uint64_t timeout_ns,
                                             uint64_t now_ns) = 0;
  virtual size_t take_read_points(std::span<ReadPoint> out) = 0;

  // ---- Members (leader) ----

  // ok: taken. It is done once status().membership is settled and says so; whoever leads goes on
  // with it, unless this leader loses its term before the first step has committed. Asking for what
  // is the case, or under way, changes nothing. again: another change is under way. not_found: a
  // replica to add has not said hello. exists: a voter cannot learn. not_yet: who is to be a
  // standby is farther behind than one may be. wrong_view, not_leader; invalid: nobody would be
  // left, or a standby is no learner.
  [[nodiscard]] virtual Code change_members(const MemberChange& change) = 0;
  // Stops taking appends (`again`) and has the voter `to` lead, once it holds all that was taken.
  // no_quorum: it is not up to date, or looks dead. Nothing has changed if, after four times
  // retry_ns, this replica still leads.
  [[nodiscard]] virtual Code hand_over(ReplicaId to, uint64_t now_ns) = 0;
  // Of all followers, at most out.size(); none unless this replica leads. Returns how many.
  virtual size_t peers(std::span<PeerStatus> out) const = 0;

  // Leader only: trims through p (R8). held: `holder` says who still needs entries at or below p.
  [[nodiscard]] virtual Code trim(Position p, ReplicaId* holder) = 0;

  // ---- Following and reading ----
  virtual void mark_applied(Position p) = 0;
  // The application holds a state that covers everything up to p, which it did not get from this
  // log: a log that lacks these entries may begin behind them (R26).
  virtual void mark_installed(Position p) = 0;
  // A reader's hold: nothing above p is trimmed here while it stands. Position max = none.
  virtual void set_reader_hold(Position p) = 0;
  // What was displaced here, and how to let go of it (R15). not_found · not_yet: this replica's log
  // ends in these entries again, and they may yet be committed.
  virtual const SalvageArea& orphans() const = 0;
  [[nodiscard]] virtual Code discard_orphans(uint64_t id) = 0;
  virtual ReplicaStatus status() const = 0;
  virtual Term leading() const = 0;  // the term it leads with the term start committed, or 0
  virtual const log::LogState& log() const = 0;  // committed entries: see its [any thread] part

  // Stops leading, fails what is unresolved as `closed` or `indefinite`, persists the cursor.
  virtual void close(uint64_t now_ns) = 0;
};

// Makes a new region into replica `self` of a new log whose first view holds `voters`: entry 1 is
// that view (R24). Done once, with the cluster (P17).
[[nodiscard]] Code create_replica(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                                  ReplicaSet voters, log::QuorumSystem quorum = {});

// Makes a new region into one that may be admitted to a log as `self`, and holds nothing yet.
// `birth`: random, not 0; tells it from every other region that is or was replica `self` (P17).
[[nodiscard]] Code create_joiner(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                                 uint64_t birth);

}  // namespace caisson::replication
