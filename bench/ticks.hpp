// SPDX-License-Identifier: BSD-3-Clause
// The processor's time stamp counter as a clock for single operations.
#pragma once

#include <x86intrin.h>

#include <cstdint>

namespace caisson::bench {

// Reads the counter once every store before it is globally visible and every instruction before it
// has executed, and before anything behind it starts. Without the first, the counter is read while
// a store fence still drains the write-combining buffers, and a persisted operation looks ten times
// as fast as it can be repeated. (Intel SDM, RDTSC: MFENCE; LFENCE.) The floor and the engine are
// timed by this alike.
inline uint64_t ticks() {
  _mm_mfence();
  _mm_lfence();
  const uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}

// Counter steps in a nanosecond, measured once against CLOCK_MONOTONIC (20 ms).
double ticks_per_ns();

uint64_t monotonic_ns();

}  // namespace caisson::bench
