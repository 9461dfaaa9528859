// SPDX-License-Identifier: BSD-3-Clause
// A value kept in two slots, A and B, so that a cut in the middle of writing one leaves the other.
//
// A slot is a SlotHeader and a payload. Its checksum covers both, the generation included, and the
// generation is stored last, in one 8-byte store: until then the slot does not verify, and the
// other slot is the newest valid one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "caisson/types.hpp"
#include "pmem/region.hpp"

namespace caisson::pmem {

inline constexpr uint32_t kRegionFormat = 1;

enum class SlotKind : uint32_t { superblock = 1, identity = 2, manifest = 3, state = 4 };

struct SlotHeader {
  uint64_t generation;  // 0: never written
  uint64_t magic;       // kSlotMagic
  uint32_t format;      // kRegionFormat of the writer
  uint32_t kind;        // SlotKind
  uint32_t payload_bytes;
  uint32_t crc;          // of the header with crc = 0, then of the payload
  uint64_t reserved[4];  // 0
};
static_assert(sizeof(SlotHeader) == 64);
static_assert(offsetof(SlotHeader, generation) == 0, "flipped by one aligned 8-byte store");
static_assert(offsetof(SlotHeader, magic) == 8);
static_assert(offsetof(SlotHeader, format) == 16);
static_assert(offsetof(SlotHeader, payload_bytes) == 24);
static_assert(offsetof(SlotHeader, crc) == 28);

inline constexpr uint64_t kSlotMagic = 0x31544f4c53534943;  // "CISSLOT1", little endian

struct SlotView {
  uint64_t generation = 0;
  std::span<const std::byte> payload;  // points into the slot
};

// Checks hostile bytes. Code::damaged if they are no slot of this kind, or torn;
// Code::wrong_version if they verify but were written by a newer format.
Result<SlotView> decode_slot(std::span<const std::byte> slot, SlotKind kind);

// Where slots live: bytes that are stored and persisted by ranges.
class SlotMedium {
 public:
  virtual ~SlotMedium() = default;
  virtual std::span<const std::byte> bytes(uint64_t at, uint64_t n) const = 0;
  virtual void store(uint64_t at, const void* source, size_t n) = 0;
  virtual void persist(uint64_t at, uint64_t n) = 0;
};

class AbSlots {
 public:
  // Slot A at `at`, slot B right behind it.
  constexpr AbSlots(SlotKind kind, uint64_t at, uint64_t slot_bytes)
      : kind_(kind), at_(at), slot_bytes_(slot_bytes) {}

  uint64_t payload_bytes_max() const { return slot_bytes_ - sizeof(SlotHeader); }

  // The newest valid slot. Code::wrong_version if either slot is of a newer format, whatever the
  // other says; Code::amnesia if neither is valid (P17).
  Result<SlotView> read(const SlotMedium& medium) const;

  // Writes and persists `payload` in the slot that is not the newest, or in both, one after the
  // other. Returns the newest generation. Code::too_large if it does not fit: nothing is changed.
  Result<uint64_t> write(SlotMedium& medium, std::span<const std::byte> payload,
                         Region::Slots slots) const;

 private:
  std::span<const std::byte> slot(const SlotMedium& medium, unsigned index) const {
    return medium.bytes(at_ + index * slot_bytes_, slot_bytes_);
  }
  void write_one(SlotMedium& medium, unsigned index, uint64_t generation,
                 std::span<const std::byte> payload) const;

  SlotKind kind_;
  uint64_t at_;
  uint64_t slot_bytes_;
};

}  // namespace caisson::pmem
