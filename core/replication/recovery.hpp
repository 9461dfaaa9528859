// SPDX-License-Identifier: BSD-3-Clause
// When a quorum is lost for good (R43), or a whole primary to its standby (R14): one survivor
// becomes the only voter of its log, by decree, and what only the lost ones held is given up. Done
// offline, once, by a person who says so. And how one of those that were given up comes back.
#pragma once

#include <cstdint>

#include "caisson/members.hpp"
#include "caisson/types.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/region.hpp"

namespace caisson::replication {

// Views of a recovery leave so many numbers unused below them: what the lost ones agreed upon
// without the survivor's knowledge keeps numbers of its own.
inline constexpr uint64_t kRecoveryViews = 1u << 16;
// The view that follows `last` by decree.
constexpr View decreed_after(View last) {
  return View{(last.value / kRecoveryViews + 1) * kRecoveryViews};
}

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

// What a standby had when it took over, and what may be lost behind it: no append was ever taken
// that stood farther than `bounds` behind `last`.
struct Takeover {
  log::Recovered recovered;
  Token last;       // it has everything through here
  Position beyond;  // so much, at least, the lost ones had committed; 0: no more is known
  StandbyBounds bounds;
};

// So many entries at most are lost behind `last`, whatever their size.
uint64_t entries_at_most(const StandbyBounds& bounds);

// The same for a standby. Entries that it cannot know to be the last leader's are put aside.
// denied: it is no standby in the last view it knows · no_space: the ring, or the salvage area.
Result<Takeover> promote_standby(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                                 uint64_t birth, uint64_t nonce);

// Makes a replica that was given up into one that may be admitted again, under `birth`: what it
// holds behind `through`, where the others' log went on without it in the term `sealed_by`, goes
// into its salvage area. Returns through where it agrees with them. May be cut anywhere and
// repeated. trimmed: it holds nothing from so far back · damaged: an entry of it cannot be read ·
// no_space: the salvage area.
Result<Position> leave_behind(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                              Position through, Term sealed_by, uint64_t birth);

}  // namespace caisson::replication
