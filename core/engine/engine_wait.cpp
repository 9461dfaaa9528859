// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_wait.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace caisson::engine {

namespace {

void sleep_ns(uint64_t ns) {
  const timespec ts{0, static_cast<long>(ns)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, nullptr);
}

}  // namespace

void Bed::doze(uint64_t ns) {
  const timespec ts{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  syscall(SYS_futex, &occupied_, FUTEX_WAIT_PRIVATE, 1, &ts, nullptr, 0);
}

void Bed::rouse() {
  if (occupied_.exchange(0, std::memory_order_seq_cst) == 0) return;
  syscall(SYS_futex, &occupied_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

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
