// SPDX-License-Identifier: BSD-3-Clause
// Payload of a checkpoint entry: a part of the stream table, as it is at that place of the log, so
// that what lies before may be trimmed (R30). A checkpoint is a batch of such entries.
#pragma once

#include <cstdint>

namespace caisson::log {

// The latest entries of a stream that a checkpoint remembers, one by one. Of older ones it is known
// only that they were appended.
inline constexpr uint32_t kCarriedSlots = 8;

struct CheckpointHeader {
  uint32_t part;     // 0, 1, …
  uint32_t streams;  // that many follow
  uint32_t floor;    // no incarnation above it was ever forgotten
  uint32_t reserved;
};
static_assert(sizeof(CheckpointHeader) == 16);

struct CarriedStream {
  uint64_t client;
  uint64_t last_sequence;
  uint64_t base;  // what the sequences of this incarnation follow on
  uint32_t incarnation;
  uint32_t slots;  // that many CarriedSlot follow, oldest first
};
static_assert(sizeof(CarriedStream) == 32);

struct CarriedSlot {
  uint64_t sequence;
  uint64_t position;
  uint32_t incarnation;
  uint32_t payload_crc;
};
static_assert(sizeof(CarriedSlot) == 24);

}  // namespace caisson::log
