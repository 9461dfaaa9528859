// SPDX-License-Identifier: BSD-3-Clause
// What both ends of a state transfer (R26) stand on: their log, their frames' way out, the pace,
// and the word on how far they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>

#include "caisson/state_transfer.hpp"
#include "caisson/types.hpp"
#include "core/control/state_format.hpp"

namespace caisson::engine {

// The log, as seen from beside its poller. Any thread.
class StateLog {
 public:
  virtual ~StateLog() = default;
  virtual LogIdentity identity() const = 0;
  // The log can only begin here, once the application's state reaches so far; 0: it needs none.
  virtual Position base_wanted() const = 0;
  virtual Position committed() const = 0;
  virtual Position trimmed() const = 0;
  virtual bool votes() const = 0;  // here, as a sound and admitted replica
  virtual ReplicaSet peers() const = 0;
  virtual ReplicaId leader() const = 0;  // 0: nobody known
  virtual void mark_installed(Position p) = 0;
  // Nothing above p is trimmed while it is held; nothing: lets go.
  virtual void hold(std::optional<Position> p) = 0;
};

using StateSend = std::function<void(ReplicaId to, const control::StateFrame& frame)>;

// Bytes per second, on the average: spent in advance, paid for by waiting.
class StatePace {
 public:
  explicit StatePace(uint64_t bytes_per_s) : bytes_per_s_(std::max<uint64_t>(bytes_per_s, 1)) {}
  bool due(uint64_t now_ns) const { return now_ns >= due_ns_; }
  uint64_t due_ns() const { return due_ns_; }
  void spend(uint64_t now_ns, uint64_t bytes) {
    const auto cost = static_cast<unsigned __int128>(bytes) * 1'000'000'000 / bytes_per_s_;
    due_ns_ = std::max(due_ns_, now_ns) + static_cast<uint64_t>(cost);
  }

 private:
  uint64_t bytes_per_s_;
  uint64_t due_ns_ = 0;
};

enum class StatePhase : uint8_t {
  idle,       // nothing is wanted
  asking,     // looks for a replica that has the state
  copying,    // receives it
  pausing,    // something failed; tried again by time
  installed,  // the application has it; the log is about to follow
};
std::string_view name(StatePhase phase);

struct StateReport {
  StatePhase phase = StatePhase::idle;
  Position wanted;
  StateSnapshot snapshot;
  ReplicaId peer;  // target: its source; source: who asked last, 0: nobody is served
  uint64_t done_bytes = 0;
  uint64_t bytes_per_s = 0;
  uint64_t attempts = 0;       // transfers that were begun
  std::optional<Error> error;  // the last one, until bytes flow again
};

}  // namespace caisson::engine
