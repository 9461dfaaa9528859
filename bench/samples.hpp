// SPDX-License-Identifier: BSD-3-Clause
// Raw latency samples, kept whole: every percentile is exact, and the file can be judged by others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::bench {

struct Percentiles {
  double min_ns = 0;
  double p50_ns = 0;
  double p90_ns = 0;
  double p99_ns = 0;
  double p999_ns = 0;
  double max_ns = 0;
  uint64_t count = 0;
};

// Of a few measured times, in nanoseconds; all zero of none.
Percentiles percentiles_of(std::vector<uint64_t> times_ns);

class Samples {
 public:
  // Room for `capacity` samples, touched now so that none faults later.
  explicit Samples(size_t capacity);

  // In clock ticks. Beyond the capacity samples are counted, not kept.
  void add(uint64_t ticks) {
    if (used_ < kept_.size()) {
      kept_[used_++] = ticks < UINT32_MAX ? static_cast<uint32_t>(ticks) : UINT32_MAX;
    } else {
      ++dropped_;
    }
  }
  size_t size() const { return used_; }
  uint64_t dropped() const { return dropped_; }
  // The quantile-th smallest sample, 0 <= quantile <= 1, in nanoseconds.
  double quantile_ns(double quantile) const;
  Percentiles percentiles() const;
  // The samples as 32-bit little-endian tick counts, in the order they were taken.
  Result<void> save(const std::filesystem::path& path) const;

 private:
  std::vector<uint32_t> sorted() const;

  std::vector<uint32_t> kept_;
  size_t used_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace caisson::bench
