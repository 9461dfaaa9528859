// SPDX-License-Identifier: BSD-3-Clause
// A node's post file: a bell, and a page for each peer that may write to this node; explained in
// docs/format-region.md. Valid only while the node runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "caisson/types.hpp"

namespace caisson::transport::shm {

inline constexpr uint64_t kPostboxMagic = 0x31736f7068736961;  // "aishpos1", little endian
inline constexpr uint64_t kPostSlotBytes = 4096;

struct PostSlot {
  alignas(64) uint64_t posted;  // counted by the sender, last
  uint64_t bytes;               // of the message that lies here
  alignas(64) uint64_t taken;   // by the owner: `posted`, once it has been copied out
  alignas(64) std::byte message[kPostSlotBytes - 128];
};
static_assert(sizeof(PostSlot) == kPostSlotBytes);
inline constexpr size_t kPostBytesMax = sizeof(PostSlot::message);

struct PostFile {
  alignas(kPostSlotBytes) uint64_t magic;
  alignas(64) uint64_t bell;                                  // bit i: replica i has posted
  alignas(kPostSlotBytes) PostSlot slots[kReplicaIdMax + 1];  // by sender
};
static_assert(offsetof(PostFile, bell) == 64);
static_assert(offsetof(PostFile, slots) == kPostSlotBytes);
static_assert(sizeof(PostFile) == (kReplicaIdMax + 2) * kPostSlotBytes);

}  // namespace caisson::transport::shm
