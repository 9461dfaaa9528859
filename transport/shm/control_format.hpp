// SPDX-License-Identifier: BSD-3-Clause
// The shared cells in the control area of a region file; explained in docs/format-region.md.
// Written and read by several processes at once, word by word; valid only within one boot of the
// machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "caisson/types.hpp"
#include "pmem/process_identity.hpp"
#include "pmem/region_format.hpp"
#include "transport/cells.hpp"

namespace caisson::transport::shm {

inline constexpr uint64_t kControlMagic = 0x316d6873736961;  // "aisshm1", little endian
inline constexpr size_t kWriters = 64;
static_assert(kWriters == kReplicaIdMax + 1);

// Written by the owner when it opens the region.
struct alignas(64) ControlHeader {
  uint64_t magic;
  // 1: the owner's revocations make every registered writer fence, so that a light fence will do on
  // the writer's side (P6). 0: writers fence themselves.
  uint64_t revoker_fences;
  uint64_t reserved[6];
};

// The mark of a revocation.
struct alignas(64) GrantLine {
  uint64_t open;  // generation of the grant that is open, 0 = none
  uint64_t last;  // generation of the newest grant ever given
  uint64_t reserved[6];
};

struct alignas(64) PromiseLine {
  uint64_t promised;
  uint64_t birth;  // of this region, see log::Membership
  uint64_t reserved[6];
};

// What the target publishes about itself: written to value[(sequence + 1) % 2], then counted up. A
// reader that finds the sequence unchanged after copying value[sequence % 2] has a whole one, and a
// publisher that dies half way leaves the previous one readable.
struct alignas(64) PublishedLine {
  uint64_t sequence;  // 0: nothing published yet
  uint64_t reserved[7];
  uint64_t value[2][kTargetCellWords];
};
static_assert(sizeof(PublishedLine) == 192);

// One per writer, by its ReplicaId; stored by that writer's one live process only, except that the
// owner clears `allowance` while no grant is open.
struct alignas(64) WriterLine {
  uint64_t allowance;  // see Allowance
  uint64_t
      drained_through;  // manifest generation that the writer's mapping follows, no store pending
  pmem::ProcessIdentity process;
  uint64_t thread;  // see StoringThread; 0: not told
};
static_assert(sizeof(WriterLine) == 64);

struct Control {
  ControlHeader header;
  GrantLine grant;
  PromiseLine promise;
  PublishedLine published;
  struct Writer {
    WriterLine line;
    CommitLine commit;
  } writers[kWriters];
};
static_assert(sizeof(Control) == 384 + kWriters * 128);
static_assert(sizeof(Control) <= pmem::kControlBytes);
static_assert(offsetof(Control, grant) == 64);
static_assert(offsetof(Control, published) == 192);
static_assert(offsetof(Control, writers) == 384);

// Segments of the ring that a writer may store to (P5), in one word, so that it is never torn: a
// revoker that meets a writer half way through publishing sees the old allowance or the new one.
struct Allowance {
  uint32_t first = 0;  // segment of the ring
  uint32_t count = 0;  // 0 = none
  static constexpr Allowance unpack(uint64_t word) {
    return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)};
  }
  constexpr uint64_t pack() const { return uint64_t{first} | uint64_t{count} << 32; }
};

// The one thread whose stores an allowance is for, with its process: a writer that knows nothing of
// this word leaves that of another process in it.
struct StoringThread {
  uint32_t process = 0;
  uint32_t number = 0;
  static constexpr StoringThread unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
  }
  constexpr uint64_t pack() const { return uint64_t{process} << 32 | number; }
};

// Grant::blob of this fabric.
struct GrantBlob {
  uint64_t magic;  // kControlMagic
  std::array<uint8_t, 16> uuid;
  uint64_t manifest_generation;  // the writer's mapping must show at least this one
  uint64_t ring_bytes;
  uint64_t segment_bytes;
};
static_assert(sizeof(GrantBlob) == 48);

}  // namespace caisson::transport::shm
