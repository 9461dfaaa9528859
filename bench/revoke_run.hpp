// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench revoke`: what it costs to take a writer's rights to a ring back, and to give them,
// by each way that an RDMA adapter has.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

struct RevokeRunOptions {
  std::string address;  // as in caisson::VerbsOptions; neither: the first adapter
  std::string device;
  uint64_t region_bytes = 64ull << 20;
  uint32_t rounds = 1000;  // of each way
};

struct WayToRevoke {
  std::string name;
  std::string why_not;  // not empty: the adapter does not offer it
  Percentiles grant;
  Percentiles revoke;
};

struct RevokeRunResult {
  RevokeRunOptions options;
  std::string adapter;
  std::vector<WayToRevoke> ways;
};

// Codes as Device::open(); internal: an adapter let a write through that it was to refuse.
Result<RevokeRunResult> run_revoke(const RevokeRunOptions& options,
                                   const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const RevokeRunResult& result);

}  // namespace caisson::bench
