// SPDX-License-Identifier: BSD-3-Clause
// Does to a world what a schedule says, and counts what did come about: an action may find nobody
// to strike.
#pragma once

#include <array>
#include <vector>

#include "core/replication/recovery.hpp"
#include "tests/sim/schedule.hpp"

namespace caisson::simtest {

using FaultCounts = std::array<uint64_t, kFaults>;

class Performer {
 public:
  explicit Performer(World& world) : world_(world) {}
  // All of it, from this moment on; again and again, if asked to. `actions` outlives the run.
  void begin(const std::vector<Action>& actions);
  void stop() { stopped_ = true; }
  const FaultCounts& struck() const { return struck_; }

 private:
  void perform(const Action& action);
  bool strike(const Action& action, uint8_t id);
  bool die(const Action& action, uint8_t id);
  bool power_all(const Action& action);
  bool pause(const Action& action, uint8_t id);
  bool slow(const Action& action, uint8_t id);
  bool cut(const Action& action, uint8_t id);
  bool isolate(const Action& action, uint8_t id);
  bool clog(const Action& action, uint8_t id);
  bool clock(const Action& action, uint8_t id);
  bool slot_loss(const Action& action, uint8_t id);
  bool rot(const Action& action, uint8_t id);
  bool stale(const Action& action, uint8_t id);
  bool memory_lost(uint8_t id);
  bool member(const Action& action);
  bool standby(const Action& action);
  bool hold(const Action& action, uint8_t id);
  bool discard(uint8_t id);
  bool take_over(const Action& action);
  void leave_behind(uint8_t id, const replication::Takeover& taken, Random& random);

  uint8_t id_of(uint8_t drawn) const;
  uint8_t other_than(uint8_t id, uint8_t drawn) const;
  // At most one machine ever has damaged bytes, and only where the others are a quorum without it.
  Machine* may_rot(uint8_t id);
  void restart_later(uint8_t id, uint64_t within_ns, Random random);

  World& world_;
  FaultCounts struck_{};
  uint8_t rotten_ = 0;
  bool stopped_ = false;
};

}  // namespace caisson::simtest
