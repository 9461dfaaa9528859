// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench failover`: the leader is killed (kill -9) under load, again and again; timed from
// the kill to the first append that a new leader acknowledges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

struct FailoverRunOptions {
  std::filesystem::path directory;
  uint32_t rounds = 30;
  uint32_t replicas = 3;
  uint64_t ring_bytes = 256ull << 20;
  uint64_t suspect_after_us = 0;  // 0: the default of a node's configuration
  // Real-time priority of pollers; 0: ordinary threads. None given: 1 where that is allowed.
  std::optional<uint32_t> poller_priority;
};

struct FailoverRunResult {
  FailoverRunOptions options;
  uint32_t rounds = 0;
  Percentiles latency;
  std::vector<uint64_t> latencies_ns;
  std::map<std::string, uint64_t> detected_by;
  uint64_t acknowledged = 0;
  std::string persistence;
};

Result<FailoverRunResult> run_failover(const FailoverRunOptions& options,
                                       const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const FailoverRunResult& result);

}  // namespace caisson::bench
