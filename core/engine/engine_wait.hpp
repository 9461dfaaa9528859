// SPDX-License-Identifier: BSD-3-Clause
// How an application thread waits for a poller: it spins, then gives way, then naps. It never holds
// a lock and is never woken, so pollers owe it nothing.
#pragma once

#include <cstdint>

#include "core/engine/engine_clock.hpp"

namespace caisson::engine {

inline constexpr uint64_t kNapNs = 50'000;

// Gives the processor to whoever else wants it.
void give_way();
// Sleeps for kNapNs at least; with the thread's timer slack on top.
void nap();

class Waiter {
 public:
  explicit Waiter(uint64_t deadline_ns) : deadline_ns_(deadline_ns) {}

  // One step of waiting. False: the deadline has passed.
  bool step() {
    if (++spins_ % kSpinsPerLook != 0) {
      _mm_pause();
      return true;
    }
    return rest();
  }

 private:
  static constexpr uint32_t kSpinsPerLook = 64;
  static constexpr uint64_t kSpinNs = 10'000;
  static constexpr uint64_t kGiveWayNs = 2'000'000;
  bool rest();

  const uint64_t deadline_ns_;
  uint64_t started_ns_ = 0;
  uint32_t spins_ = 0;
};

}  // namespace caisson::engine
