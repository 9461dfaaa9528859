// SPDX-License-Identifier: BSD-3-Clause
// What was displaced (R15): entries that a replica held, and the log went on without. They are kept
// in the replica's salvage area, as they were, until somebody resubmits or discards them. Each is
// listed once, by the replica that held it; a replica that goes on with the log never merges them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "caisson/types.hpp"

namespace caisson {

// Whether the log holds an orphan nevertheless: its client may have appended it again.
enum class OrphanFate : uint8_t {
  absent,    // the log holds nothing under its identity
  present,   // the log holds the same bytes of this client under this sequence number, at `again`
  replaced,  // the log holds other bytes under its identity, at `again`
  unknown,   // cannot be told here: too long ago, its stream began anew, it is not deduplicated, or
             // what the log holds of it is not committed yet
};

struct OrphanEntry {
  Position position;  // where it stood; the log may hold another entry there now
  Term term;          // of the leader that sealed it
  bool data = true;   // false: an entry of caisson's own, of use to nobody
  bool batch_end = true;
  EntryIdentity identity;
  uint32_t payload_bytes = 0;
  OrphanFate fate = OrphanFate::unknown;
  Position again;                  // where fate is present or replaced
  std::vector<std::byte> payload;  // if asked for
  bool operator==(const OrphanEntry&) const = default;
};

// A run of entries that were displaced together.
struct OrphanRecord {
  uint64_t id = 0;  // of this replica's log; never used again
  Position before;  // the entries follow on it
  Term sealed_by;   // the term whose leader displaced them
  uint64_t ring_bytes = 0;
  bool damaged = false;  // what follows the last entry listed cannot be read any more
  std::vector<OrphanEntry> entries;
  bool operator==(const OrphanRecord&) const = default;
};

enum class OrphanPayloads : uint8_t { left_out, copied };

struct Orphans {
  std::vector<OrphanRecord> records;  // ascending by id
  uint64_t area_bytes = 0;            // the salvage area
  uint64_t room_bytes = 0;            // the longest run that it still takes
  bool full = false;  // a run did not fit, and this replica follows nobody until there is room
  bool operator==(const Orphans&) const = default;
};

}  // namespace caisson
