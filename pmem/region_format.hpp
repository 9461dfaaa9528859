// SPDX-License-Identifier: BSD-3-Clause
// Media layout of a region file; explained in docs/format-region.md. Little endian, fixed width.
//
//   superblock A/B | identity A/B | owner | control | manifest A/B | salvage | segment slots …
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "pmem/ab_slots.hpp"
#include "pmem/process_identity.hpp"
#include "pmem/region.hpp"

namespace caisson::pmem {

static_assert(std::endian::native == std::endian::little, "layouts are little endian");

inline constexpr uint64_t kPageBytes = 4096;

inline constexpr uint64_t kSuperblockAt = 0;
inline constexpr uint64_t kSuperblockSlotBytes = 4096;
static_assert(kSuperblockPayloadBytesMax <= kSuperblockSlotBytes - sizeof(SlotHeader));

inline constexpr uint64_t kIdentityAt = kSuperblockAt + 2 * kSuperblockSlotBytes;
inline constexpr uint64_t kIdentitySlotBytes = 4096;

// Who runs this replica; written under the owner's lock, read for messages (P7).
inline constexpr uint64_t kOwnerAt = kIdentityAt + 2 * kIdentitySlotBytes;
inline constexpr uint64_t kOwnerBytes = 4096;

// Cells shared with the processes of peers: never trusted as persistent data.
inline constexpr uint64_t kControlAt = kOwnerAt + kOwnerBytes;
inline constexpr uint64_t kControlBytes = 16384;

inline constexpr uint64_t kManifestAt = kControlAt + kControlBytes;
static_assert(kManifestAt == 36864);

inline constexpr uint64_t kSegmentBytesMin = 64 * 1024;
// devdax devices are mapped in these units; their segments are no smaller.
inline constexpr uint64_t kDeviceAlignBytes = 2 * 1024 * 1024;
static_assert(kDeviceAlignBytes % kSegmentBytesMin == 0);

inline constexpr uint64_t kRingBytesMax = uint64_t{1} << 40;

// Vacated slots that wait for the proof that their last writer stores no more.
inline constexpr uint64_t kTaintedSlotsMax = 512;

// Payload of the identity slots: constant for the life of the region.
struct RegionIdentity {
  std::array<uint8_t, 16> uuid;  // random; a file recreated under the same name has another
  uint64_t ring_bytes;           // a power of two
  uint64_t segment_bytes;        // a power of two
  uint64_t salvage_bytes;
  uint64_t reserved[3];  // 0
};
static_assert(sizeof(RegionIdentity) == 64);
static_assert(offsetof(RegionIdentity, ring_bytes) == 16);
static_assert(offsetof(RegionIdentity, salvage_bytes) == 32);

struct OwnerRecord {
  ProcessIdentity process;
  uint32_t crc;  // of `process`
  uint32_t reserved;
};
static_assert(sizeof(OwnerRecord) == 48);
static_assert(offsetof(OwnerRecord, crc) == 40);

// Payload of a manifest slot: ManifestHeader, then `segments` x uint32_t (slot of each ring
// segment), then, from the next multiple of 8, `tainted` x TaintedSlot.
struct ManifestHeader {
  uint32_t segments;
  uint32_t tainted;
};
static_assert(sizeof(ManifestHeader) == 8);

struct TaintedSlot {
  uint32_t slot;
  uint32_t reserved;
  uint64_t vacated_by;     // generation of the manifest that took the slot out of the ring
  ProcessIdentity writer;  // may still store there
};
static_assert(sizeof(TaintedSlot) == 56);
static_assert(offsetof(TaintedSlot, vacated_by) == 8);
static_assert(offsetof(TaintedSlot, writer) == 16);

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Offsets that depend on the geometry.
struct RegionLayout {
  uint64_t segments;
  uint64_t manifest_slot_bytes;
  uint64_t salvage_at;
  uint64_t slots_at;  // segment slot i begins at slots_at + i * segment_bytes

  explicit constexpr RegionLayout(const Geometry& geometry)
      : segments(geometry.ring_bytes / geometry.segment_bytes),
        manifest_slot_bytes(round_up(sizeof(SlotHeader) + sizeof(ManifestHeader) +
                                         round_up(segments * sizeof(uint32_t), 8) +
                                         kTaintedSlotsMax * sizeof(TaintedSlot),
                                     kPageBytes)),
        salvage_at(kManifestAt + 2 * manifest_slot_bytes),
        slots_at(round_up(salvage_at + geometry.salvage_bytes, geometry.segment_bytes)) {}
};

// Null if the geometry can be laid out, else what is wrong with it and what would do.
const char* geometry_fault(const Geometry& geometry);

}  // namespace caisson::pmem
