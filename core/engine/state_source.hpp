// SPDX-License-Identifier: BSD-3-Clause
// The end of a state transfer that has the state: answers questions, one after the other. One
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/engine/state_ground.hpp"

namespace caisson::engine {

class StateSource {
 public:
  // `hook` null: every question is answered with unsupported.
  StateSource(StateLog& log, StateHook* hook, ReplicaId self, StateSend send);
  ~StateSource() { rest(); }

  // Returns how many bytes were given.
  size_t answer(const control::StateFrame& ask, uint64_t now_ns);
  // Lets the snapshot, and the trim it holds back, go once nobody has asked for a while.
  void keep(uint64_t now_ns);
  void rest();
  const StateReport& report() const { return report_; }

 private:
  static constexpr uint64_t kPatienceNs = 10'000'000'000;

  Result<void> open(const control::StateFrame& ask);
  Result<size_t> read(const control::StateFrame& ask);

  StateLog& log_;
  StateHook* const hook_;
  const ReplicaId self_;
  const StateSend send_;
  bool reading_ = false;
  uint64_t asked_ns_ = 0;
  std::vector<std::byte> piece_;
  StateReport report_;
};

}  // namespace caisson::engine
