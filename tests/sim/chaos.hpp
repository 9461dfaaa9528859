// SPDX-License-Identifier: BSD-3-Clause
// Faults at random: which kinds, how often and how bad is drawn per seed (a swarm), so that every
// seed is a different bad day.
#pragma once

#include <cstdint>

#include "tests/sim/world.hpp"

namespace caisson::simtest {

struct ChaosOptions {
  uint64_t every_ns = 1 * kMs;  // between two faults, about
  // Weights of the kinds; 0: never.
  uint32_t kill = 4;   // a process dies, now or at its n-th call
  uint32_t power = 2;  // a machine loses power, now or at its n-th persistence point
  uint32_t power_all = 1;
  uint32_t pause = 3;
  uint32_t partition = 3;  // one link, one way or both; one machine from all others
  uint32_t slow = 1;
  uint32_t clock = 1;              // jumps by up to minutes, drifts
  uint32_t evict = 1;              // caches write back on their own
  uint32_t slot_loss = 0;          // the newest superblock slot is lost while the process is dead
  uint32_t flip = 0;               // a bit of one machine's ring flips at rest
  uint32_t member = 0;             // somebody is to come or to go
  uint32_t hand_over = 0;          // the lead
  uint32_t destroy = 0;            // a voter's memory is gone for good; one at a time
  uint64_t down_ns_max = 4 * kMs;  // how long a fault lasts, at most
};

class Chaos {
 public:
  Chaos(World& world, const ChaosOptions& options);
  void stop() { stopped_ = true; }

 private:
  void turn();
  void strike();
  void kill(bool power);
  void partition();
  void clock();
  void member();
  void destroy();
  void restart_later(uint8_t id);
  uint8_t anyone() { return static_cast<uint8_t>(1 + random_.below(world_.size())); }
  uint8_t victim();  // the leader, more often than others
  uint64_t some_time() { return random_.below(options_.down_ns_max); }

  World& world_;
  const ChaosOptions options_;
  Random random_;
  uint8_t rotten_ = 0;  // at most one machine ever has damaged bytes
  bool stopped_ = false;
};

// A world, its clients and its faults as seed `seed` draws them.
WorldOptions swarm_world(uint64_t seed);
ChaosOptions swarm_chaos(uint64_t seed);

}  // namespace caisson::simtest
