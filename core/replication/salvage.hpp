// SPDX-License-Identifier: BSD-3-Clause
// The salvage area: divergent suffixes, moved aside before a new leader overwrites them (P15, R15).
// Records lie one behind another, each a header and the ring bytes as they were.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/ring.hpp"
#include "pmem/region.hpp"

namespace caisson::replication {

inline constexpr uint32_t kSalvageMagic = 0x47415653;  // "SVAG"

struct SalvageHeader {
  uint32_t magic;
  uint32_t crc;              // crc32c over the bytes behind this field, and over the payload
  uint64_t bytes;            // of ring bytes that follow
  uint64_t offset;           // where they stood
  uint64_t before_position;  // the cursor that the first entry continues
  uint64_t before_term;
  uint32_t before_chain;
  uint32_t reserved;
  uint64_t sealed_by;  // the term whose leader displaced them
  uint64_t reserved1;
};
static_assert(sizeof(SalvageHeader) == 64);

// Appends the ring bytes [keep.end, end) to the first `used` bytes of the area and persists them.
// Storing the same suffix again finds it already there (idempotent). Returns the bytes then used.
// Code::no_space: it does not fit; nothing was lost, the ring is untouched.
Result<uint64_t> salvage(pmem::Region& region, const log::Ring& ring, uint64_t used,
                         const log::Cursor& keep, Offset end, Term sealed_by);

struct SalvageRecord {
  SalvageHeader header;
  std::span<const std::byte> bytes;
};
// What the first `used` bytes hold. Code::damaged: a record is not whole.
Result<std::vector<SalvageRecord>> list_salvage(std::span<const std::byte> area, uint64_t used);

}  // namespace caisson::replication
