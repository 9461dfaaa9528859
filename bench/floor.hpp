// SPDX-License-Identifier: BSD-3-Clause
// The floor: what placing the same bytes into as many regions costs with no code of the log at all.
//
// One operation stores `batch` entries (header and payload, rounded to 64 bytes) into every region,
// and fences once. The regions are files in the directory that the log's regions lie in, mapped
// twice in a row like a ring, each as large as the log's ring, and walked from end to end. Several
// ways of storing compete; whoever compares takes the fastest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/samples.hpp"
#include "caisson/types.hpp"
#include "pmem/ring_mapping.hpp"

namespace caisson::bench {

inline constexpr size_t kFloorRegionsMax = 7;
inline constexpr uint64_t kFloorHeaderBytes = 64;
inline constexpr uint64_t kFloorLineBytes = 64;

struct FloorOptions {
  std::filesystem::path directory;
  size_t regions = 3;
  uint64_t ring_bytes = 64ull << 20;
  uint64_t payload_bytes = 64;
  uint64_t batch = 1;  // entries an operation places before it fences
  size_t samples_max = 1u << 22;
};

// Stores n bytes (a multiple of 64, 64-byte aligned) from `source` to each target; no fence.
using Store = void (*)(std::byte* const* targets, const std::byte* source, uint64_t n);

struct FloorVariant {
  std::string name;
  Store store = nullptr;
  Samples samples;
  uint64_t entries = 0;
  uint64_t elapsed_ticks = 0;

  double entries_per_s() const;
};

class Floor {
 public:
  static Result<std::unique_ptr<Floor>> create(const FloorOptions& options);
  Floor(const Floor&) = delete;
  Floor& operator=(const Floor&) = delete;

  // Runs one variant for about this long; operations before `warm_up` are not counted.
  void run(size_t variant, uint64_t slice_ns, uint64_t warm_up = 64);

  const std::vector<FloorVariant>& variants() const { return variants_; }
  // Of all variants: the one with the lowest median, and the one with most entries per second.
  const FloorVariant& lowest_latency() const;
  const FloorVariant& highest_rate() const;
  uint64_t entry_bytes() const { return entry_bytes_; }

 private:
  explicit Floor(const FloorOptions& options);
  Result<void> map();
  void place(const FloorVariant& variant);

  FloorOptions options_;
  uint64_t entry_bytes_ = 0;
  uint64_t cursor_ = 0;
  std::array<pmem::RingMapping, kFloorRegionsMax> rings_;
  std::vector<std::byte> source_;
  const std::byte* aligned_source_ = nullptr;
  std::vector<FloorVariant> variants_;
};

}  // namespace caisson::bench
