// SPDX-License-Identifier: BSD-3-Clause
// One persistent region: the only way bytes become persistent (R38).
//
// A region holds, besides its ring, two superblock slots and a salvage area. It knows no log: the
// superblock is an opaque payload, the ring is bytes. Implementations: FileRegion (plain files,
// fsdax, devdax) and ShadowRegion (the power-cut model of tests).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::pmem {

struct Geometry {
  uint64_t ring_bytes = 0;     // a multiple of segment_bytes
  uint64_t segment_bytes = 0;  // unit of re-homing (P5); a multiple of 4096
  uint64_t salvage_bytes = 0;  // room for divergent suffixes (P15); a multiple of 4096
  bool operator==(const Geometry&) const = default;
};

struct Poison {
  uint64_t pages = 0;  // met so far
  uint64_t at = 0;     // byte of the region's file or device at which the first of them begins
};

inline constexpr size_t kSuperblockPayloadBytesMax = 3968;

// Thread: one owner thread at a time for everything that writes; ring_data() may be read by any
// thread of the owning process.
class Region {
 public:
  virtual ~Region() = default;

  virtual const Geometry& geometry() const = 0;
  virtual Persistence persistence() const = 0;

  // The ring, mapped twice in a row: bytes [0, 2 * ring_bytes) where the second half mirrors the
  // first, so that an entry is contiguous across the wrap (R6). The address never changes while the
  // region is open, whatever is re-homed beneath it.
  virtual std::byte* ring_data() const = 0;

  // Stores into the ring at logical offset `at` (taken modulo ring_bytes). Visible to this process
  // on return, persistent only after a persist_ring() that covers it. n <= ring_bytes.
  virtual void store_ring(Offset at, const void* source, size_t n) = 0;

  // On return every byte of [at, at + n) that was visible before the call is persistent.
  virtual void persist_ring(Offset at, uint64_t n) = 0;

  // The newest valid superblock payload. Code::amnesia if no slot is valid (P17).
  virtual Result<std::vector<std::byte>> read_superblock() const = 0;

  // Persists `payload` as the newest superblock. `both` writes and persists the two slots one after
  // the other, so that the loss of either leaves the same content (P2, H14); otherwise only the
  // older slot is replaced. On failure the old superblock is still there.
  enum class Slots : uint8_t { one, both };
  [[nodiscard]] virtual Code write_superblock(std::span<const std::byte> payload, Slots slots) = 0;

  // The salvage area: salvage_bytes plain bytes, persisted by persist_salvage.
  virtual std::span<const std::byte> salvage() const = 0;
  virtual void store_salvage(uint64_t at, const void* source, size_t n) = 0;
  virtual void persist_salvage(uint64_t at, uint64_t n) = 0;

  // A page of the region could not be had when somebody touched it, and a page of zeros stands in
  // for it in this process: nothing that the region holds may be believed or counted any more
  // (R44). On the thread that touched it this is known at once. Never goes back. [any thread]
  virtual bool poisoned() const = 0;
  // What is known of that. Owner thread.
  virtual Poison poison() const = 0;
};

}  // namespace caisson::pmem
