// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench features`: what deduplication, durability and views cost, each and together: the
// same leader in the same process, in slices that take turns.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::bench {

struct FeaturesRunOptions {
  std::filesystem::path directory;
  uint32_t replicas = 3;
  uint64_t payload_bytes = 64;
  uint32_t inflight = 256;
  uint64_t ring_bytes = 64ull << 20;
  double seconds = 5;
};

struct FeatureSet {
  std::string name;
  bool identified = false;  // client, incarnation and sequence, each checked; else client 0
  Durability durability = Durability::volatile_;
  bool in_view = false;         // only if a certain view is in force
  std::vector<double> rates{};  // appends a second, of every slice
  double median_rate() const;
};

struct FeaturesRunResult {
  FeaturesRunOptions options;
  std::vector<FeatureSet> sets;  // the first one has nothing, the last one has all
  std::string persistence;
  // 1 minus the throughput with all of it over that without, of each round; its median.
  double cost() const;
};

Result<FeaturesRunResult> run_features(const FeaturesRunOptions& options,
                                       const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const FeaturesRunResult& result);

}  // namespace caisson::bench
