// SPDX-License-Identifier: BSD-3-Clause
// Asks machines at random for linearizable reads, each way, while everything else happens.
#pragma once

#include <cstdint>

#include "tests/sim/world.hpp"

namespace caisson::simtest {

struct ReaderOptions {
  uint64_t pace_ns = 60 * kUs;
  uint64_t timeout_ns_max = 4 * kMs;
  uint32_t leader_permille = 300;  // asks whoever believes to lead, the others anybody
};

class Reader {
 public:
  Reader(World& world, const ReaderOptions& options);
  void stop() { stopped_ = true; }
  uint64_t answered() const { return answered_; }

 private:
  void turn();

  World& world_;
  const ReaderOptions options_;
  Random random_;
  bool stopped_ = false;
  uint64_t answered_ = 0;
};

}  // namespace caisson::simtest
