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
  uint32_t slots;      // that many CarriedSlot follow, oldest first
  uint32_t apologies;  // … and then that many CarriedApology
  uint32_t reserved;
};
static_assert(sizeof(CarriedStream) == 40);

struct CarriedSlot {
  uint64_t sequence;
  uint64_t position;
  uint32_t incarnation;
  uint32_t payload_crc;
};
static_assert(sizeof(CarriedSlot) == 24);

// Sequences of an incarnation that were acknowledged and are not in the log (R13). They wait until
// the client has taken them.
inline constexpr uint32_t kApologiesMax = 8;  // of one client
struct CarriedApology {
  uint64_t first_sequence;
  uint64_t last_sequence;
  uint64_t position;  // of the session in which it was noted
  uint32_t incarnation;
  uint32_t reserved;
};
static_assert(sizeof(CarriedApology) == 32);

}  // namespace caisson::log
