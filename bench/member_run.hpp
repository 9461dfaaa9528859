// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench member`: what a steady load of appends notices while an empty replica is caught up
// over a full ring, and while members come and go.
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

struct MemberRunOptions {
  std::filesystem::path directory;
  std::filesystem::path samples;  // where the raw samples go
  uint32_t replicas = 3;          // one more is caught up
  uint64_t payload_bytes = 64;
  uint64_t appends_per_s = 0;  // 0: each as soon as the one before is acknowledged
  uint64_t ring_bytes = 1ull << 30;
  uint32_t rounds = 3;    // of a destroyed memory that is caught up
  uint32_t changes = 10;  // rounds of a voter and a learner that come and go
  double seconds = 2;     // of quiet before each round
};

struct CatchUp {
  uint64_t bytes = 0;
  uint64_t took_ns = 0;  // from the request to the view in which the replica votes
  uint64_t longest_ns = 0;
  double bytes_per_s() const;
};

struct Change {
  std::string what;
  uint64_t took_ns = 0;
  uint64_t stall_ns = 0;  // the longest wait of an append meanwhile
  uint64_t quiet_ns = 0;  // … and in as long a while before, in which nothing changed
};

struct MemberRunResult {
  MemberRunOptions options;
  Percentiles quiet;
  Percentiles catching_up;
  std::vector<CatchUp> catch_ups;
  std::vector<Change> changes;
  uint64_t appended = 0;
  std::string persistence;
  int leader_core = -1;

  double ratio_p50() const;
  double ratio_p99() const;
  double bytes_per_s() const;  // the median round's
  Percentiles stall() const;   // of all changes
  Percentiles quiet_stall() const;
};

// `progress` is shown a line now and then.
Result<MemberRunResult> run_member(const MemberRunOptions& options,
                                   const std::function<void(const std::string&)>& progress);
nlohmann::ordered_json to_json(const MemberRunResult& result);

}  // namespace caisson::bench
