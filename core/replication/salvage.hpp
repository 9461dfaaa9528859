// SPDX-License-Identifier: BSD-3-Clause
// The salvage area: divergent suffixes, moved aside before a new leader overwrites them (P15), and
// kept until they are discarded (R15).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/ring.hpp"
#include "core/replication/salvage_format.hpp"
#include "pmem/region.hpp"

namespace caisson::replication {

struct SalvageRecord {
  SalvageSlot slot{};
  bool damaged = false;              // the slot does not hold together, and nothing else is known
  std::span<const std::byte> bytes;  // in the area; good until the record is discarded
  log::Cursor before() const {
    return {Position{slot.before_position}, Offset{slot.offset}, Term{slot.before_term},
            slot.before_chain};
  }
  Offset end() const { return Offset{slot.offset + slot.bytes}; }
};

// What an area holds, ascending by id. Any bytes are read without harm.
std::vector<SalvageRecord> read_salvage(std::span<const std::byte> area);

// The area of a region that is open for writing. Keeping and discarding are each atomic and
// persistent on return, and may be cut anywhere and repeated (R16).
class SalvageArea {
 public:
  explicit SalvageArea(pmem::Region& region);

  const std::vector<SalvageRecord>& records() const { return records_; }
  const SalvageRecord* find(uint64_t id) const;

  // Keeps the ring bytes [keep.end, end), entries that follow on `keep`. What a record holds
  // already is not kept twice. Returns how many bytes were new. no_space: some of it does not fit;
  // nothing was kept.
  Result<uint64_t> keep(const log::Ring& ring, const log::Cursor& keep, Offset end, Term sealed_by);

  // not_found: there is no such record, or no more.
  [[nodiscard]] Code discard(uint64_t id);

  uint64_t kept_bytes() const;
  uint64_t room_bytes() const;         // the longest run of bytes that still fits
  bool full() const { return full_; }  // the last keep() found no room, and nothing was freed since

 private:
  struct Run {
    log::Cursor before;
    Offset end;
    uint64_t at = 0;
  };
  struct Extent {
    uint64_t at = 0;
    uint64_t bytes = 0;
  };
  std::vector<Run> missing(const log::Ring& ring, log::Cursor from, Offset end) const;
  const SalvageRecord* holder(const log::Ring& ring, Offset at) const;
  std::vector<Extent> free_extents() const;
  std::vector<uint32_t> free_slots() const;
  void store(uint32_t index, SalvageSlot slot);

  pmem::Region& region_;
  std::vector<SalvageRecord> records_;
  bool full_ = false;
};

}  // namespace caisson::replication
