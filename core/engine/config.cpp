// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/config.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace caisson::engine {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A TOML basic string.
std::string toml_string(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_bytes(uint64_t bytes) {
  return bytes % kKiB == 0 && bytes != 0 ? toml_string(bytes_text(bytes)) : std::to_string(bytes);
}

void write_text(std::ostream& out, std::string_view key, const std::string& value) {
  if (!value.empty()) out << key << " = " << toml_string(value) << "\n";
}

void write_node(std::ostream& out, const EngineOptions& options) {
  out << "[cluster]\n";
  write_text(out, "uuid", to_hex(options.cluster));
  out << "\n[node]\nreplica = " << int{options.replica.value} << "\n";
  write_text(out, "directory", options.directory);
  write_text(out, "listen_host", options.listen_host);
  out << "listen_port = " << options.listen_port
      << "\npersistence = " << toml_string(name(options.persistence))
      << "\nfabric = " << toml_string(name(options.fabric)) << "\n";
  if (options.fabric == FabricKind::verbs) {
    out << "\n[verbs]\n";
    write_text(out, "address", options.verbs.address);
    write_text(out, "device", options.verbs.device);
    if (!options.verbs.device.empty()) out << "port = " << options.verbs.port << "\n";
    if (options.verbs.gid_index >= 0) out << "gid_index = " << options.verbs.gid_index << "\n";
    if (options.verbs.traffic_class != 0) {
      out << "traffic_class = " << options.verbs.traffic_class << "\n";
    }
    if (options.verbs.past_caches) out << "past_caches = true\n";
    if (options.verbs.persists_by != RemotePersistence::automatic) {
      out << "persists_by = " << toml_string(name(options.verbs.persists_by)) << "\n";
    }
  }
  for (const PeerOptions& peer : options.peers) {
    out << "\n[[peer]]\nid = " << int{peer.id.value} << "\n";
    write_text(out, "host", peer.host);
    out << "port = " << peer.port << "\n";
    write_text(out, "directory", peer.directory);
    if (peer.spare) out << "spare = true\n";
  }
  out << "\n[tls]\nenabled = " << (options.tls.enabled ? "true" : "false") << "\n";
  write_text(out, "ca", options.tls.ca_file);
  write_text(out, "certificate", options.tls.certificate_file);
  write_text(out, "key", options.tls.key_file);
}

void write_logs(std::ostream& out, const EngineOptions& options) {
  for (const LogOptions& log : options.logs) {
    out << "\n[[log]]\n";
    write_text(out, "name", log.name);
    write_text(out, "device", log.device);
    out << "id = " << log.id << "\nring_bytes = " << toml_bytes(log.ring_bytes) << "\n";
    if (log.segment_bytes != 0) out << "segment_bytes = " << toml_bytes(log.segment_bytes) << "\n";
    if (log.salvage_bytes != 0) out << "salvage_bytes = " << toml_bytes(log.salvage_bytes) << "\n";
    if (log.entry_bytes_max != 0) {
      out << "entry_bytes_max = " << toml_bytes(log.entry_bytes_max) << "\n";
    }
    out << "outstanding_max = " << log.outstanding_max
        << "\nauto_apply = " << (log.auto_apply ? "true" : "false")
        << "\nquorum = " << toml_string(name(log.quorum))
        << "\nslow = " << toml_string(name(log.slow))
        << "\nslow_patience_ms = " << log.slow_patience_ms
        << "\ncatch_up_bytes_per_s = " << toml_bytes(log.catch_up_bytes_per_s)
        << "\nscrub_bytes_per_s = " << toml_bytes(log.scrub_bytes_per_s) << "\n";
    if (log.commit_quorum != 0) out << "commit_quorum = " << log.commit_quorum << "\n";
    out << "standby_policy = " << toml_string(name(log.standby_policy)) << "\n";
    const StandbyBounds& lag = log.standby_lag;
    if (lag.bytes != 0) out << "standby_lag_bytes = " << toml_bytes(lag.bytes) << "\n";
    if (lag.entries != 0) out << "standby_lag_entries = " << lag.entries << "\n";
    if (lag.ms != 0) out << "standby_lag_ms = " << lag.ms << "\n";
    if (log.voters_min != 0) out << "voters_min = " << log.voters_min << "\n";
  }
}

void write_poller(std::ostream& out, const EngineOptions& options) {
  out << "\n[poller]\ninline = " << (options.inline_poller ? "true" : "false") << "\ncores = ";
  if (options.poller_cores.empty()) {
    out << "\"auto\"";
  } else {
    const char* separator = "[";
    for (const int core : options.poller_cores) {
      out << separator << core;
      separator = ", ";
    }
    out << ']';
  }
  if (options.cross_numa) out << "\ncross_numa = true";
  out << "\nidle = " << toml_string(name(options.idle)) << "\nspin_us = " << options.spin_us
      << "\npriority = " << options.poller_priority << "\n";
}

}  // namespace

Result<ClusterUuid> parse_cluster_uuid(std::string_view text) {
  ClusterUuid uuid{};
  size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const int value = hex_digit(c);
    if (value < 0 || digits == 32) {
      digits = 0;
      break;
    }
    uuid[digits / 2] = static_cast<uint8_t>(uuid[digits / 2] << 4 | value);
    ++digits;
  }
  if (digits != 32 || uuid == ClusterUuid{}) {
    return fail(Code::invalid, '"' + std::string(text.substr(0, 80)) +
                                   "\" is no cluster uuid: write 32 hexadecimal digits, not all 0");
  }
  return uuid;
}

std::string to_hex(const ClusterUuid& uuid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : uuid) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string_view name(Idle policy) {
  switch (policy) {
    case Idle::busy: return "busy";
    case Idle::yield: return "yield";
    case Idle::adaptive: return "adaptive";
  }
  return "unknown";
}

std::string_view name(PersistenceMode mode) {
  switch (mode) {
    case PersistenceMode::unset: return "unset";
    case PersistenceMode::emulated: return "emulated";
    case PersistenceMode::real: return "real";
  }
  return "unknown";
}

std::string_view name(SlowPolicy policy) {
  switch (policy) {
    case SlowPolicy::back_pressure: return "back_pressure";
    case SlowPolicy::demote: return "demote";
  }
  return "unknown";
}

std::string_view name(Quorums quorum) {
  switch (quorum) {
    case Quorums::majority: return "majority";
    case Quorums::all: return "all";
    case Quorums::flexible: return "flexible";
  }
  return "unknown";
}

std::string_view name(StandbyPolicy policy) {
  switch (policy) {
    case StandbyPolicy::stall: return "stall";
    case StandbyPolicy::error: return "error";
  }
  return "unknown";
}

std::string_view name(RemotePersistence way) {
  switch (way) {
    case RemotePersistence::automatic: return "auto";
    case RemotePersistence::flush: return "flush";
    case RemotePersistence::read_after_write: return "read_after_write";
    case RemotePersistence::target_flush: return "target_flush";
  }
  return "unknown";
}

std::string_view name(FabricKind fabric) {
  switch (fabric) {
    case FabricKind::shm: return "shm";
    case FabricKind::verbs: return "verbs";
  }
  return "unknown";
}

uint64_t segment_bytes_of(const LogOptions& log) {
  if (log.segment_bytes != 0) return log.segment_bytes;
  const uint64_t wanted = log.device.empty() ? kSegmentBytesWanted : kDeviceSegmentBytesMin;
  return std::max(std::min(wanted, log.ring_bytes / 4), log.ring_bytes / kSegmentsWanted);
}

uint64_t salvage_bytes_of(const LogOptions& log) {
  return log.salvage_bytes != 0 ? log.salvage_bytes : log.ring_bytes;
}

uint32_t entry_bytes_max_of(const LogOptions& log) {
  if (log.entry_bytes_max != 0) return log.entry_bytes_max;
  return static_cast<uint32_t>(std::min(kEntryBytesLimit, log.ring_bytes / 8));
}

uint32_t voters_min_of(const EngineOptions& options, const LogOptions& log) {
  if (log.voters_min != 0) return log.voters_min;
  const auto founders = std::count_if(options.peers.begin(), options.peers.end(),
                                      [](const PeerOptions& peer) { return !peer.spare; });
  return static_cast<uint32_t>(founders / 2 + 1);
}

uint64_t standby_lag_bytes_of(const LogOptions& log) {
  return log.standby_lag.bytes != 0 ? log.standby_lag.bytes : log.ring_bytes / 4;
}

Result<EngineOptions> load_config(const std::filesystem::path& path) try {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const int error = errno;
    const std::string what = path.string() + ": " + std::strerror(error);
    if (error == ENOENT) {
      return fail(Code::not_found, what + "; name an existing file with --config");
    }
    return fail(error == EACCES ? Code::denied : Code::io, what + "; make it readable");
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return fail(Code::io, path.string() + ": reading failed; is it a file?");
  return parse_config(text, path.string(), std::filesystem::absolute(path).parent_path());
} catch (const std::exception& error) {
  return fail(Code::io, path.string() + ": " + error.what());
}

std::string to_toml(const EngineOptions& options) {
  std::ostringstream out;
  out << "# A caisson node. Every key is explained in docs/configuration.md.\n\n";
  write_node(out, options);
  write_logs(out, options);
  write_poller(out, options);
  out << "\n[failure_detection]\nsuspect_after_us = " << options.suspect_after_us
      << "\nlink_hint_us = " << options.link_hint_us
      << "\nround_trip_us = " << options.round_trip_us << "\n\n[logging]\n";
  write_text(out, "level", options.log_level);
  write_text(out, "file", options.log_file);
  return out.str();
}

}  // namespace caisson::engine
