// SPDX-License-Identifier: BSD-3-Clause
// ib_write_bw and ib_write_lat (perftest) between hosts, as a floor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/hosts_file.hpp"

namespace caisson::bench {

// Writes of `bytes` from the first host to each of the other `replicas - 1` at the same time, and
// the latency to the second host alone. {"replicas", "bytes", "bw_bytes_per_s": of all of them
// together, "lat": {"typical_ns", "p99_ns", …}}; or "why_not". Outputs of the tools are kept in
// `kept`.
nlohmann::ordered_json run_perftest(const tools::HostsFile& hosts, uint32_t replicas,
                                    uint64_t bytes, const std::filesystem::path& kept);

}  // namespace caisson::bench
