// SPDX-License-Identifier: BSD-3-Clause
// What this library asks of the kernel's scheduler for the threads that are its own.
#pragma once

#include <pthread.h>

#include <cstdint>

namespace caisson::engine {

// For the calling thread: where it shares a processor with others that never sleep, it wants its
// turns often, and short. Linux 6.12 and later take the wish (sched_setattr(2), sched_runtime of an
// ordinary thread); earlier kernels ignore it. Costs nothing where a thread has a processor alone.
void prefer_short_turns();

// Gives `thread` a real-time priority (SCHED_FIFO, 1 to 99). Returns an errno; EPERM: it needs the
// right to, RLIMIT_RTPRIO or CAP_SYS_NICE.
int set_priority(pthread_t thread, uint32_t priority);

// Whether threads of this process may have one: tried on the calling thread, which is an ordinary
// one before and after.
bool priority_allowed();

}  // namespace caisson::engine
