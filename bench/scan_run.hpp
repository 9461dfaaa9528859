// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench scan`: how fast recovery reads a full ring, against the checksum alone on the same
// bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "caisson/types.hpp"

namespace caisson::bench {

struct ScanRunOptions {
  std::filesystem::path directory;
  uint64_t payload_bytes = 64;
  uint64_t ring_bytes = 256ull << 20;
  uint32_t repetitions = 7;
};

struct ScanRunResult {
  ScanRunOptions options;
  uint64_t entries = 0;
  uint64_t bytes = 0;               // headers and payloads, as they lie in the ring
  double scan_bytes_per_s = 0;      // the median of the repetitions
  double checksum_bytes_per_s = 0;  // CRC32C of the same ranges: each header, each payload
  double bulk_bytes_per_s = 0;      // CRC32C of the whole ring in one call
  double ratio() const {
    return checksum_bytes_per_s > 0 ? scan_bytes_per_s / checksum_bytes_per_s : 0;
  }
};

Result<ScanRunResult> run_scan(const ScanRunOptions& options);
nlohmann::ordered_json to_json(const ScanRunResult& result);

}  // namespace caisson::bench
