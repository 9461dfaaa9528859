// SPDX-License-Identifier: BSD-3-Clause
// What endpoints tell each other, and the memory that they read and write besides the rings. Little
// endian throughout. A message that is of another version, or malformed, is refused as a whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "caisson/types.hpp"
#include "transport/cells.hpp"
#include "transport/verbs/handshake.hpp"
#include "transport/verbs/method.hpp"
#include "transport/verbs/queue_pair.hpp"

namespace caisson::transport::verbs {

// ---- Messages ----

// Memory as its owner registered it.
struct RemoteMemory {
  uint64_t at = 0;
  uint32_t key = 0;
};

// Of an endpoint to one peer's; or of a node's heartbeats to those of another one, where there is
// no ring and nothing to write, and `told` is the counter.
struct Introduction {
  Acquaintance acquaintance;
  Address address;
  uint32_t read_pair = 0;   // half of the connection for one-sided reads, both ways
  uint32_t write_pair = 0;  // half by which it writes, where it is let
  RemoteMemory ring;
  uint64_t ring_bytes = 0;
  RemoteMemory told;
  bool flushes = false;  // it can post RDMA FLUSH
};
std::vector<std::byte> encode(const Introduction& introduction);
Result<Introduction> decode_introduction(std::span<const std::byte> bytes);

// Grant::blob of this fabric.
struct VerbsGrant {
  uint64_t life = 0;     // of the endpoint that gives it
  uint64_t to_life = 0;  // … and of the one that it is for
  uint32_t pair = 0;     // half that listens to it
  uint32_t psn = 0;      // … from here on
  RemoteMemory slot;     // the writer's own
  Method method = Method::none;
};
std::vector<std::byte> encode(const VerbsGrant& grant);
Result<VerbsGrant> decode_grant(std::span<const std::byte> bytes);

// ---- Method::target_flush ----

// Immediate data of a batch's last write: where it ends, in cache lines, rounded up.
uint32_t mark_of(Offset end);
// The first offset from `from` on that has this mark.
Offset marked(uint32_t mark, Offset from);

// What a target sends back.
struct Flushed {
  uint64_t generation;  // of the grant
  uint64_t through;
  uint64_t crc;
};
Flushed flushed(uint64_t generation, Offset through);
// False: torn, or of no grant.
bool flushed(const Flushed& message, uint64_t& generation, Offset& through);

// ---- Memory ----

// Valid if its checksum holds: a reader or a cache line may catch it half way.
struct alignas(kCacheLineBytes) PromiseCell {
  uint64_t promised;
  uint64_t birth;
  uint64_t crc;
  uint64_t reserved[5];
};

struct alignas(kCacheLineBytes) PublishedCell {
  uint64_t sequence;  // of two, the later one counts
  std::array<uint64_t, kTargetCellWords> words;
  uint64_t crc;
  uint64_t reserved[6];
};

// Which part of the ring a writer may touch until it says otherwise: what of it is not persistent
// yet lies in there.
struct alignas(kCacheLineBytes) WindowCell {
  uint64_t generation;  // of the grant
  uint64_t low;
  uint64_t high;
  uint64_t crc;
  uint64_t reserved[4];
};

// Read by every peer.
struct Told {
  PromiseCell promise;
  PublishedCell published[2];
  // Of the grant that is open; 0: none is. A writer has it read behind each batch, and counts
  // nothing that it finds another value behind: an adapter acknowledges what it takes for a
  // repetition without looking at it, and what a connection that is no more has left on the wire
  // may meet one that got its number.
  alignas(kCacheLineBytes) uint64_t granted;
};
static_assert(sizeof(Told) == 384);

// One for each writer; written by it alone, and by the owner while it may not.
struct Slot {
  CommitLine commit;
  WindowCell window;
};
static_assert(sizeof(Slot) == 128);

void publish(Told& told, const TargetCell& cell);
void publish(Told& told, Term promised, uint64_t birth);
// Of a copy of it. False: torn, or never published.
bool published(const Told& told, TargetCell& cell);
bool promised(const Told& told, Term& term, uint64_t& birth);

WindowCell window_cell(uint64_t generation, Offset low, Offset high);
// False: torn, or of no grant.
bool window(const WindowCell& cell, uint64_t& generation, Offset& low, Offset& high);

}  // namespace caisson::transport::verbs
