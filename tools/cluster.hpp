// SPDX-License-Identifier: BSD-3-Clause
// A cluster of node processes on this machine, all of its state under one directory:
//
//   cluster.json           identity, replicas with their ports, logs; written last
//   authority.crt .key     the cluster's certificate authority
//   client.crt .key        what the command line shows the nodes
//   replica-N/node.toml    configuration
//   replica-N/node.crt .key    certificate
//   replica-N/data/        regions
//   replica-N/log, pid     output and identity of the process
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "caisson/options.hpp"
#include "caisson/types.hpp"
#include "core/engine/config.hpp"
#include "tools/process.hpp"

namespace caisson::tools {

struct ClusterReplica {
  ReplicaId id;
  std::string host;
  uint16_t port = 0;
  bool spare = false;  // no voter when the cluster was made
};

struct ClusterLog {
  std::string name;
  uint64_t id = 0;
  uint64_t ring_bytes = 0;
  uint32_t entry_bytes_max = 0;
  std::string quorum = "majority";  // · all · how many copies commit (R17)
};

struct Cluster {
  std::filesystem::path directory;
  engine::ClusterUuid uuid{};
  FabricKind fabric = FabricKind::shm;
  PersistenceMode persistence = PersistenceMode::emulated;
  std::vector<ClusterReplica> replicas;  // ascending by id
  std::vector<ClusterLog> logs;          // the first one is meant where none is named

  std::filesystem::path home(ReplicaId id) const;
  std::filesystem::path configuration(ReplicaId id) const { return home(id) / "node.toml"; }
  std::filesystem::path data(ReplicaId id) const { return home(id) / "data"; }
  std::filesystem::path output(ReplicaId id) const { return home(id) / "log"; }
  std::filesystem::path pid_file(ReplicaId id) const { return home(id) / "pid"; }
  // not_found, naming those that there are.
  Result<const ClusterReplica*> replica(ReplicaId id) const;
  Result<const ClusterLog*> log(const std::string& name) const;  // "": the first
  TlsOptions client_tls() const;
};

struct ClusterShape {
  std::filesystem::path directory;
  uint32_t replicas = 3;
  uint32_t spares = 0;  // numbered behind them
  std::vector<std::string> logs{"main"};
  uint64_t ring_bytes = 64ull << 20;
  std::string quorum = "majority";               // as ClusterLog::quorum
  std::map<std::string, std::string> quorum_of;  // … of single logs, where it is another
  Idle idle = Idle::adaptive;
  PersistenceMode persistence = PersistenceMode::emulated;
  std::vector<std::vector<int>> cores;  // of each replica's pollers; empty: chosen by the engine
  uint64_t suspect_after_us = 0;        // 0: the default
  uint32_t poller_priority = 0;
  // How a replica's regions come into being, where it is not by creating them empty.
  std::function<Result<void>(const EngineOptions&)> make_regions;
};

// True if the directory holds a cluster.
bool cluster_exists(const std::filesystem::path& directory);
// not_found, invalid, wrong_version.
Result<Cluster> load_cluster(const std::filesystem::path& directory);
// Makes directories, certificates, configurations and regions; starts nothing. Codes: exists,
// no_space, denied, invalid, io; what was made before a failure is taken away again.
Result<Cluster> create_cluster(const ClusterShape& shape);

// The process that runs a replica, if it lives.
std::optional<ProcessId> running(const Cluster& cluster, ReplicaId id);

// The process that holds a replica's data directory although `cluster start` did not start it: a
// `caisson node`, or a program that has the engine in it.
std::optional<ProcessId> foreign_owner(const Cluster& cluster, ReplicaId id);
// What to say of it, as a refusal.
Error not_ours(ReplicaId id, const ProcessId& owner);

struct StartWith {
  std::vector<int> cores;            // empty: any
  std::vector<std::string> command;  // of this program; empty: node --config …
};
// Starts one replica's process in the background and waits for its word that it takes part. busy,
// if it runs already; otherwise the error the node itself reported.
Result<ProcessId> start_replica(const Cluster& cluster, ReplicaId id, const StartWith& with = {});
// Asks it to close, and kills it if it does not within the time. busy: somebody else runs it.
Result<void> stop_replica(const Cluster& cluster, ReplicaId id, uint64_t timeout_ms = 10'000);

// The code that `caisson::name(Code)` calls so; internal if there is none.
Code code_named(std::string_view text);

}  // namespace caisson::tools
