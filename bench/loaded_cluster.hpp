// SPDX-License-Identifier: BSD-3-Clause
// A cluster of nodes that carry their own load (bench/load_node.hpp), for benchmarks of who leads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/load_node.hpp"
#include "tools/cluster.hpp"
#include "tools/status.hpp"

namespace caisson::bench {

class LoadedCluster {
 public:
  // Makes the cluster and starts every node.
  static Result<std::unique_ptr<LoadedCluster>> open(const tools::ClusterShape& shape);
  ~LoadedCluster();  // stops them, and removes it
  LoadedCluster(const LoadedCluster&) = delete;
  LoadedCluster& operator=(const LoadedCluster&) = delete;

  const tools::Cluster& cluster() const { return cluster_; }
  const std::string& log_name() const { return cluster_.logs.front().name; }
  LoadCells& cells(ReplicaId id) { return **cells_[id.value - 1u]; }

  Result<void> start(ReplicaId id);
  // Who acknowledges now, every replica following it closely.
  Result<ReplicaId> settled();
  // The highest term in which anybody has acknowledged an append.
  uint64_t highest_term();
  // When the first append of a later term was acknowledged.
  Result<uint64_t> await_term_above(uint64_t term);
  uint64_t acknowledged();

 private:
  LoadedCluster() = default;
  Result<void> build(const tools::ClusterShape& shape);
  std::filesystem::path cells_path(ReplicaId id) const { return cluster_.home(id) / "cells"; }
  bool follow_closely(const std::vector<tools::ReplicaReport>& reports, ReplicaId leader,
                      std::string& why) const;
  bool fresh(ReplicaId leader, std::string& why);

  tools::Cluster cluster_;
  std::vector<std::unique_ptr<MappedCells>> cells_;
};

}  // namespace caisson::bench
