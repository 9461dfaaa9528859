// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_wait.hpp"

#include <sched.h>
#include <time.h>

#include <algorithm>

namespace caisson::engine {

namespace {

void sleep_ns(uint64_t ns) {
  const timespec ts{0, static_cast<long>(ns)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, nullptr);
}

}  // namespace

void give_way() { sched_yield(); }

void nap() { sleep_ns(kNapNs); }

bool Waiter::rest() {
  const uint64_t now = Clock::instance().now_ns();
  if (now >= deadline_ns_) return false;
  if (started_ns_ == 0) started_ns_ = now;
  const uint64_t waited = now - started_ns_;
  if (waited < kSpinNs) return true;
  if (waited < kGiveWayNs) {
    give_way();
  } else {
    sleep_ns(std::min(kNapNs, deadline_ns_ - now));
  }
  // From here on every step looks at the clock: a step is no longer a few nanoseconds.
  spins_ = kSpinsPerLook - 1;
  return true;
}

}  // namespace caisson::engine
