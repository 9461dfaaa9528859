// SPDX-License-Identifier: BSD-3-Clause
// When a quorum is lost for good (R43): one survivor becomes the only voter of its log, by decree,
// and what only the lost ones held is given up. Done offline, once, by a person who says so.
#pragma once

#include <cstdint>

#include "caisson/types.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/region.hpp"

namespace caisson::replication {

// Views of a recovery leave so many numbers unused below them: what the lost ones agreed upon
// without the survivor's knowledge keeps numbers of its own.
inline constexpr uint64_t kRecoveryViews = 1u << 16;

// The view in force at the end of what a stopped replica holds. damaged: what it holds ends below
// what it once knew to be good or committed (P16) · amnesia, invalid, wrong_version: the
// superblock.
Result<log::ViewRun> last_view(const pmem::Region& region);

// Appends to a stopped replica's log a view in which it votes alone, under `birth`, and takes
// everything it holds for committed. `nonce` and `birth`: random, not 0. Before that nobody may
// write to the region any more. Repeated, it does the same once more. wrong_cluster · damaged,
// amnesia: what this replica holds is no ground to build upon · denied: it has no vote to begin
// with · no_space: the ring is full.
Result<log::Recovered> recover_alone(pmem::Region& region, const LogIdentity& identity,
                                     ReplicaId self, uint64_t birth, uint64_t nonce);

}  // namespace caisson::replication
