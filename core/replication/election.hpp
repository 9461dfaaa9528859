// SPDX-License-Identifier: BSD-3-Clause
// A candidate: asks (P21), seals, adopts the best log of a quorum. The seal is the election (R18):
// whoever has sealed a quorum below its term, and holds the highest (last term, last position) of
// it, may lead.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "core/control/messages.hpp"
#include "core/replication/context.hpp"
#include "core/replication/follower.hpp"

namespace caisson::replication {

class Election {
 public:
  Election(Context& context, Follower& follower) : c_(context), follower_(follower) {}

  enum class Stage : uint8_t { idle, asking, sealing, fetching, won };
  Stage stage() const { return stage_; }
  Term term() const { return term_; }
  uint64_t nonce() const { return nonce_; }

  // "Is it only me who finds the leader of `suspect` silent?"
  void ask(Term suspect, uint64_t now_ns);
  // Seals without asking if `dead` is proven dead and no voter has promised anything above its
  // term: then there is no living leader to disturb. Asks otherwise. Reads the promises
  // one-sidedly.
  void succeed(ReplicaId dead, Term term, uint64_t now_ns);
  // Seals every voter under a term above `seen`, all at once; this replica promises first. Code:
  // the promise could not be made persistent, and nobody was asked; or our own ring could not be
  // sealed, and the term is lost to those that were.
  [[nodiscard]] Code seal(Term seen, uint64_t now_ns);
  void give_up() { stage_ = Stage::idle; }

  void on_preseal_reply(ReplicaId from, const control::PreSealReply& reply, uint64_t now_ns);
  void on_seal_reply(ReplicaId from, const control::SealReply& reply, uint64_t now_ns);
  void on_grant_reply(ReplicaId from, const control::GrantReply& reply);

  // Retries, and gives up what takes too long.
  void poll(uint64_t now_ns);

  // Somebody has promised `higher`: the next attempt goes above it.
  void met(Term higher) { seen_ = std::max(seen_, higher); }

  // After winning: who answered, and whose log was taken (0: our own).
  const std::optional<control::SealReply>& reply(ReplicaId id) const { return replies_[id.value]; }
  ReplicaId holder() const { return holder_; }

 private:
  bool highest_everywhere(Term term, ReplicaId dead) const;
  void adopt(uint64_t now_ns);
  void ask_holder();
  void fetch_under(const transport::Grant& grant);
  control::Seal seal_message() const;
  bool make_room_for(const control::SealReply& best);
  [[nodiscard]] Code fetch();
  void send_to_silent(const control::Message& message);
  ReplicaSet known() const;
  ReplicaId best() const;
  bool complete() const;

  // Attempts that take longer than this many retries are given up; the next one draws a higher
  // term.
  static constexpr uint64_t kRetriesMax = 8;

  Context& c_;
  Follower& follower_;
  Stage stage_ = Stage::idle;
  Term suspect_;
  Term term_;
  Term seen_;
  uint64_t nonce_ = 0;
  uint64_t deadline_ns_ = 0;
  uint64_t retry_ns_ = 0;
  ReplicaSet answered_;
  ReplicaSet agreed_;  // asking: found it stale; sealing: sealed and sound
  std::array<std::optional<control::SealReply>, kReplicaIdMax + 1> replies_{};
  ReplicaId holder_;
};

}  // namespace caisson::replication
