// SPDX-License-Identifier: BSD-3-Clause
// The leader's data path for one term: seals entries, fans them out, counts what is persisted,
// commits. leader.cpp is the path of every append; leader_peers.cpp is how followers are opened and
// caught up, leader_pace.cpp how it is judged whether they keep up, leader_standby.cpp how appends
// are kept within reach of the standbys.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "core/control/messages.hpp"
#include "core/replication/append_queue.hpp"
#include "core/replication/context.hpp"
#include "core/replication/follower.hpp"
#include "core/replication/mender.hpp"
#include "core/replication/milestones.hpp"

namespace caisson::replication {

class Leader {
 public:
  Leader(Context& context, Follower& books, Mender& mender);

  // Our own log is the adopted one, persistent up to its tail. The term start follows once start()
  // is called.
  void begin(Term term, uint64_t nonce, uint64_t now_ns);
  // `from` is attached already, at the adopted log's tail: its log was the one adopted.
  void take_over(ReplicaId from, const control::SealReply& reply, uint64_t now_ns);
  // A quorum is attached: writes the term-start entry. Everything commits with it or behind it
  // (H6).
  [[nodiscard]] Code start();
  // Stops counting, lets go of every follower, withdraws claims, and puts what was sealed but not
  // yet fanned out into our own ring, where the next leader's repair will find and salvage it (P1).
  // If some of our log has rotted, and nobody could mend it, we have no vote from here on (P16).
  void step_down();

  bool active() const { return active_; }
  bool serving() const { return active_ && committed_cursor_.term == term_; }
  Term term() const { return term_; }

  // ---- Appending; see Replica ----
  [[nodiscard]] Code submit(const Submission& submission);
  [[nodiscard]] Code reserve(uint64_t client, uint32_t count, uint64_t payload_bytes);
  [[nodiscard]] Code open_stream(const StreamOpening& opening, uint64_t tag);
  [[nodiscard]] Code take_apologies(uint64_t client, Position through, uint64_t tag);
  Result<Claim> claim(uint32_t payload_bytes, uint64_t now_ns);
  [[nodiscard]] Code submit_claim(const Claim& claim, const Submission& submission);
  void abandon_claim(const Claim& claim);
  [[nodiscard]] Code trim(Position p, ReplicaId* holder);
  void flush();
  size_t take(std::span<Resolution> out) { return queue_.take(out, marks_, term_); }
  AppendQueue& queue() { return queue_; }
  Position replicated() const { return replicated_; }

  // ---- Views; leader_views.cpp, see Replica ----
  [[nodiscard]] Code change_members(const MemberChange& change);
  [[nodiscard]] Code hand_over(ReplicaId to, uint64_t now_ns);

  // ---- Reads; leader_reads.cpp ----
  // ok: it leads still, and everything acknowledged before the call lies at or below the position.
  ReadPoint prove() const;
  [[nodiscard]] Code append_noop();

  // Returns work done.
  uint32_t poll(uint64_t now_ns);

  // ---- Followers ----
  void on_seal_reply(ReplicaId from, const control::SealReply& reply, uint64_t now_ns);
  void on_grant_reply(ReplicaId from, const control::GrantReply& reply, uint64_t now_ns);
  void on_hello(ReplicaId from, const control::Hello& hello, uint64_t now_ns);
  ReplicaSet attached() const;  // ourselves included
  size_t peers(std::span<PeerStatus> out) const;
  bool attached(ReplicaId id) const { return peers_[id.value].phase == Phase::attached; }
  // Appends wait, and too few followers are alive to ever resolve them (R20).
  bool quorum_lost(uint64_t now_ns) const;

 private:
  enum class Phase : uint8_t {
    unsealed,  // a Seal is sent again and again until it answers
    granting,  // its ring's history is known, a grant is asked for
    attached,  // we write to it
    lost,      // it needs entries that were trimmed: only a new base helps
  };
  struct Peer {
    Phase phase = Phase::unsealed;
    Incarnation incarnation;
    uint64_t birth = 0;   // of the region whose answer was the last
    uint64_t answer = 0;  // of the seal answer that `divergence` was found from
    log::Cursor divergence;
    Offset posted;        // handed to the fabric
    log::Cursor vouched;  // while it is caught up: our own copy was read again and holds up to here
    Offset placed;
    Offset persisted;      // 0 unless attached: nothing else is counted
    Milestone held;        // when it was attached, or had been lost; see held_by()
    Offset validated_end;  // as it last published in this term
    Offset head;
    uint64_t retry_ns = 0;    // when to send the pending control message again
    Offset tended_end;        // validated_end when it was last looked at by tend()
    uint64_t moved_ns = 0;    // when that last moved, or had nowhere to move
    Offset caught_from;       // what lay below was there already
    bool starved = false;     // lacks what has rotted here, and could not be mended so far
    bool kept_up = false;     // has been in step since it was attached
    Code refused = Code::ok;  // why it could not be attached the last time
    bool slow = false;
    uint64_t pace_ns = 0;         // when its pace last agreed with `slow`
    uint64_t blocked_ns = 0;      // how long it was in the way of appends since it is slow
    uint64_t based_until_ns = 0;  // the base it was given is held for it until then
  };
  struct Record {  // a batch end that was handed over whole
    Offset end;
    Position position;
    uint32_t chain;
  };

  // So much is staged, then it goes out: a few lines drain while the next entry is sealed, and more
  // at once would have to be waited for (docs/design.md).
  static constexpr size_t kFanBytes = 256;
  static constexpr size_t kStagedPayloadMax =
      1024;  // copying once more is cheaper below (bench/entry_bench.cpp)
  static constexpr size_t kChunkBytes =
      1024;  // checksum and fan-out take turns: one piece is summed while another drains
  // What may be written at once to who is away after a pause, and what it takes to write at all: a
  // piece that an append hardly notices waiting for.
  static constexpr uint64_t kCatchUpBytes = 256 * 1024;
  static constexpr uint64_t kCatchUpPieceBytes = 16 * 1024;
  static constexpr uint64_t kTendEvery_ns = 20'000;
  static constexpr uint64_t kBaseRetries = 20;
  // Kept free of appends, and besides it room for checkpoints, so that the term starts of later
  // leaders find room in a ring that nobody trims.
  static constexpr uint64_t kHeadroomBytes = 32 * 1024;
  static constexpr size_t kCheckpointPartBytes = 32 * 1024;
  static constexpr uint32_t kIncarnationMax = 1u << 31;  // of a stream that a client may tell of
  static constexpr size_t kStagingBytes = kFanBytes + log::entry_bytes(kStagedPayloadMax);

  // leader.cpp
  Record& record(uint64_t number) { return records_[number & (records_.size() - 1)]; }
  // Inlined into whoever appends, all three: then a header lives in registers. One that is written
  // field by field and read in larger pieces waits for the store buffer.
  [[gnu::always_inline]] void seal(log::EntryHeader& header, std::span<const std::byte> payload);
  [[gnu::always_inline]] log::EntryHeader next_header(log::Kind kind, size_t payload_bytes,
                                                      bool batch_end) const;
  [[gnu::always_inline]] void join(const log::EntryHeader& header, uint32_t payload_crc);
  // Appends entries of the engine's own, as a batch. again: not now, or there is no room.
  [[nodiscard]] Code append_own(log::Kind kind, std::span<const std::span<const std::byte>> parts);
  [[nodiscard]] Code append_own(log::Kind kind, std::span<const std::byte> payload) {
    return append_own(kind, std::span(&payload, 1));
  }
  // Closes an entry whose payload has been placed already.
  void finish(log::EntryHeader& header, uint32_t payload_crc);
  void seal_large(log::EntryHeader header, std::span<const std::byte> payload);
  uint32_t stream_out(Offset at, std::span<const std::byte> payload);
  void fan_staging();
  bool room_for(Offset end, uint64_t headroom);
  Code admit(uint64_t payload_bytes, uint32_t entries);
  Code admit_end(Offset end, uint32_t entries);
  void refresh_limit();
  uint32_t batch_max() const { return std::max(1u, c_.options.stream_window / 4); }
  Code repeat(const Submission& submission);
  void enqueue(const Submission& submission);
  void append_for(uint64_t client, log::EntryHeader header, std::span<const std::byte> payload,
                  uint64_t tag);
  uint32_t reap(uint64_t now_ns);
  void advance();
  Offset reached_by(ReplicaSet set, uint32_t count, Offset Peer::*mark, Offset own) const;
  Offset reached_by_quorum(Offset Peer::*mark, Offset own) const;
  uint32_t tell_commit(uint64_t now_ns);
  bool expire_claim(uint64_t now_ns);

  // leader_peers.cpp
  uint32_t tend(uint64_t now_ns);
  void excuse(uint64_t gap_ns, uint64_t now_ns);
  uint32_t tend(ReplicaId id, Peer& peer, uint64_t now_ns);
  Term read_cell(ReplicaId id, Peer& peer);
  uint32_t catch_up(ReplicaId id, Peer& peer, uint64_t now_ns);
  Offset vouch(Peer& peer, Offset end, uint64_t now_ns);
  bool mend(const log::Cursor& at, uint64_t now_ns);
  void allow_catch_up(uint64_t now_ns);
  void unseal(ReplicaId id, Peer& peer, uint64_t now_ns);
  void open(ReplicaId id, Peer& peer, const transport::Grant& grant, uint64_t now_ns);
  void opened(ReplicaId id, Peer& peer, uint64_t now_ns);
  void refused(ReplicaId id, Peer& peer, uint64_t now_ns);
  void ask_grant(ReplicaId id, Peer& peer, uint64_t now_ns);
  Offset room_of(const Peer& peer) const;
  void rebase(ReplicaId id, Peer& peer, uint64_t now_ns);
  Term grant_along(ReplicaId id) const;

  // leader_pace.cpp
  void keep_in_step(ReplicaId id, Peer& peer, uint64_t now_ns);
  void judge_pace(ReplicaId id, Peer& peer, uint64_t now_ns);
  bool limits_appends(ReplicaId id, const Peer& peer) const;
  bool in_the_way(ReplicaId id, const Peer& peer);
  bool may_demote(ReplicaId id) const;
  void demote(ReplicaId id);

  // leader_standby.cpp
  Milestone held_by(const Peer& peer) const;
  bool overdue(const Milestone& held) const;
  Offset standby_end() const;
  bool standbys_allow(Offset end, uint32_t entries) const;
  [[nodiscard]] Code ask_standbys(Offset end, uint32_t entries) const;
  void follow_standbys();
  void watch_standbys(uint64_t now_ns);
  bool keeps_up(ReplicaId id) const;
  StandbyLag lag_of(const Peer& peer) const;

  // leader_trim.cpp
  uint64_t checkpoint_bytes_max() const { return c_.state.ring().bytes() / 16; }
  [[nodiscard]] Code write_checkpoint();
  ReplicaId holder_of(Position p) const;
  Code trim_through(Position p);
  uint32_t trim_as_wished();

  // leader_views.cpp
  void follow_view();
  [[nodiscard]] Code append_view(log::Membership next);
  uint32_t advance_view();
  bool caught_up(ReplicaSet joining) const;
  void release_departed(uint64_t now_ns);
  // The view that leaves us out is committed: somebody else leads from here on.
  bool dismissed() const;
  uint32_t retire(uint64_t now_ns);
  void appoint(ReplicaId heir, uint64_t now_ns);
  uint32_t pass_on(uint64_t now_ns);

  Context& c_;
  Follower& books_;
  Mender& mender_;
  AppendQueue queue_;
  alignas(kCacheLineBytes) std::byte staging_[kStagingBytes];
  std::vector<Record> records_;  // no more batches than appends are under way
  const uint64_t headroom_bytes_;

  bool active_ = false;
  Term term_;
  uint64_t nonce_ = 0;
  size_t staged_ = 0;  // bytes in staging, from fanned_end_ on
  Offset fanned_end_;  // everything below was given to the fabric
  Offset handed_end_;  // … and completed through
  Offset own_placed_;
  Offset own_persisted_;
  Offset limit_;          // appends may end here, without another look
  Offset room_end_;       // … and where the room ends, whatever the standbys have
  ReplicaSet in_sync_;    // followers that get every fan-out at once
  ReplicaSet followers_;  // all members but us, and who has just been dismissed
  // The view in force, as counting needs it.
  ReplicaSet voters_;
  ReplicaSet outgoing_;
  uint32_t commit_voters_ = 0;  // so many of them commit
  uint32_t commit_outgoing_ = 0;
  uint32_t view_ = 0;
  ReplicaSet standbys_;
  StandbyBounds standby_bounds_;
  Position bounds_since_;  // of the view that first said so
  Milestones milestones_;
  uint64_t standby_now_ns_ = 0;
  bool unsettled_ = false;    // a change is under way, or leaves us out
  ReplicaSet departed_;       // no longer members; attached until they have heard of it
  uint64_t departed_ns_ = 0;  // when they were dismissed
  std::array<uint64_t, kReplicaIdMax + 1> births_{};  // as they said hello
  ReplicaId heir_;                                    // whom we hand over to; 0: nobody
  ReplicaId last_heir_;
  uint64_t heir_until_ns_ = 0;  // … unless it has not taken over by then
  bool heir_told_ = false;
  std::array<Peer, kReplicaIdMax + 1> peers_{};
  std::array<transport::Completion, 16> completions_{};  // scratch of reap()
  uint64_t record_head_ = 0, record_tail_ = 0, record_replicated_ = 0;
  log::Cursor committed_cursor_;  // last committed batch end of this term; term 0 before
  Position replicated_;
  LevelMarks marks_;

  bool claim_open_ = false;
  Claim claim_;
  uint64_t claim_deadline_ns_ = 0;

  uint64_t mend_ns_ = 0;             // when what has rotted here may be asked for (again)
  bool rotten_ = false;              // … and nobody could be asked, or had it
  uint64_t catch_up_allowance_ = 0;  // bytes
  uint64_t allowed_ns_ = 0;          // when it was last added to …
  Offset allowed_end_;               // … and how far the log went
  ReplicaId trim_holder_;            // who was in the way of the last trim; 0: nobody

  Position trim_to_;
  log::CheckpointParts checkpoint_;  // scratch of write_checkpoint()
  Position trim_wish_;               // as soon as a checkpoint behind it is committed; 0: none
  Position told_committed_;
  Position told_trim_;
  ReplicaSet told_;         // who has been told that
  uint64_t posted_ns_ = 0;  // when the last fan-out happened
  uint64_t posts_ = 0, posts_seen_ = 0;
  uint64_t tend_ns_ = 0;
  uint64_t tended_ns_ = 0;  // the time before
  uint64_t alive_ns_ = 0;   // when appends last moved or a quorum was last seen alive
};

}  // namespace caisson::replication
