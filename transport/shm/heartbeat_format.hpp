// SPDX-License-Identifier: BSD-3-Clause
// A node's heartbeat file: one page that its peers map read-only; explained in
// docs/format-region.md.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

#include "pmem/process_identity.hpp"

namespace caisson::transport::shm {

inline constexpr uint64_t kHeartbeatMagic = 0x3174616568736961;  // "aisheat1", little endian
inline constexpr uint64_t kHeartbeatFileBytes = 4096;

struct alignas(64) HeartbeatHead {
  uint64_t magic;
  pmem::ProcessIdentity process;  // of the node
  uint64_t left;                  // 1: the node has said goodbye
  uint64_t reserved;
};
static_assert(sizeof(HeartbeatHead) == 64);

struct alignas(64) HeartbeatCounter {
  uint64_t counter;  // goes on counting over restarts
  uint64_t reserved[7];
};

// A robust mutex that the poller's thread holds for as long as it lives. When the thread dies, of
// whatever cause, the kernel sets FUTEX_OWNER_DIED in the mutex's first word, before it tears the
// address space down.
struct alignas(64) HeartbeatDeath {
  pthread_mutex_t mutex;
};

struct HeartbeatPage {
  HeartbeatHead head;
  HeartbeatCounter beat;
  HeartbeatDeath death;
};
static_assert(sizeof(HeartbeatPage) <= kHeartbeatFileBytes);
static_assert(offsetof(HeartbeatPage, beat) == 64);
static_assert(offsetof(HeartbeatPage, death) == 128);

}  // namespace caisson::transport::shm
