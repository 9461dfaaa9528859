// SPDX-License-Identifier: BSD-3-Clause
#include "bench/scan_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "bench/ticks.hpp"
#include "core/log/log_state.hpp"
#include "pmem/file_region.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kSegmentBytes = 256ull << 10;
constexpr uint32_t kStreamsMax = 4096;
constexpr uint32_t kStreamWindow = 1024;

double median_rate(const std::vector<double>& seconds, uint64_t bytes) {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  return static_cast<double>(bytes) / sorted[sorted.size() / 2];
}

double seconds_of(const std::function<void()>& work) {
  const uint64_t before = monotonic_ns();
  work();
  return static_cast<double>(monotonic_ns() - before) * 1e-9;
}

// Fills the ring with entries of one client that chain, and returns how many.
uint64_t fill(pmem::Region& region, const LogIdentity& identity, uint64_t payload_bytes) {
  std::vector<std::byte> entry(log::entry_bytes(payload_bytes));
  log::Cursor cursor = log::origin(identity);
  uint64_t entries = 0;
  while (cursor.end.value + entry.size() <= region.geometry().ring_bytes) {
    log::EntryHeader header{};
    header.position = cursor.position.value + 1;
    header.term = 257;
    header.offset_line = log::offset_line(cursor.end);
    header.payload_bytes = static_cast<uint32_t>(payload_bytes);
    header.kind = static_cast<uint8_t>(log::Kind::data);
    header.flags = log::kFlagBatchEnd;
    header.format = log::kEntryFormat;
    header.view = 1;
    header.client = 7;
    header.sequence = header.position;
    header.incarnation = 1;
    header.commit_lag = 1;
    std::byte* const payload = entry.data() + log::kHeaderBytes;
    for (uint64_t i = 0; i < payload_bytes; ++i) payload[i] = static_cast<std::byte>(i + entries);
    const uint32_t crc = log::crc32c(log::kCrcSeed, payload, payload_bytes);
    const uint32_t chain = log::seal_header(header, cursor.chain, crc);
    std::memcpy(entry.data(), &header, sizeof header);
    region.store_ring(cursor.end, entry.data(), entry.size());
    cursor = {Position{header.position}, cursor.end + entry.size(), Term{header.term}, chain};
    ++entries;
  }
  region.persist_ring(Offset{0}, region.geometry().ring_bytes);
  return entries;
}

}  // namespace

Result<ScanRunResult> run_scan(const ScanRunOptions& options) {
  const std::filesystem::path path =
      options.directory / ("caisson-scan-" + std::to_string(getpid()) + ".region");
  pmem::CreateOptions create;
  create.geometry = {options.ring_bytes, kSegmentBytes, kSegmentBytes};
  const std::vector<std::byte> superblock(64);
  create.superblock = superblock;
  auto region = pmem::FileRegion::create(path.string(), create);
  if (!region) return tl::unexpected(region.error());
  std::error_code ignored;
  std::filesystem::remove(path, ignored);  // the mapping keeps it until the end

  const LogIdentity identity{{1, 2, 3}, 1};
  ScanRunResult result;
  result.options = options;
  result.entries = fill(**region, identity, options.payload_bytes);
  result.bytes = result.entries * log::entry_bytes(options.payload_bytes);
  const log::Ring ring((*region)->ring_data(), options.ring_bytes);
  std::vector<double> scans, checksums, bulks;
  uint32_t sink = 0;
  for (uint32_t i = 0; i < options.repetitions; ++i) {
    log::LogState state(identity, ring, kStreamsMax, kStreamWindow);
    state.reset(log::origin(identity));
    scans.push_back(seconds_of([&] { (void)log::scan(state); }));
    if (state.tail().position.value != result.entries) {
      return fail(Code::internal, "the scan found " + std::to_string(state.tail().position.value) +
                                      " of " + std::to_string(result.entries) + " entries");
    }
    checksums.push_back(seconds_of([&] {
      const uint64_t stride = log::entry_bytes(options.payload_bytes);
      for (uint64_t at = 0; at < result.bytes; at += stride) {
        sink ^= log::crc32c(log::kCrcSeed, ring.at(Offset{at}) + 8, log::kHeaderBytes - 8);
        sink ^= log::crc32c(log::kCrcSeed, ring.at(Offset{at + log::kHeaderBytes}),
                            options.payload_bytes);
      }
    }));
    bulks.push_back(
        seconds_of([&] { sink ^= log::crc32c(log::kCrcSeed, ring.at(Offset{0}), result.bytes); }));
  }
  // Keeps the checksums from being optimised away.
  __asm__ volatile("" : : "r"(sink));
  result.scan_bytes_per_s = median_rate(scans, result.bytes);
  result.checksum_bytes_per_s = median_rate(checksums, result.bytes);
  result.bulk_bytes_per_s = median_rate(bulks, result.bytes);
  return result;
}

nlohmann::ordered_json to_json(const ScanRunResult& result) {
  return {{"ok", true},
          {"benchmark", "scan"},
          {"size_bytes", result.options.payload_bytes},
          {"ring_bytes", result.options.ring_bytes},
          {"entries", result.entries},
          {"bytes", result.bytes},
          {"scan_bytes_per_s", result.scan_bytes_per_s},
          {"scan_entries_per_s", result.scan_bytes_per_s / static_cast<double>(result.bytes) *
                                     static_cast<double>(result.entries)},
          {"checksum_bytes_per_s", result.checksum_bytes_per_s},
          {"checksum_one_call_bytes_per_s", result.bulk_bytes_per_s},
          {"ratio", result.ratio()},
          {"repetitions", result.options.repetitions}};
}

}  // namespace caisson::bench
