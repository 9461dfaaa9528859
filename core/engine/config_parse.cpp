// SPDX-License-Identifier: BSD-3-Clause
// From TOML to EngineOptions: types and names are judged here, values by config_rules.cpp.
#include <algorithm>
#include <initializer_list>
#include <string>

#include "core/engine/config.hpp"
#include "core/engine/toml_reader.hpp"

namespace caisson::engine {
namespace {

void read_cluster(Table& table, EngineOptions& options) {
  std::string text;
  if (!table.text("uuid", text)) {
    table.missing("uuid", "write 32 hexadecimal digits, the same on every node");
    return;
  }
  const auto uuid = parse_cluster_uuid(text);
  if (!uuid) {
    table.findings().refuse(table.key("uuid"), uuid.error().message);
    return;
  }
  options.cluster = *uuid;
}

void read_node(Table& table, EngineOptions& options) {
  if (!table.replica("replica", options.replica)) {
    table.missing("replica", "write this node's number, 1 to 63");
  }
  if (!table.path("directory", options.directory)) {
    table.missing("directory", "name the directory that holds this node's data");
  }
  table.text("listen_host", options.listen_host);
  if (table.number("listen_port", options.listen_port, 1, UINT16_MAX) && options.listen_port == 0) {
    table.findings().refuse(table.key("listen_port"),
                            "0 is not allowed: use a whole number from 1 to 65535, or leave it out "
                            "for the port of this node's [[peer]]");
  }
  table.choice("persistence", options.persistence,
               {PersistenceMode::emulated, PersistenceMode::real});
  table.choice("fabric", options.fabric, {FabricKind::shm, FabricKind::verbs});
}

void read_verbs(Table& table, VerbsOptions& verbs) {
  table.text("address", verbs.address);
  table.text("device", verbs.device);
  table.number("port", verbs.port, 1, kVerbsPortMax);
  uint32_t gid_index = 0;
  if (table.number("gid_index", gid_index, 0, kGidIndexMax)) {
    verbs.gid_index = static_cast<int>(std::min(gid_index, kGidIndexMax + 1));
  }
  table.number("traffic_class", verbs.traffic_class, 0, kTrafficClassMax);
  table.flag("past_caches", verbs.past_caches);
  table.choice("persists_by", verbs.persists_by,
               {RemotePersistence::automatic, RemotePersistence::flush,
                RemotePersistence::read_after_write, RemotePersistence::target_flush});
}

void read_peer(Table& table, EngineOptions& options) {
  PeerOptions peer;
  if (!table.replica("id", peer.id)) table.missing("id", "write the node's number, 1 to 63");
  if (!table.text("host", peer.host)) table.missing("host", "write its name or address");
  if (!table.number("port", peer.port, 1, UINT16_MAX))
    table.missing("port", "write its listen_port");
  table.path("directory", peer.directory);
  table.flag("spare", peer.spare);
  options.peers.push_back(std::move(peer));
}

void read_tls(Table& table, EngineOptions& options) {
  table.flag("enabled", options.tls.enabled);
  table.path("ca", options.tls.ca_file);
  table.path("certificate", options.tls.certificate_file);
  table.path("key", options.tls.key_file);
}

void read_log(Table& table, EngineOptions& options) {
  LogOptions log;
  if (!table.text("name", log.name)) table.missing("name", "name the log, for example \"main\"");
  if (!table.number("id", log.id, 1, UINT32_MAX))
    table.missing("id", "number the log, the same on every node");
  table.path("device", log.device);
  table.bytes("ring_bytes", log.ring_bytes);
  table.bytes("segment_bytes", log.segment_bytes);
  table.bytes("salvage_bytes", log.salvage_bytes);
  uint64_t entry_bytes_max = 0;
  if (table.bytes("entry_bytes_max", entry_bytes_max)) {
    log.entry_bytes_max = static_cast<uint32_t>(std::min<uint64_t>(entry_bytes_max, UINT32_MAX));
  }
  table.number("outstanding_max", log.outstanding_max, kOutstandingMin, kOutstandingMax);
  table.flag("auto_apply", log.auto_apply);
  table.choice("quorum", log.quorum, {Quorums::majority, Quorums::all, Quorums::flexible});
  table.number("commit_quorum", log.commit_quorum, 2, kVotersMax);
  table.choice("slow", log.slow, {SlowPolicy::back_pressure, SlowPolicy::demote});
  table.number("slow_patience_ms", log.slow_patience_ms, 1, kSlowPatienceMsMax);
  table.number("voters_min", log.voters_min, 1, kVotersMax);
  table.bytes("catch_up_bytes_per_s", log.catch_up_bytes_per_s);
  table.bytes("scrub_bytes_per_s", log.scrub_bytes_per_s);
  table.choice("standby_policy", log.standby_policy, {StandbyPolicy::stall, StandbyPolicy::error});
  table.bytes("standby_lag_bytes", log.standby_lag.bytes);
  table.number("standby_lag_entries", log.standby_lag.entries, 1, kStandbyLagEntriesMax);
  table.number("standby_lag_ms", log.standby_lag.ms, 1, kStandbyLagMsMax);
  options.logs.push_back(std::move(log));
}

void read_cores(Table& table, std::vector<int>& cores) {
  const toml::node* node = table.find("cores");
  if (node == nullptr) return;
  if (const auto word = node->value_exact<std::string_view>(); word && *word == "auto") return;
  const toml::array* array = node->as_array();
  if (array == nullptr || array->empty()) {
    table.findings().refuse(table.key("cores"),
                            found_text(*node) + " is not allowed: use \"auto\" or a list, [0, 1]");
    return;
  }
  for (const toml::node& item : *array) {
    const auto core = item.value_exact<int64_t>();
    if (!core || *core < -1 || *core > kCoreMax) {
      table.findings().refuse(table.key("cores"), found_text(item) + " is no core: use 0 to " +
                                                      std::to_string(kCoreMax) +
                                                      ", or -1 for no pinning");
      return;
    }
    cores.push_back(static_cast<int>(*core));
  }
}

void read_poller(Table& table, EngineOptions& options) {
  table.flag("inline", options.inline_poller);
  read_cores(table, options.poller_cores);
  table.flag("cross_numa", options.cross_numa);
  table.choice("idle", options.idle, {Idle::busy, Idle::yield, Idle::adaptive});
  table.number("spin_us", options.spin_us, 0, kSpinUsMax);
  table.number("priority", options.poller_priority, 0, kPriorityMax);
}

void read_failure_detection(Table& table, EngineOptions& options) {
  table.number("suspect_after_us", options.suspect_after_us, kSuspectUsMin, kSuspectUsMax);
  if (!table.number("link_hint_us", options.link_hint_us, 0, kSuspectUsMax)) {
    options.link_hint_us = std::min(options.link_hint_us, options.suspect_after_us);
  }
  table.number("round_trip_us", options.round_trip_us, kRoundTripUsMin, kRoundTripUsMax);
}

void read_logging(Table& table, EngineOptions& options) {
  table.text("level", options.log_level);
  table.path("file", options.log_file);
}

void read_all(Table& root, EngineOptions& options) {
  with_table(root, "cluster", [&](Table& table) { read_cluster(table, options); });
  with_table(root, "node", [&](Table& table) { read_node(table, options); });
  with_table(root, "verbs", [&](Table& table) { read_verbs(table, options.verbs); });
  for_each_table(root, "peer", kPeersMax, [&](Table& table) { read_peer(table, options); });
  with_table(root, "tls", [&](Table& table) { read_tls(table, options); });
  for_each_table(root, "log", kLogsMax, [&](Table& table) { read_log(table, options); });
  with_table(root, "poller", [&](Table& table) { read_poller(table, options); });
  with_table(root, "failure_detection",
             [&](Table& table) { read_failure_detection(table, options); });
  with_table(root, "logging", [&](Table& table) { read_logging(table, options); });
  root.finish();
}

// Listening where one's own [[peer]] says is so usual that it need not be repeated.
void fill_listen(EngineOptions& options) {
  for (const PeerOptions& peer : options.peers) {
    if (peer.id != options.replica) continue;
    if (options.listen_host.empty()) options.listen_host = peer.host;
    if (options.listen_port == 0) options.listen_port = peer.port;
  }
}

}  // namespace

Result<EngineOptions> parse_config(std::string_view text, std::string_view source,
                                   const std::filesystem::path& base) {
  EngineOptions options;
  options.listen_host.clear();
  const auto read = read_toml(text, source, base, "docs/configuration.md", [&](Table& root) {
    read_all(root, options);
    if (root.findings().failed()) return;
    fill_listen(options);
    if (const auto found = find_violation(options)) {
      root.findings().refuse(found->key, found->sentence, found->code);
    }
  });
  if (!read) return tl::unexpected(read.error());
  std::sort(options.peers.begin(), options.peers.end(),
            [](const PeerOptions& a, const PeerOptions& b) { return a.id < b.id; });
  return options;
}

}  // namespace caisson::engine
