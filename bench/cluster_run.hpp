// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench cluster`: appends on machines of their own, beside the bare loop in the same
// process and ib_write_bw and ib_write_lat between the same machines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "tools/hosts_file.hpp"

namespace caisson::bench {

struct ClusterRunOptions {
  tools::HostsFile hosts;
  std::vector<uint32_t> replicas;  // … the first so many of the hosts; empty: all of them
  std::vector<uint64_t> sizes{64, 4096, 65'536};
  std::vector<uint32_t> batches{1};
  std::vector<uint32_t> inflight{1, 64};
  std::vector<std::string> durabilities{"persisted"};
  std::vector<std::string> numa{"any"};  // where the leader's thread runs: any, near, far
  double seconds = 2;                    // of each point
  uint64_t ring_bytes = 64ull << 20;
  bool perftest = true;
  std::filesystem::path out;  // raw samples, what hosts said, configurations, result.json
};

// What was measured, as it is written to result.json and drawn; docs/benchmarks.md has its members.
using ClusterRunResult = nlohmann::ordered_json;

// Code::io, timed_out: a host could not be used; its name and last words are in the message. What
// was started on hosts has ended on return, and what was made there is gone, if they answer.
Result<ClusterRunResult> run_cluster(const ClusterRunOptions& options,
                                     const std::function<void(const std::string&)>& progress);

// One page, nothing fetched from elsewhere.
std::string cluster_page(const ClusterRunResult& result);

}  // namespace caisson::bench
