// SPDX-License-Identifier: BSD-3-Clause
// A node's configuration: one TOML file, explained key by key in docs/configuration.md, that fills
// EngineOptions.
//
// Every error names the file, the line, the key, what was found, what is allowed and the cure.
// Unknown keys are refused: a misspelt setting is never silently the default (R42).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "caisson/options.hpp"

namespace caisson::engine {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;

inline constexpr size_t kVotersMax = 7;  // when the cluster is made
inline constexpr size_t kPeersMax = 16;  // … and spares
inline constexpr size_t kLogsMax = 256;
inline constexpr size_t kLogNameBytesMax = 64;
inline constexpr uint64_t kRingBytesMin = kMiB;
inline constexpr uint64_t kRingBytesMax = uint64_t{1} << 40;
inline constexpr uint64_t kSegmentBytesMin = 64 * kKiB;
// Each may become two mappings in every process that maps the ring; vm.max_map_count is 65,530.
inline constexpr uint64_t kSegmentsWanted = 8192;
// A writer drains its stores at every segment's end: at 64 KiB that costs large entries 3 %.
inline constexpr uint64_t kSegmentBytesWanted = 256 * kKiB;
// A payload must fit, with its envelope, into one frame of a control link (kFrameBytesMax).
inline constexpr uint64_t kEntryBytesLimit = kMiB;
inline constexpr uint64_t kDeviceSegmentBytesMin = 2 * kMiB;
inline constexpr uint32_t kVerbsPortMax = 255;
inline constexpr uint32_t kGidIndexMax = 255;
inline constexpr uint32_t kTrafficClassMax = 255;
inline constexpr uint32_t kOutstandingMin = 16;
inline constexpr uint32_t kOutstandingMax = 1u << 20;
inline constexpr int kCoreMax = 4095;
inline constexpr uint64_t kSpinUsMax = 1'000'000;
inline constexpr uint64_t kPriorityMax = 99;
inline constexpr uint64_t kSlowPatienceMsMax = 3'600'000;
inline constexpr uint64_t kCatchUpRateMin = kMiB;
inline constexpr uint64_t kStandbyLagEntriesMax = uint64_t{1} << 40;
inline constexpr uint64_t kStandbyLagMsMax = 86'400'000;
inline constexpr uint64_t kSuspectUsMin = 100;
inline constexpr uint64_t kSuspectUsMax = 60'000'000;
inline constexpr uint64_t kRoundTripUsMin = 100;
inline constexpr uint64_t kRoundTripUsMax = 10'000'000;
inline constexpr uint64_t kStateBytesPerSecondMin = 64 * kKiB;
inline constexpr size_t kConfigBytesMax = size_t{1} << 20;

using ClusterUuid = std::array<uint8_t, 16>;

// 32 hexadecimal digits, dashes allowed anywhere. Code::invalid otherwise, or if all are zero.
Result<ClusterUuid> parse_cluster_uuid(std::string_view text);
std::string to_hex(const ClusterUuid& uuid);  // 32 lower-case digits

std::string_view name(Idle policy);
std::string_view name(PersistenceMode mode);
std::string_view name(FabricKind fabric);
std::string_view name(RemotePersistence way);
std::string_view name(SlowPolicy policy);
std::string_view name(Quorums quorum);
std::string_view name(StandbyPolicy policy);

// 1 to 64 of a-z 0-9 - _, of which the first is a letter or digit.
bool log_name_allowed(std::string_view text);

// What the zeros of LogOptions stand for.
uint64_t segment_bytes_of(const LogOptions& log);
uint64_t salvage_bytes_of(const LogOptions& log);
uint32_t entry_bytes_max_of(const LogOptions& log);
uint32_t voters_min_of(const EngineOptions& options, const LogOptions& log);
uint64_t standby_lag_bytes_of(const LogOptions& log);

// Parses a whole file's text. `source` names it in errors; relative paths in it are taken to start
// at `base`. Code::invalid, unsupported or too_large.
Result<EngineOptions> parse_config(std::string_view text, std::string_view source,
                                   const std::filesystem::path& base = {});

// Reads and parses; relative paths start at the file's own directory. Besides: not_found, denied,
// io.
Result<EngineOptions> load_config(const std::filesystem::path& path);

// A rule that does not hold: the key it is about ("log[0].ring_bytes"), and a sentence that says
// what was found, what is allowed, and the cure.
struct Violation {
  std::string key;
  std::string sentence;
  Code code = Code::invalid;
};

// The rules of a parsed file, for options that a program filled in itself: the first that does not
// hold.
std::optional<Violation> find_violation(const EngineOptions& options);
Result<void> check(const EngineOptions& options);

// Text that parse_config() reads back as the same options. Precondition: check() is ok.
std::string to_toml(const EngineOptions& options);

// "256 MiB" where the number is a whole multiple of a unit, else "1000 B".
std::string bytes_text(uint64_t bytes);

}  // namespace caisson::engine
