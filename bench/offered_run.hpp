// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench load`: appends that come at their own times, from a tenth of what the leader can
// take to three times as many (S23). What waits too long is not waited for.
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

struct OfferedRunOptions {
  std::filesystem::path directory;
  uint32_t replicas = 3;
  uint64_t payload_bytes = 64;
  uint64_t ring_bytes = 64ull << 20;
  double seconds = 1;  // of each load
  std::vector<uint32_t> percents{10, 25, 50, 75, 90, 100, 125, 150, 200, 300};
};

struct OfferedLoad {
  uint32_t percent = 0;  // of the capacity
  uint64_t offered = 0;  // appends that were due
  uint64_t taken = 0;    // acknowledged
  uint64_t shed = 0;     // given up, because kBacklogMax others were waiting
  double span_s = 0;
  Percentiles latency;  // of those taken, from when they were due
  double offered_per_s() const { return static_cast<double>(offered) / span_s; }
  double taken_per_s() const { return static_cast<double>(taken) / span_s; }
};

struct OfferedRunResult {
  static constexpr uint64_t kBacklogMax = 4096;

  OfferedRunOptions options;
  double capacity_per_s = 0;  // with 512 outstanding, each as soon as another is acknowledged
  std::vector<OfferedLoad> loads;
  std::string persistence;
  // Of all loads at and above the capacity: the least that was taken, over the capacity.
  double plateau() const;
};

Result<OfferedRunResult> run_offered(const OfferedRunOptions& options,
                                     const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const OfferedRunResult& result);

}  // namespace caisson::bench
