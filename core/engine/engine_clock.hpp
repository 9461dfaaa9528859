// SPDX-License-Identifier: BSD-3-Clause
// Monotonic nanoseconds for pollers: the time stamp counter where it is invariant, else the
// kernel's clock. Both are read without a system call. Clocks touch liveness only (R21), so a drift
// against other clocks of some parts per million does not matter.
#pragma once

#include <x86intrin.h>

#include <cstdint>

namespace caisson::engine {

class Clock {
 public:
  // The process's clock; calibrated at the first call, which takes a few milliseconds.
  static const Clock& instance();

  uint64_t now_ns() const {
    if (!invariant_) return kernel_now_ns();
    const uint64_t ticks = __rdtsc() - base_ticks_;
    return base_ns_ + static_cast<uint64_t>((static_cast<unsigned __int128>(ticks) * ratio_) >> 32);
  }

  // The instant `timeout_ns` from now; UINT64_MAX stays "never".
  uint64_t deadline_ns(uint64_t timeout_ns) const {
    if (timeout_ns == UINT64_MAX) return UINT64_MAX;
    const uint64_t now = now_ns();
    return timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
  }

  bool invariant() const { return invariant_; }

 private:
  Clock();
  static uint64_t kernel_now_ns();

  bool invariant_ = false;
  uint64_t base_ticks_ = 0;
  uint64_t base_ns_ = 0;
  uint64_t ratio_ = 0;  // nanoseconds per tick, 32.32 fixed point
};

}  // namespace caisson::engine
