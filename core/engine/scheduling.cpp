// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/scheduling.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace caisson::engine {

namespace {

constexpr uint64_t kTurnNs = 100'000;  // the least that the kernel takes

// struct sched_attr of linux/sched/types.h, which cannot be included beside <sched.h>.
struct SchedulerAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns;
  uint64_t deadline_ns;
  uint64_t period_ns;
};
static_assert(sizeof(SchedulerAttributes) == 48);

constexpr uint32_t kPolicyNormal = 0;

}  // namespace

void prefer_short_turns() {
  SchedulerAttributes attributes{};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != kPolicyNormal) return;  // somebody chose another one: it stands
  attributes.size = sizeof attributes;
  attributes.runtime_ns = kTurnNs;
  // A wish: without it everything works, later.
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int set_priority(pthread_t thread, uint32_t priority) {
  sched_param parameter{};
  parameter.sched_priority = static_cast<int>(priority);
  return pthread_setschedparam(thread, SCHED_FIFO, &parameter);
}

bool priority_allowed() {
  const sched_param ordinary{};
  return set_priority(pthread_self(), 1) == 0 &&
         pthread_setschedparam(pthread_self(), SCHED_OTHER, &ordinary) == 0;
}

}  // namespace caisson::engine
