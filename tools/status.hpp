// SPDX-License-Identifier: BSD-3-Clause
// What the replicas of a cluster say about themselves, gathered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "caisson/caisson.hpp"
#include "tools/cluster.hpp"
#include "tools/command.hpp"

namespace caisson::tools {

struct LogStatus {
  std::string name;
  std::string role;
  Term term;
  ReplicaId leader;    // as this replica knows it; 0: nobody
  bool leads = false;  // this replica leads, and serves
  Marks marks;
  uint64_t used_bytes = 0;  // of its ring
  uint64_t ring_bytes = 0;
  Json raw;  // all of what the node said
};

struct ReplicaReport {
  ReplicaId id;
  std::string state;  // running, stopped (by a signal), dead, silent (runs, does not answer)
  std::optional<ProcessId> process;
  std::string address;
  std::string problem;  // why it does not answer
  std::vector<LogStatus> logs;
  Json node;  // what the engine says of itself
  const LogStatus* log(const std::string& name) const;
};

inline constexpr uint64_t kStatusTimeoutMs = 1'000;

// Asks one node. busy, timed_out, closed, denied, …
Result<ReplicaReport> ask_replica(const Cluster& cluster, ReplicaId id,
                                  uint64_t timeout_ms = kStatusTimeoutMs);
// One log of one replica.
Result<LogStatus> log_status(const Cluster& cluster, ReplicaId id, const std::string& log,
                             uint64_t timeout_ms = kStatusTimeoutMs);

// All of them, at once; those that do not answer are reported as such. Processes are looked at too
// if the cluster's processes are this machine's.
std::vector<ReplicaReport> ask_cluster(const Cluster& cluster,
                                       uint64_t timeout_ms = kStatusTimeoutMs);

// The replica that leads the log and says so itself: the one with the highest term; 0: nobody.
ReplicaId leader_of(const std::vector<ReplicaReport>& reports, const std::string& log);

// How far a standby is behind, each number beside its bound. `view`: `members` of a log's status;
// `member`: one of its members, with a `lag`.
std::string lag_text(const Json& view, const Json& member);
// What to say if a log takes no more because a standby is as far behind as it may be. Empty: none
// is.
std::string lagging_standby(const Cluster& cluster, const std::string& log);

// What to say if the log takes no more because the leader's ring is full: there is no room for
// `payload_bytes` more. Empty: it is not.
std::string full_ring(const Cluster& cluster, const std::string& log, uint64_t payload_bytes);

Json status_object(const Cluster& cluster, const std::vector<ReplicaReport>& reports);
void print_status(const Cluster& cluster, const std::vector<ReplicaReport>& reports);

}  // namespace caisson::tools
