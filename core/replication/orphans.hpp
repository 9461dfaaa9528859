// SPDX-License-Identifier: BSD-3-Clause
// Reading what was displaced (R15), a page at a time, and telling whether the log holds it again.
#pragma once

#include <cstdint>
#include <vector>

#include "caisson/orphans.hpp"
#include "core/log/log_state.hpp"
#include "core/replication/salvage.hpp"

namespace caisson::replication {

struct OrphanPage {
  std::vector<OrphanEntry> entries;
  log::Cursor next;      // goes on here; a record begins at its before()
  bool last = false;     // nothing follows
  bool damaged = false;  // what follows is not what was kept
};

struct OrphanPageLimits {
  uint32_t entries_max = 256;       // keeps a page below 1 ms
  uint64_t bytes_max = 256 * 1024;  // of payloads; the first entry always goes
  OrphanPayloads payloads = OrphanPayloads::left_out;
};

// The record without its entries.
OrphanRecord describe(const SalvageRecord& record);

// The entries of `record` from `from` on, which need not be trusted: a cursor that is none of it
// finds damage. `log` is the log that went on without them, committed through `committed`.
OrphanPage read_orphans(const SalvageRecord& record, const log::Cursor& from,
                        const OrphanPageLimits& limits, const log::LogState& log,
                        Position committed);

// Entries are resubmitted under a stream that their origin names: the leader of `term` sealed the
// first of them at `first`. Whichever replica kept them, and however often it is done, it is the
// same stream, so that each is appended once.
uint64_t resubmission_client(const LogIdentity& log, Term term, Position first);

}  // namespace caisson::replication
