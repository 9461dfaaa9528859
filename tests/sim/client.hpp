// SPDX-License-Identifier: BSD-3-Clause
// A client of the simulated cluster: one stream, many appends in flight, retries with the same
// identity on whatever leader it finds, until it is told.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "tests/sim/world.hpp"

namespace caisson::simtest {

struct ClientOptions {
  uint64_t client = 1;
  uint64_t appends = UINT64_MAX;   // how many in all
  uint32_t window = 32;            // unanswered at once
  uint32_t per_turn = UINT32_MAX;  // asked for in one turn, a batch counts once
  uint32_t payload_max = 300;
  uint32_t large_permille = 10;  // payloads of up to the largest entry
  uint64_t pace_ns = 20 * kUs;
  uint64_t patience_ns = 2 * kMs;  // without an answer: elsewhere, from the oldest on
  uint32_t replicated_permille = 100;
  uint32_t all_permille = 50;
  uint32_t volatile_permille = 0;
  uint32_t local_permille = 0;
  // What was acknowledged is not asked for again, at whatever level: only an apology tells.
  bool forgetful = false;
  uint32_t batch_permille = 100;
  uint32_t claim_permille = 50;
  uint32_t lost_answer_permille = 30;
  uint32_t again_permille = 50;   // answered appends that are asked for again, up to ten times
  uint32_t reused_permille = 5;   // … with other bytes
  uint32_t session_permille = 5;  // per turn: begins a new incarnation
  uint32_t late_store_permille =
      300;  // claims whose application stores after it was told to let go

  static ClientOptions probe(uint64_t client) {
    ClientOptions o;
    o.client = client;
    o.appends = 3;
    o.replicated_permille = o.all_permille = o.batch_permille = o.claim_permille = 0;
    o.lost_answer_permille = o.again_permille = o.session_permille = 0;
    return o;
  }
};

class Client {
 public:
  Client(World& world, const ClientOptions& options);

  // Everything asked for so far has been answered.
  bool drained() const { return unanswered_.empty() && !opening_ && !attach_due_ && ended(); }
  bool ended() const { return stopped_ || made_ >= options_.appends; }
  // Asks for nothing new.
  void finish();
  // Gone for good: what it waits for is nobody's any more.
  void retire();
  std::string describe() const;
  uint64_t answered() const { return answered_; }
  uint64_t refused() const { return refused_; }

 private:
  struct Op {
    Id id;
    std::string payload;
    uint64_t digest = 0;
    Durability level = Durability::persisted;
    uint64_t group = 0;
    uint64_t count = 1;  // of its batch
    uint64_t index = 0;  // in its batch
    bool claim = false;
    bool answered = false;
    uint64_t sent_ns = 0;
  };

  void turn();
  void make();
  Op make_one(uint64_t group, uint64_t count, uint64_t index);
  bool connect();
  void reconnect(uint8_t to);
  void send();
  Code send_one(Op& op);
  Code send_batch(size_t at);
  Code send_claimed(Op& op);
  void late_store(uint8_t id, const std::byte* address, size_t bytes);
  Code submit(const Op& op, std::string_view payload, bool batch_end);
  void answer(const Id& id, const replication::Resolution& r, Durability level);
  void ask_again(const Op& op);
  void repeat(const Op& op, uint64_t times);
  void open_session();
  void session_opened(uint8_t id, bool resume, Position session);
  void hear_apologies(uint8_t id, const std::vector<Apology>& apologies);
  Op* find(const Id& id);
  bool settled(const Op& op) const;
  bool settled_before(const Op& op) const;
  bool weak() const {
    return options_.replicated_permille + options_.volatile_permille + options_.local_permille != 0;
  }
  void forget_answered();

  World& world_;
  const ClientOptions options_;
  Random random_;
  uint64_t incarnation_ = 1;
  uint64_t sequence_ = 0;
  uint64_t made_ = 0;
  uint64_t answered_ = 0;
  uint64_t refused_ = 0;
  std::deque<Op> unanswered_;  // in order; answered ones leave from the front
  size_t sent_ = 0;            // how many of them were sent on this connection
  Code last_refusal_ = Code::ok;
  uint8_t connected_ = 0;
  uint64_t connected_life_ = 0;
  bool opening_ = false;  // a session is on its way
  uint64_t opening_since_ns_ = 0;
  uint64_t opening_turn_ = 0;
  bool stopped_ = false;
  bool retired_ = false;
  bool attach_due_ = false;  // one more session, to hear every apology that is due
  Id told_;                  // the last that it was told is in the log, of this incarnation
};

}  // namespace caisson::simtest
