// SPDX-License-Identifier: BSD-3-Clause
// How threads wait. An application thread that waits for a poller spins, then gives way, then naps:
// it never holds a lock and is never woken, so pollers owe it nothing. A poller sleeps in a bed.
#pragma once

#include <atomic>
#include <cstdint>

#include "caisson/types.hpp"
#include "core/engine/engine_clock.hpp"

namespace caisson::engine {

inline constexpr uint64_t kNapNs = 50'000;

// Gives the processor to whoever else wants it.
void give_way();
// Sleeps for kNapNs at least; with the thread's timer slack on top.
void nap();

// Where one thread sleeps, until it is woken or time is up.
class Bed {
 public:
  // Sleeps only if still_tired() holds once the bed is seen to be occupied: whoever changes what
  // that looks at (sequentially consistent), and then calls wake(), is never slept through.
  template <class StillTired>
  void sleep(uint64_t ns, StillTired&& still_tired) {
    occupied_.store(1, std::memory_order_seq_cst);
    if (still_tired()) doze(ns);
    occupied_.store(0, std::memory_order_relaxed);
  }
  // [any thread] One load if nobody sleeps.
  void wake() {
    if (occupied_.load(std::memory_order_seq_cst) != 0) rouse();
  }

 private:
  void doze(uint64_t ns);
  void rouse();
  alignas(kCacheLineBytes) std::atomic<uint32_t> occupied_{0};
};

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
  static constexpr uint64_t kGiveWayNs = 100'000;
  bool rest();

  const uint64_t deadline_ns_;
  uint64_t started_ns_ = 0;
  uint32_t spins_ = 0;
};

}  // namespace caisson::engine
