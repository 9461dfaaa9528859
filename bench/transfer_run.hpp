// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench transfer`: the lead is handed over under load, again and again; timed from the
// call to the first append that the new leader acknowledges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

struct TransferRunOptions {
  std::filesystem::path directory;
  uint32_t rounds = 100;
  uint32_t replicas = 3;
  uint64_t ring_bytes = 256ull << 20;
  // Real-time priority of pollers; 0: ordinary threads. None given: 1 where that is allowed.
  std::optional<uint32_t> poller_priority;
};

struct TransferRunResult {
  TransferRunOptions options;
  Percentiles latency;
  std::vector<uint64_t> latencies_ns;
  uint64_t refused = 0;  // the heir was not up to date just then, and another round was played
  uint64_t acknowledged = 0;
  std::string persistence;
};

Result<TransferRunResult> run_transfer(const TransferRunOptions& options,
                                       const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const TransferRunResult& result);

}  // namespace caisson::bench
