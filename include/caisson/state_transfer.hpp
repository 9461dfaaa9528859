// SPDX-License-Identifier: BSD-3-Clause
// How an application's state reaches a replica whose entries the others have trimmed (R26).
//
// A log forgets what it has trimmed; what those entries did is in the application's state. A
// replica that comes empty therefore needs that state before it can follow. The engine carries it,
// over the control links, from a voter that has it; the application reads it there and writes it
// here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "caisson/types.hpp"

namespace caisson {

inline constexpr uint64_t kStateBytesUnknown = UINT64_MAX;

// A state of the application, as bytes that do not change.
struct StateSnapshot {
  // Names these very bytes, as long as anybody may ask for them; not 0. Where it is the same after
  // a restart of the source, a transfer goes on where it stopped.
  uint64_t identity = 0;
  Position position;  // every entry through here is in it, and none behind
  uint64_t bytes = kStateBytesUnknown;
};

// What a target holds of a transfer that is not finished.
struct StatePart {
  StateSnapshot snapshot;  // identity 0: of none
  uint64_t bytes = 0;      // the first ones, durably
};

// Given to a log in LogOptions::state, on every replica of it. Called from one thread of the engine
// ("caisson-state"), one call at a time; never from a poller, so a call may take its time, and may
// call the log. Must not throw. An error that is returned is shown in the log's status, and the
// transfer is tried again later, with growing pauses.
class StateHook {
 public:
  virtual ~StateHook() = default;

  // ---- At a source ----

  // A snapshot at `wanted` or above. `identity` not 0: that very one, else Code::not_found. It must
  // stay readable until end_reading(), and its position must be durably applied here. not_yet: the
  // application has not got there.
  virtual Result<StateSnapshot> begin_reading(Position wanted, uint64_t identity) = 0;
  // The bytes from `offset` on. Fewer than out.size(): the snapshot ends there.
  virtual Result<size_t> read(uint64_t offset, std::span<std::byte> out) = 0;
  // Nobody has asked for a while. Not called where begin_reading() failed.
  virtual void end_reading() {}

  // ---- At a target ----

  // Up to here the state that the application durably holds reaches.
  virtual Position installed() = 0;
  virtual StatePart held() { return {}; }
  // What is held of any other snapshot is of no use any more. The present state stays as it is.
  virtual Result<void> begin_writing(const StateSnapshot& snapshot) = 0;
  // In order; the first offset is 0, or what held() said.
  virtual Result<void> write(uint64_t offset, std::span<const std::byte> bytes) = 0;
  // All of it was written: makes it the application's state, durably, whole or not at all. After an
  // ok installed() is the snapshot's position, and the log delivers from there on: subscribe behind
  // it. The engine marks it as applied.
  virtual Result<void> finish() = 0;
};

}  // namespace caisson
