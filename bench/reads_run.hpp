// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench reads`: what each way to read costs, on the leader and on a follower, beside the
// stale read of the same entry.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

struct ReadsRunOptions {
  std::filesystem::path directory;
  uint32_t replicas = 3;
  uint64_t payload_bytes = 64;
  uint64_t ring_bytes = 64ull << 20;
  uint64_t rounds = 2000;  // of each way
};

// One way to read, on one kind of replica. Where it is linearizable: until the position is known
// and the entry copied.
struct WayToRead {
  std::string name;
  std::string role;  // leader, follower: this process, driven inline
  Percentiles latency;
  double ratio_p50 = 0;  // over the stale read there
};

struct ReadsRunResult {
  ReadsRunOptions options;
  std::vector<WayToRead> ways;
  std::string persistence;
};

Result<ReadsRunResult> run_reads(const ReadsRunOptions& options,
                                 const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const ReadsRunResult& result);

}  // namespace caisson::bench
