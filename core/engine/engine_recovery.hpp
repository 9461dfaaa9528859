// SPDX-License-Identifier: BSD-3-Clause
// A quorum that is lost for good (R43), or a primary to its standby (R14): how a survivor goes on
// alone, and how those who come back too late are refused, or admitted again.
#pragma once

#include <vector>

#include "caisson/options.hpp"
#include "caisson/types.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/log/superblock_format.hpp"
#include "core/replication/recovery.hpp"
#include "core/replication/replica.hpp"

namespace caisson::engine {

// Has the stopped replica of `options` go on alone in `log`; what only others held is lost. busy:
// it runs · exists: enough others are there for a quorum, nothing needs to be given up · damaged,
// amnesia, denied: this is no replica to build upon · not_found, wrong_cluster, io, no_space.
Result<log::Recovered> recover_log(const EngineOptions& options, const LogOptions& log);

// Has the stopped standby of `options` take over in `log`. busy: it runs, or a voter of the primary
// does · denied: it is no standby · damaged, amnesia, not_found, wrong_cluster, io, no_space.
Result<replication::Takeover> promote_log(const EngineOptions& options, const LogOptions& log);

// Has the stopped replica of `options`, which was given up in `log`, be one that may be admitted
// again: what the others went on without goes into its salvage area. Returns through where it
// agrees with them. not_found: no peer's region says that it was given up · busy, trimmed, damaged,
// no_space, amnesia, wrong_cluster, io.
Result<Position> readmit_log(const EngineOptions& options, const LogOptions& log);

// wrong_view, if a peer's region says that a quorum was given up since, this replica's own voice
// with it: what it holds is the past.
Result<void> expect_not_left_behind(const EngineOptions& options, const LogOptions& log,
                                    const replication::ReplicaStatus& status,
                                    const std::vector<PeerRegion>& peers);

}  // namespace caisson::engine
