// SPDX-License-Identifier: BSD-3-Clause
// Reading a ring: where an offset lies, and whether the entry there continues a chain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "caisson/types.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::log {

// Where a log stands after some entry: everything needed to judge, or to build, the next one.
struct Cursor {
  Position position;   // of the last entry
  Offset end;          // first byte behind it
  Term term;           // of the last entry
  uint32_t chain = 0;  // its chain value
  bool operator==(const Cursor&) const = default;
};

// The cursor before position 1.
inline Cursor origin(const LogIdentity& identity) {
  return Cursor{Position{0}, Offset{0}, Term{0}, chain_seed(identity)};
}

// A doubly mapped ring (see pmem::Region::ring_data). Does not own the memory.
class Ring {
 public:
  Ring() = default;
  // ring_bytes: a power of two.
  Ring(const std::byte* base, uint64_t ring_bytes) : base_(base), mask_(ring_bytes - 1) {}
  const std::byte* at(Offset offset) const { return base_ + (offset.value & mask_); }
  uint64_t bytes() const { return mask_ + 1; }

 private:
  const std::byte* base_ = nullptr;
  uint64_t mask_ = 0;
};

// Why the entry at a cursor's end does not continue the chain.
enum class Break : uint8_t {
  none,        // it does continue it
  window,      // it would leave the bytes the caller allowed
  blank,       // the header's line is all zero: nothing was ever written here
  header,      // the header's checksum does not hold, or its format is unknown
  position,    // a sound header of another position or offset: previous lap, or leftover
  term_order,  // a sound header whose term is older than the entry before it
  chain,       // a sound header for this place, but header or payload do not continue this chain
};
std::string_view name(Break reason);

struct Step {
  Break reason = Break::none;
  EntryHeader header;        // as read; not set where reason is window before it could be read
  uint32_t payload_crc = 0;  // valid where reason is none or chain
  Cursor next{};             // valid where reason == none
};

// Judges the entry at cursor.end. Reads nothing at or beyond `window_end`.
Step step(const Ring& ring, const Cursor& cursor, Offset window_end);

// The payload of an entry whose header was judged sound at `at`.
inline std::span<const std::byte> payload(const Ring& ring, Offset at, const EntryHeader& header) {
  return {ring.at(at + kHeaderBytes), header.payload_bytes};
}

}  // namespace caisson::log
