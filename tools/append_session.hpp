// SPDX-License-Identifier: BSD-3-Clause
// Appends a stream of payloads to a cluster's log: pipelined, each exactly once whatever node dies
// (R30).
//
// Every payload has a sequence number of its stream. What is not acknowledged is sent again, oldest
// first, to whoever leads next, under the same number: the log recognises what it already holds.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "tools/history_file.hpp"
#include "tools/node_link.hpp"

namespace caisson::tools {

struct AppendSessionOptions {
  std::string log;
  uint64_t client = 0;  // 0: a random one
  bool resume = false;
  Durability durability = Durability::persisted;
  std::chrono::milliseconds timeout{60'000};  // the longest that one payload may wait for its word
  HistoryFile* history = nullptr;             // gets every operation
};

class AppendSession {
 public:
  AppendSession(const Cluster& cluster, const AppendSessionOptions& options);

  // Finds the leader and opens the stream. no_quorum, timed_out, denied, not_found …
  Result<void> open();

  // What this stream was told was appended, and is not in the log (R13): earlier ones that nobody
  // has taken yet, and after an error of turn() those that this session lost.
  const std::vector<Apology>& apologies() const { return apologies_; }
  bool lost() const { return lost_; }
  // Nothing more is asked for: the history says what is definitely not in the log.
  void end_history() const;
  // They have been shown: they need not be told again. Best effort; otherwise they are.
  void take_apologies();

  // Payloads with sequences up to this one are in the log already (resume).
  uint64_t resumed_behind() const { return resumed_behind_; }
  uint64_t client() const { return options_.client; }
  uint32_t incarnation() const { return incarnation_; }
  uint64_t entry_bytes_max() const { return entry_bytes_max_; }

  bool has_room() const;
  // Takes the payload under the next sequence number. Precondition: has_room().
  void push(std::span<const std::byte> payload);
  bool idle() const { return pending_.empty(); }
  uint64_t front_bytes() const { return pending_.empty() ? 0 : pending_.front().payload.size(); }
  // Sends what can be sent, and takes answers for at most this long. An error is final: what it
  // left unresolved is listed by indefinite() and not_appended().
  Result<void> turn(std::chrono::microseconds wait);

  // Links to every node now, so that none has to be made when the leader dies.
  void warm_up() { links_.warm_up(); }

  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t retries() const { return retries_; }
  Position first() const { return first_; }
  Position last() const { return last_; }
  const std::set<Term>& terms() const { return terms_; }
  ReplicaId leader() const { return leader_ == nullptr ? ReplicaId{} : leader_->node(); }
  // Sequences whose fate is unknown: they were sent, and nothing final was heard.
  std::vector<uint64_t> indefinite() const;
  // Sequences that are definitely not in the log.
  std::vector<uint64_t> not_appended() const;

 private:
  struct Pending {
    uint64_t sequence = 0;
    std::string payload;
    Clock::time_point since;
    uint32_t sent = 0;  // how often
    uint32_t open = 0;  // sendings of which it is not known whether they reached the log
    bool resolved = false;
    uint64_t asked_ns = 0;  // when it was sent first, where a history is kept
  };

  Result<void> connect();
  Result<protocol::StreamOpened> open_stream(bool resume, uint32_t told_incarnation, uint64_t told);
  void lose_leader(ReplicaId suggestion);
  void rewind();
  void send_again(const Pending& pending);
  bool send_some();
  Result<void> receive_some(std::chrono::microseconds wait);
  Result<void> take(const protocol::Reply& reply);
  Result<void> take(const protocol::AppendResult& result);
  void take(const protocol::AppendOutcome& outcome, bool& moved, bool& pressed);
  void refuse(const Pending& pending, Code code);
  Result<void> end_refused();
  Result<void> hear_apologies();
  Pending* find(uint64_t sequence);
  Result<void> check_time();
  Error refused(const Pending& pending, Code code) const;
  Asked asked(const Pending& pending) const;
  void note_sending(Pending& pending);

  AppendSessionOptions options_;
  NodeLinks links_;
  NodeLink* leader_ = nullptr;
  uint32_t incarnation_ = 0;
  uint64_t resumed_behind_ = 0;
  uint64_t next_sequence_ = 1;
  uint64_t entry_bytes_max_ = 0;

  std::deque<Pending> pending_;  // sequences are consecutive
  size_t unsent_ = 0;            // index of the first one to be sent next
  uint64_t pending_bytes_ = 0;
  Clock::time_point heard_;       // last sign of progress
  Clock::time_point hold_until_;  // back-pressure: nothing is sent before
  std::optional<Error> refusal_;  // the first; nothing is sent any more

  uint64_t acknowledged_ = 0;
  uint64_t told_ = 0;  // the highest sequence that was
  std::vector<Apology> apologies_;
  bool lost_ = false;
  uint64_t retries_ = 0;
  Position first_;
  Position last_;
  Term term_;
  std::set<Term> terms_;
};

}  // namespace caisson::tools
