// SPDX-License-Identifier: BSD-3-Clause
// What a log replica keeps in its region's superblock; explained in docs/format.md. The slot around
// it (magic, generation, checksum) belongs to pmem.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "caisson/types.hpp"
#include "core/log/ring.hpp"
#include "core/log/view_format.hpp"

namespace caisson::log {

inline constexpr uint32_t kSuperblockMagic = 0x474c5343;  // "CSLG"
inline constexpr uint16_t kSuperblockVersion = 2;

// The last time that a quorum was given up (R43): the entry at `position` names the view by which
// the survivor went on. What was acknowledged from `loss_from` on, and is not in its log below that
// entry, is lost. View 0: never.
struct Recovered {
  View view;
  Position loss_from;
  Position position;
  bool operator==(const Recovered&) const = default;
};

// Of a replica that no repair makes sound: its memory was poisoned (R44).
inline constexpr Position kDamagedForGood{UINT64_MAX};
// The last grant that a standby gave, and where its log ended then. Until an entry of that term is
// held, what stands behind may be an older leader's leftovers (P26), and is no ground to take over
// upon.
struct Granted {
  Term term;
  Position behind;
  bool operator==(const Granted&) const = default;
};

struct Superblock {
  LogIdentity identity;
  ReplicaId replica;
  uint64_t ring_bytes = 0;
  Incarnation incarnation;
  Term promised;
  uint64_t promise_nonce = 0;  // of the candidate promised to: tells a retry from a rival (P3)
  uint64_t birth = 0;          // under which this region was, or will be, admitted
  Cursor trim;                 // the first entry held follows this cursor
  Membership membership;       // in force at `trim`; later views are entries of the log
  Position view_position;      // of the entry that named it; 0: none that was ever held here
  Cursor validated;            // a scan that breaks at or below it has found damage (P16)
  Position committed;          // known to be committed; never above validated
  Position applied;
  Position damaged_through;    // no vote until validated passes it; 0: sound
  uint64_t salvage_bytes = 0;  // ever put aside into the salvage area
  Recovered recovered;
  Granted granted;
  bool operator==(const Superblock&) const = default;
};

inline constexpr size_t kSuperblockBytes = 808;
inline constexpr size_t kSuperblockBytesV2 = 768;  // without what concerns standbys: as if 0
inline constexpr size_t kSuperblockBytesV1 = 256;
using SuperblockBytes = std::array<std::byte, kSuperblockBytes>;

SuperblockBytes encode(const Superblock& superblock);
// Code::invalid: not a superblock, or inconsistent · wrong_version: a newer format.
Result<Superblock> decode_superblock(std::span<const std::byte> bytes);

}  // namespace caisson::log
