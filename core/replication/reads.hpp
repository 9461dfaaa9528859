// SPDX-License-Identifier: BSD-3-Clause
// Linearizable reads of one replica, and the answers it gives as a leader to those of others (R31).
// Every way ends in a position: a read is answered once this replica has committed that.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "caisson/reads.hpp"
#include "core/control/messages.hpp"
#include "core/replication/context.hpp"
#include "core/replication/follower.hpp"
#include "core/replication/leader.hpp"

namespace caisson::replication {

class Reads {
 public:
  Reads(Context& context, Leader& leader, const Follower& follower);

  // See Replica.
  ReadPoint begin(ReadPath path, uint64_t tag, uint64_t timeout_ns, uint64_t now_ns);
  size_t take(std::span<ReadPoint> out);

  void on_request(ReplicaId from, const control::ReadRequest& request);
  void on_reply(const control::ReadReply& reply, uint64_t now_ns);

  // After this turn's commits are known. Returns work done.
  uint32_t poll(uint64_t now_ns) {
    if (waiting_.empty() && askers_.empty()) [[likely]]
      return 0;
    return advance(now_ns);
  }
  void close();

 private:
  struct Waiting {
    uint64_t tag = 0;
    ReadPath path = ReadPath::leader;
    uint64_t deadline_ns = 0;
    uint64_t turn = 0;    // leading: the first entry of ours appended after it was asked for
    uint64_t ticket = 0;  // following: the first question sent after it was asked for
    Position position;    // to be committed here; 0: not known yet
    Term proven;          // the position is that of a proof of this term
    Code reason = Code::no_quorum;  // to be told at the deadline
  };
  struct Asker {
    ReplicaId id;
    uint64_t nonce = 0;
    uint64_t turn = 0;
  };
  struct Question {
    uint64_t nonce = 0;
    uint64_t again_ns = 0;  // not before
  };

  static constexpr size_t kWaitingMax = 1024;
  static constexpr size_t kAskersMax = 256;

  uint32_t advance(uint64_t now_ns);
  uint32_t lead();
  void follow_entry();
  uint32_t append_entry();
  uint32_t follow(uint64_t now_ns);
  uint32_t ask(bool through_log, uint64_t now_ns);
  void prove();
  uint32_t answer(uint64_t now_ns);
  static uint64_t deadline(uint64_t now_ns, uint64_t timeout_ns) {
    return timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
  }

  Context& c_;
  Leader& leader_;
  const Follower& follower_;
  std::vector<Waiting> waiting_;
  std::vector<Asker> askers_;  // leading: of others, who wait for an entry
  std::vector<ReadPoint> ready_;
  // Entries of ours, counted: one at a time is on its way.
  uint64_t begun_ = 0, done_ = 0;
  Position done_at_;
  Position entry_at_;  // 0: none is on its way
  Term entry_term_;
  // Questions of ours; numbers of earlier lives of this replica mean nothing.
  const uint64_t first_nonce_;
  uint64_t nonce_;
  std::array<Question, 2> questions_;  // [1]: through the log
};

}  // namespace caisson::replication
