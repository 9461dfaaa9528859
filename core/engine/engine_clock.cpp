// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_clock.hpp"

#include <cpuid.h>
#include <time.h>

namespace caisson::engine {

namespace {

struct Sample {
  uint64_t ticks = 0;
  uint64_t ns = 0;
};

bool counter_is_invariant() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1u << 8)) != 0;
}

uint64_t monotonic_ns() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
}

// The tightest of several pairs: a preemption between the two readings would bend the ratio.
Sample sample() {
  Sample best;
  uint64_t best_width = UINT64_MAX;
  for (int i = 0; i < 16; ++i) {
    const uint64_t before = __rdtsc();
    const uint64_t ns = monotonic_ns();
    const uint64_t width = __rdtsc() - before;
    if (width >= best_width) continue;
    best_width = width;
    best = {before + width / 2, ns};
  }
  return best;
}

constexpr uint64_t kCalibrationNs = 4'000'000;

}  // namespace

const Clock& Clock::instance() {
  static const Clock clock;
  return clock;
}

uint64_t Clock::kernel_now_ns() { return monotonic_ns(); }

Clock::Clock() : invariant_(counter_is_invariant()) {
  if (!invariant_) return;
  const Sample first = sample();
  while (monotonic_ns() - first.ns < kCalibrationNs) _mm_pause();
  const Sample last = sample();
  if (last.ticks <= first.ticks || last.ns <= first.ns) {
    invariant_ = false;
    return;
  }
  ratio_ = static_cast<uint64_t>((static_cast<unsigned __int128>(last.ns - first.ns) << 32) /
                                 (last.ticks - first.ticks));
  base_ticks_ = last.ticks;
  base_ns_ = last.ns;
}

}  // namespace caisson::engine
