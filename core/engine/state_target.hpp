// SPDX-License-Identifier: BSD-3-Clause
// The end of a state transfer that lacks the state: asks for it piece by piece, one question at a
// time, and hands it to the application. One thread.
#pragma once

#include <cstdint>

#include "core/engine/state_ground.hpp"

namespace caisson::engine {

struct StateTargetOptions {
  uint64_t answer_within_ns = 500'000'000;
  uint32_t asks_max = 3;  // of one piece, before another source is tried
  uint64_t pause_min_ns = 50'000'000;
  uint64_t pause_max_ns = 5'000'000'000;
  uint32_t piece_bytes = 256u << 10;
};

class StateTarget {
 public:
  StateTarget(StateLog& log, StateHook& hook, ReplicaId self, uint64_t seed, StateSend send,
              StatePace& pace, const StateTargetOptions& options = {});

  void take(const control::StateFrame& give, uint64_t now_ns);
  // Something came that could not be read: perhaps it was the answer.
  void take_damaged(uint64_t now_ns);
  void turn(uint64_t now_ns);
  const StateReport& report() const { return report_; }

 private:
  bool engaged() const {
    return report_.phase == StatePhase::asking || report_.phase == StatePhase::copying;
  }
  void begin(uint64_t now_ns);
  void next_source(uint64_t now_ns, const Error& why);
  void ask(uint64_t now_ns);
  void ask_again(uint64_t now_ns, const Error& why);
  bool adopt(const control::StateFrame& give, uint64_t now_ns);
  void write(const control::StateFrame& give, uint64_t now_ns);
  void finish(uint64_t now_ns);
  void install(Position position);
  void pause(uint64_t now_ns, const Error& why);

  StateLog& log_;
  StateHook& hook_;
  const ReplicaId self_;
  const StateSend send_;
  StatePace& pace_;
  const StateTargetOptions options_;

  StateReport report_;
  uint64_t nonce_;  // of the question that is open
  bool asked_ = false;
  uint32_t asks_ = 0;
  uint64_t asked_ns_ = 0;
  ReplicaSet untried_;  // sources
  uint64_t pause_ns_;
  uint64_t resume_ns_ = 0;
  uint64_t begun_ns_ = 0;  // the present run of bytes
  uint64_t begun_bytes_ = 0;
};

}  // namespace caisson::engine
