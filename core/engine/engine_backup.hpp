// SPDX-License-Identifier: BSD-3-Clause
// Copies of a log, consistent up to a position, taken while the log goes on; and new logs made of
// them (R43).
//
// A backup is a region file of its own: the entries where they lay, and a superblock that ends at
// the position it is good for. Its cluster is the original's with every bit inverted, so that no
// node ever opens it as a replica's region. What is restored has yet another identity, that of its
// new cluster: neither links nor regions of the two ever mix.
#pragma once

#include <string>

#include "caisson/options.hpp"
#include "caisson/types.hpp"
#include "core/log/quorum.hpp"

namespace caisson::engine {

struct BackupReport {
  LogIdentity original;
  Position trimmed;  // the first entry in it follows this position
  Position through;  // the last one; everything up to it was committed
  uint64_t entries = 0;
  uint64_t bytes = 0;  // of entries
  uint64_t ring_bytes = 0;
  log::QuorumSystem quorum;  // of the original, and of whatever is made of it (R17)
};

// Copies this node's region of `log`, whether the node runs or not, into a new `file`. exists ·
// amnesia, damaged: the region · again: it was trimmed faster than it could be copied · no_space …
Result<BackupReport> backup_log(const EngineOptions& options, const LogOptions& log,
                                const std::string& file);

// What this node's region says to be committed; 0: there is none.
Position committed_in_file(const EngineOptions& options, const LogOptions& log);

// Reads a whole backup. damaged: it is not what was written · invalid: it is none.
Result<BackupReport> verify_backup(const std::string& file);

// Makes this node's region of a new log that continues the backup's: the same entries at the same
// positions, the streams with them, and behind them a first view of the nodes of `options`. To be
// done on each founding node, once, instead of creating it. wrong_cluster: the original's cluster ·
// exists · too_large: the ring is too small · invalid: as below.
Result<BackupReport> restore_log(const EngineOptions& options, const LogOptions& log,
                                 const std::string& file);

// invalid: `log` names another quorum system than the backup in `file` has: what few copies have
// committed must be found by those who elect, for ever.
Result<void> expect_quorum_of(const BackupReport& backup, const LogOptions& log,
                              const std::string& file);

}  // namespace caisson::engine
