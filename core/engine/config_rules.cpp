// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "core/engine/config.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::engine {
namespace {

using Found = std::optional<Violation>;

constexpr std::string_view kLogLevels[] = {"trace", "debug", "info", "warn", "error", "off"};

Found violation(std::string key, std::string sentence, Code code = Code::invalid) {
  return Violation{std::move(key), std::move(sentence), code};
}

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

bool printable_word(std::string_view text) {
  return !text.empty() && text.size() <= 255 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

Found check_replica_id(const std::string& key, ReplicaId id) {
  if (id.value >= 1 && id.value <= kReplicaIdMax) return std::nullopt;
  return violation(key, std::to_string(id.value) + " is no replica id: use 1 to " +
                            std::to_string(kReplicaIdMax));
}

Found check_host(const std::string& key, const std::string& host) {
  if (printable_word(host)) return std::nullopt;
  return violation(
      key, in_quotes(host) + " is no host: write a name or an address, for example \"127.0.0.1\"");
}

Found check_port(const std::string& key, uint16_t port) {
  if (port != 0) return std::nullopt;
  return violation(key, "0 is no port that others could reach: use 1 to 65535, for example 7711");
}

Found check_peer(const EngineOptions& options, size_t index) {
  const PeerOptions& peer = options.peers[index];
  const std::string key = "peer[" + std::to_string(index) + "].";
  if (auto found = check_replica_id(key + "id", peer.id)) return found;
  if (auto found = check_host(key + "host", peer.host)) return found;
  if (auto found = check_port(key + "port", peer.port)) return found;
  if (options.fabric == FabricKind::shm && peer.directory.empty()) {
    return violation(key + "directory",
                     "is missing: with fabric = \"shm\" every node must know its peers' data "
                     "directories; write peer " +
                         std::to_string(peer.id.value) + "'s node.directory here");
  }
  for (size_t other = 0; other < index; ++other) {
    const PeerOptions& earlier = options.peers[other];
    if (earlier.id == peer.id) {
      return violation(key + "id", std::to_string(peer.id.value) +
                                       " is also the id of an earlier peer: ids are unique");
    }
    if (earlier.host == peer.host && earlier.port == peer.port) {
      return violation(key + "port", peer.host + ":" + std::to_string(peer.port) +
                                         " is also the address of peer " +
                                         std::to_string(earlier.id.value) +
                                         ": give each node its own");
    }
    if (!peer.directory.empty() && earlier.directory == peer.directory) {
      return violation(key + "directory",
                       in_quotes(peer.directory) + " is also the directory of peer " +
                           std::to_string(earlier.id.value) + ": give each node its own");
    }
  }
  return std::nullopt;
}

Found check_peers(const EngineOptions& options) {
  const auto voters = std::count_if(options.peers.begin(), options.peers.end(),
                                    [](const PeerOptions& peer) { return !peer.spare; });
  if (voters == 0 || voters > static_cast<ptrdiff_t>(kVotersMax)) {
    return violation("peer", "names " + std::to_string(voters) + " nodes: list 1 to " +
                                 std::to_string(kVotersMax) +
                                 " voters as [[peer]], this node included and spares not; 3 is "
                                 "usual");
  }
  if (options.peers.size() > kPeersMax) {
    return violation("peer", "names " + std::to_string(options.peers.size()) +
                                 " nodes: list at most " + std::to_string(kPeersMax) +
                                 ", spares included");
  }
  for (size_t i = 0; i < options.peers.size(); ++i) {
    if (auto found = check_peer(options, i)) return found;
  }
  const auto self =
      std::find_if(options.peers.begin(), options.peers.end(),
                   [&](const PeerOptions& peer) { return peer.id == options.replica; });
  if (self == options.peers.end()) {
    return violation("node.replica", std::to_string(options.replica.value) +
                                         " is not among the peers: add a [[peer]] with this id");
  }
  if (!self->directory.empty() && self->directory != options.directory) {
    return violation("peer[" + std::to_string(self - options.peers.begin()) + "].directory",
                     in_quotes(self->directory) + " differs from node.directory = " +
                         in_quotes(options.directory) + ": this is the same node; make them equal");
  }
  return std::nullopt;
}

Found check_node(const EngineOptions& options) {
  if (options.cluster == ClusterUuid{}) {
    return violation("cluster.uuid",
                     "is missing or zero: write 32 hexadecimal digits, the same on every node");
  }
  if (auto found = check_replica_id("node.replica", options.replica)) return found;
  if (options.directory.empty()) {
    return violation("node.directory", "is missing: name the directory that holds the node's data");
  }
  if (options.persistence == PersistenceMode::unset) {
    return violation("node.persistence",
                     "is missing, and never guessed: write \"real\" where node.directory lies on "
                     "persistent memory, or \"emulated\" (entries then survive the death of every "
                     "process, but not a loss of power)");
  }
  return std::nullopt;
}

Found check_listen(const EngineOptions& options) {
  if (auto found = check_host("node.listen_host", options.listen_host)) return found;
  return check_port("node.listen_port", options.listen_port);
}

Found check_tls(const TlsOptions& tls) {
  if (!tls.enabled) return std::nullopt;
  const std::pair<const char*, const std::string*> files[] = {
      {"tls.ca", &tls.ca_file},
      {"tls.certificate", &tls.certificate_file},
      {"tls.key", &tls.key_file}};
  for (const auto& [key, file] : files) {
    if (file->empty()) {
      return violation(
          key,
          "is missing: name the PEM file made by `caisson cert make`, or write tls.enabled "
          "= false where every process of the network may be trusted");
    }
  }
  return std::nullopt;
}

Found check_power_of_two(const std::string& key, uint64_t bytes, uint64_t least, uint64_t most) {
  if (std::has_single_bit(bytes) && bytes >= least && bytes <= most) return std::nullopt;
  const uint64_t cure = std::clamp(std::bit_ceil(std::clamp(bytes, least, most)), least, most);
  return violation(key, bytes_text(bytes) + " is not allowed: use a power of two from " +
                            bytes_text(least) + " to " + bytes_text(most) + ", for example \"" +
                            bytes_text(cure) + '"');
}

Found check_verbs(const EngineOptions& options) {
  const VerbsOptions& verbs = options.verbs;
  const auto given = [](const std::string& text) { return !text.empty(); };
  if (options.fabric != FabricKind::verbs) {
    if (!given(verbs.address) && !given(verbs.device)) return std::nullopt;
    return violation("verbs",
                     "is for node.fabric = \"verbs\": leave it out, or choose that fabric");
  }
  if (given(verbs.address) == given(verbs.device)) {
    return violation(
        "verbs.address",
        "one of address and device is needed: write this node's IP address on the RDMA "
        "network, or the adapter's name as ibv_devices lists it");
  }
  const bool by_name = given(verbs.device);
  if (!printable_word(by_name ? verbs.device : verbs.address)) {
    return violation(by_name ? "verbs.device" : "verbs.address",
                     "is no name or address: write it without blanks");
  }
  if (verbs.port < 1 || verbs.port > kVerbsPortMax) {
    return violation("verbs.port", std::to_string(verbs.port) + " is no port: use 1 to " +
                                       std::to_string(kVerbsPortMax) + ", most often 1");
  }
  if (verbs.gid_index < -1 || verbs.gid_index > static_cast<int>(kGidIndexMax)) {
    return violation("verbs.gid_index",
                     std::to_string(verbs.gid_index) + " is no GID's index: use 0 to " +
                         std::to_string(kGidIndexMax) + ", or leave it out (show_gids lists them)");
  }
  if (verbs.traffic_class > kTrafficClassMax) {
    return violation("verbs.traffic_class",
                     std::to_string(verbs.traffic_class) + " is none: use 0 to " +
                         std::to_string(kTrafficClassMax) + ", four times the DSCP");
  }
  return std::nullopt;
}

// A log's region may lie on a device of its own.
Found check_log_device(const EngineOptions& options, const LogOptions& log,
                       const std::string& key) {
  if (log.device.empty()) return std::nullopt;
  if (options.fabric == FabricKind::shm) {
    return violation(key + "device",
                     "is for node.fabric = \"verbs\": with shm the peers map the region where "
                     "their [[peer]] directory says; leave it out");
  }
  if (segment_bytes_of(log) < kDeviceSegmentBytesMin) {
    return violation(key + "segment_bytes", bytes_text(segment_bytes_of(log)) +
                                                " is too small for a device: use at least " +
                                                bytes_text(kDeviceSegmentBytesMin) +
                                                ", and a ring of four of them");
  }
  for (const LogOptions& earlier : options.logs) {
    if (&earlier == &log) break;
    if (earlier.device != log.device) continue;
    return violation(key + "device", in_quotes(log.device) +
                                         " is also an earlier log's: each needs one of its own");
  }
  return std::nullopt;
}

Found check_log_sizes(const LogOptions& log, const std::string& key) {
  if (auto found =
          check_power_of_two(key + "ring_bytes", log.ring_bytes, kRingBytesMin, kRingBytesMax)) {
    return found;
  }
  if (auto found = check_power_of_two(key + "segment_bytes", segment_bytes_of(log),
                                      kSegmentBytesMin, log.ring_bytes / 4)) {
    return found;
  }
  const uint64_t entry_bytes_max = entry_bytes_max_of(log);
  if (entry_bytes_max > kEntryBytesLimit ||
      log::entry_bytes(entry_bytes_max) > log.ring_bytes / 4) {
    const uint64_t most = std::min(kEntryBytesLimit, log.ring_bytes / 4 - log::kHeaderBytes);
    return violation(key + "entry_bytes_max", bytes_text(entry_bytes_max) +
                                                  " is too large: with this ring use at most " +
                                                  bytes_text(most) + ", or a larger ring_bytes");
  }
  const uint64_t salvage_bytes = salvage_bytes_of(log);
  const uint64_t salvage_least =
      (log::entry_bytes(entry_bytes_max) + 2 * 4096 - 1) & ~uint64_t{4095};
  if (salvage_bytes % 4096 != 0 || salvage_bytes < salvage_least || salvage_bytes > kRingBytesMax) {
    return violation(key + "salvage_bytes",
                     bytes_text(salvage_bytes) + " is not allowed: use a multiple of 4 KiB from " +
                         bytes_text(salvage_least) + " (room for one largest entry) to " +
                         bytes_text(kRingBytesMax));
  }
  if (!std::has_single_bit(log.outstanding_max) || log.outstanding_max < kOutstandingMin ||
      log.outstanding_max > kOutstandingMax) {
    return violation(key + "outstanding_max", std::to_string(log.outstanding_max) +
                                                  " is not allowed: use a power of two from " +
                                                  std::to_string(kOutstandingMin) + " to " +
                                                  std::to_string(kOutstandingMax));
  }
  return std::nullopt;
}

Found check_standby_lag(const LogOptions& log, const std::string& key) {
  if (log.standby_policy != StandbyPolicy::stall && log.standby_policy != StandbyPolicy::error) {
    return violation(key + "standby_policy", "is no policy: use \"stall\" or \"error\"");
  }
  const uint64_t least = log::entry_bytes(entry_bytes_max_of(log));
  const uint64_t bytes = standby_lag_bytes_of(log);
  if (bytes < least || bytes > log.ring_bytes) {
    return violation(key + "standby_lag_bytes", bytes_text(bytes) + " is not allowed: use " +
                                                    bytes_text(least) +
                                                    ", which the largest entry takes, to " +
                                                    bytes_text(log.ring_bytes) + ", the ring");
  }
  if (log.standby_lag.entries > kStandbyLagEntriesMax) {
    return violation(key + "standby_lag_entries", std::to_string(log.standby_lag.entries) +
                                                      " is not allowed: use 1 to " +
                                                      std::to_string(kStandbyLagEntriesMax));
  }
  if (log.standby_lag.ms > kStandbyLagMsMax) {
    return violation(key + "standby_lag_ms", std::to_string(log.standby_lag.ms) +
                                                 " is not allowed: use 1 to " +
                                                 std::to_string(kStandbyLagMsMax));
  }
  return std::nullopt;
}

Found check_log_pace(const LogOptions& log, const std::string& key) {
  if (log.slow != SlowPolicy::back_pressure && log.slow != SlowPolicy::demote) {
    return violation(key + "slow", "is no policy: use \"back_pressure\" or \"demote\"");
  }
  if (log.slow_patience_ms < 1 || log.slow_patience_ms > kSlowPatienceMsMax) {
    return violation(key + "slow_patience_ms", std::to_string(log.slow_patience_ms) +
                                                   " is not allowed: use 1 to " +
                                                   std::to_string(kSlowPatienceMsMax));
  }
  if (log.voters_min > kVotersMax) {
    return violation(
        key + "voters_min",
        std::to_string(log.voters_min) + " is not allowed: use 1 to " + std::to_string(kVotersMax));
  }
  if (log.catch_up_bytes_per_s < kCatchUpRateMin || log.catch_up_bytes_per_s > kRingBytesMax) {
    return violation(key + "catch_up_bytes_per_s",
                     bytes_text(log.catch_up_bytes_per_s) + " is not allowed: use " +
                         bytes_text(kCatchUpRateMin) + " to " + bytes_text(kRingBytesMax));
  }
  if (log.scrub_bytes_per_s > kRingBytesMax) {
    return violation(key + "scrub_bytes_per_s", bytes_text(log.scrub_bytes_per_s) +
                                                    " is not allowed: use 0 (never) to " +
                                                    bytes_text(kRingBytesMax));
  }
  return std::nullopt;
}

Found check_log_quorum(const EngineOptions& options, const LogOptions& log,
                       const std::string& key) {
  const auto founders =
      static_cast<uint32_t>(std::count_if(options.peers.begin(), options.peers.end(),
                                          [](const PeerOptions& peer) { return !peer.spare; }));
  if (log.quorum == Quorums::flexible) {
    if (log.commit_quorum >= 2 && log.commit_quorum <= founders) return std::nullopt;
    return violation(key + "commit_quorum",
                     std::to_string(log.commit_quorum) +
                         " is not allowed with quorum = \"flexible\": use 2 to " +
                         std::to_string(founders) + ", the voters there are");
  }
  if (log.quorum != Quorums::majority && log.quorum != Quorums::all) {
    return violation(key + "quorum",
                     "is no quorum system: use \"majority\", \"all\" or \"flexible\"");
  }
  if (log.commit_quorum == 0) return std::nullopt;
  return violation(key + "commit_quorum", "belongs to quorum = \"flexible\" only: leave it out");
}

Found check_logs(const EngineOptions& options) {
  if (options.logs.empty() || options.logs.size() > kLogsMax) {
    return violation("log", "names " + std::to_string(options.logs.size()) + " logs: list 1 to " +
                                std::to_string(kLogsMax) + " as [[log]]");
  }
  std::set<std::string> names;
  std::set<uint64_t> ids;
  for (size_t i = 0; i < options.logs.size(); ++i) {
    const LogOptions& log = options.logs[i];
    const std::string key = "log[" + std::to_string(i) + "].";
    if (!log_name_allowed(log.name)) {
      return violation(key + "name",
                       in_quotes(log.name) +
                           " is no log name: use 1 to 64 of a-z 0-9 - _ and begin with a letter or "
                           "digit (it names files)");
    }
    if (!names.insert(log.name).second) {
      return violation(key + "name", in_quotes(log.name) +
                                         " is also the name of an earlier log: names are unique");
    }
    if (log.id < 1 || log.id > UINT32_MAX) {
      return violation(key + "id", std::to_string(log.id) +
                                       " is no log id: use 1 to 4294967295, the same on "
                                       "every node");
    }
    if (!ids.insert(log.id).second) {
      return violation(
          key + "id", std::to_string(log.id) + " is also the id of an earlier log: ids are unique");
    }
    if (auto found = check_log_sizes(log, key)) return found;
    if (auto found = check_log_device(options, log, key)) return found;
    if (log.state != nullptr && log.auto_apply) {
      return violation(key + "state",
                       "is for applications that say what they have applied: set auto_apply = "
                       "false, or leave the hook out");
    }
    if (auto found = check_log_quorum(options, log, key)) return found;
    if (auto found = check_log_pace(log, key)) return found;
    if (auto found = check_standby_lag(log, key)) return found;
  }
  return std::nullopt;
}

Found check_poller(const EngineOptions& options) {
  std::set<int> seen;
  for (const int core : options.poller_cores) {
    if (core < -1 || core > kCoreMax) {
      return violation("poller.cores", std::to_string(core) + " is no core: use 0 to " +
                                           std::to_string(kCoreMax) + ", or -1 for no pinning");
    }
    if (core >= 0 && !seen.insert(core).second) {
      return violation("poller.cores", "names core " + std::to_string(core) +
                                           " twice: a poller has a core to itself");
    }
  }
  if (options.spin_us > kSpinUsMax) {
    return violation("poller.spin_us", std::to_string(options.spin_us) + " is too long: use 0 to " +
                                           std::to_string(kSpinUsMax));
  }
  if (options.poller_priority > kPriorityMax) {
    return violation("poller.priority", std::to_string(options.poller_priority) +
                                            " is none: use 1 to " + std::to_string(kPriorityMax) +
                                            ", or 0 for an ordinary thread");
  }
  if (options.poller_priority != 0 && options.inline_poller) {
    return violation("poller.priority",
                     "is for poller threads, and an inline poller is the application's own: give "
                     "that one the priority, and set this to 0");
  }
  return std::nullopt;
}

Found check_failure_detection(const EngineOptions& options) {
  if (options.suspect_after_us < kSuspectUsMin || options.suspect_after_us > kSuspectUsMax) {
    return violation("failure_detection.suspect_after_us",
                     std::to_string(options.suspect_after_us) + " is not allowed: use " +
                         std::to_string(kSuspectUsMin) + " to " + std::to_string(kSuspectUsMax) +
                         " microseconds");
  }
  if (options.link_hint_us > options.suspect_after_us) {
    return violation("failure_detection.link_hint_us",
                     std::to_string(options.link_hint_us) + " is longer than suspect_after_us = " +
                         std::to_string(options.suspect_after_us) +
                         ": a dropped link can only shorten the wait");
  }
  if (options.round_trip_us < kRoundTripUsMin || options.round_trip_us > kRoundTripUsMax) {
    return violation("failure_detection.round_trip_us",
                     std::to_string(options.round_trip_us) + " is not allowed: use " +
                         std::to_string(kRoundTripUsMin) + " to " +
                         std::to_string(kRoundTripUsMax) + " microseconds");
  }
  return std::nullopt;
}

Found check_logging(const EngineOptions& options) {
  for (const std::string_view level : kLogLevels) {
    if (options.log_level == level) return std::nullopt;
  }
  return violation("logging.level", in_quotes(options.log_level) +
                                        " is no level: use trace, debug, info, warn, error or off");
}

Found check_state(const EngineOptions& options) {
  if (options.state_bytes_per_s >= kStateBytesPerSecondMin) return std::nullopt;
  return violation("state_bytes_per_s", bytes_text(options.state_bytes_per_s) +
                                            " is too little: use at least " +
                                            bytes_text(kStateBytesPerSecondMin));
}

}  // namespace

bool log_name_allowed(std::string_view text) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= kLogNameBytesMax && plain(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return plain(c) || c == '-' || c == '_'; });
}

std::optional<Violation> find_violation(const EngineOptions& options) {
  if (auto found = check_node(options)) return found;
  if (auto found = check_peers(options)) return found;
  if (auto found = check_listen(options)) return found;
  if (auto found = check_verbs(options)) return found;
  if (auto found = check_tls(options.tls)) return found;
  if (auto found = check_logs(options)) return found;
  if (auto found = check_poller(options)) return found;
  if (auto found = check_failure_detection(options)) return found;
  if (auto found = check_state(options)) return found;
  return check_logging(options);
}

Result<void> check(const EngineOptions& options) {
  const auto found = find_violation(options);
  if (!found) return {};
  return fail(found->code, "configuration: " + found->key + ": " + found->sentence);
}

std::string bytes_text(uint64_t bytes) {
  static constexpr std::pair<uint64_t, const char*> kUnits[] = {
      {uint64_t{1} << 40, " TiB"}, {uint64_t{1} << 30, " GiB"}, {kMiB, " MiB"}, {kKiB, " KiB"}};
  for (const auto& [unit, suffix] : kUnits) {
    if (bytes != 0 && bytes % unit == 0) return std::to_string(bytes / unit) + suffix;
  }
  return std::to_string(bytes) + " B";
}

}  // namespace caisson::engine
