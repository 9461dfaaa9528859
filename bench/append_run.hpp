// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench append`: the engine's appends and the floor, in slices of one process run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/floor.hpp"
#include "bench/samples.hpp"
#include "bench/stage.hpp"
#include "bench/system_calls.hpp"
#include "caisson/caisson.hpp"

namespace caisson::bench {

struct AppendRunOptions {
  std::filesystem::path directory;  // regions of the log and of the floor
  std::filesystem::path samples;    // where the raw samples go
  uint32_t replicas = 3;
  uint64_t payload_bytes = 64;
  uint32_t inflight = 1;  // 1: synchronous; more: pipelined
  uint32_t batch = 1;     // entries of one atomic append
  Durability durability = Durability::persisted;
  uint64_t ring_bytes = 64ull << 20;
  double seconds = 5;
  uint64_t laps_min = 10;  // runs on after `seconds` until the ring was lapped so often
  uint64_t counted_appends = 1'000'000;  // of the phase that counts system calls and allocations
};

struct AppendRunResult {
  AppendRunOptions options;
  Percentiles engine;
  uint64_t appends = 0;  // in timed slices
  uint64_t appends_total = 0;
  double engine_seconds = 0;
  double laps = 0;
  uint64_t stalls = 0;            // times an append met back-pressure first
  uint64_t verified_entries = 0;  // validated and delivered by every follower
  bool all_verified = false;
  Term term;
  std::string persistence;

  uint64_t counted = 0;
  std::optional<double> system_calls_per_append;  // of the appending thread
  std::string system_calls_how;
  nlohmann::ordered_json system_calls_by_thread;
  std::optional<double> allocations_per_append;  // of the appending thread

  uint64_t acknowledged_while_stopped = 0;
  double follower_cpu_while_stopped_s = 0;
  double follower_cpu_s = 0;  // in the timed slices: validation and delivery
  int leader_core = -1;
  std::vector<int> follower_cores;

  std::vector<FloorVariant> floor;
  size_t floor_latency = 0;  // index of the variant with the lowest median
  size_t floor_rate = 0;     // … with the most entries a second

  double appends_per_s() const;
  double goodput() const;  // payload bytes a second
  double floor_goodput() const;
};

// `progress` is shown a line now and then.
Result<AppendRunResult> run_append(const AppendRunOptions& options,
                                   const std::function<void(const std::string&)>& progress);

nlohmann::ordered_json to_json(const AppendRunResult& result);
// One page, nothing fetched from elsewhere.
std::string to_html(const AppendRunResult& result);
std::string processor_name();

}  // namespace caisson::bench
