// SPDX-License-Identifier: BSD-3-Clause
// `backup` and `restore`: copies of logs, and new clusters made of them (R43).
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <map>

#include "core/engine/config.hpp"
#include "core/engine/engine_backup.hpp"
#include "tools/cluster.hpp"
#include "tools/command.hpp"
#include "tools/files.hpp"
#include "tools/options.hpp"

namespace caisson::tools {

namespace {

namespace fs = std::filesystem;
using engine::BackupReport;

constexpr int kFormat = 1;

struct MakeOptions {
  LogChoice choice;
  std::string configuration;
  unsigned replica = 0;
  std::string to;
};

struct VerifyOptions {
  std::string from;
};

struct RestoreOptions {
  std::string from;
  std::string directory;
  std::string configuration;
  unsigned replicas = 3;
};

fs::path region_in(const fs::path& backup, const std::string& log) {
  return backup / log / "backup";
}

// As `cluster start --quorum` takes it.
std::string quorum_word(log::QuorumSystem quorum) {
  if (quorum.commit == log::QuorumSystem::kMajority) return "majority";
  return quorum.commit == log::QuorumSystem::kAll ? "all" : std::to_string(quorum.commit);
}

// In backup.json, whose rows have to be the same for ever. What else a copy says is in the copy.
Json row_of(const std::string& log, const BackupReport& report) {
  return {{"log", log},
          {"id", report.original.log},
          {"cluster", engine::to_hex(report.original.cluster)},
          {"trimmed", report.trimmed.value},
          {"through", report.through.value},
          {"entries", report.entries},
          {"bytes", report.bytes},
          {"ring_bytes", report.ring_bytes}};
}

Json shown_row_of(const std::string& log, const BackupReport& report) {
  Json row = row_of(log, report);
  row["quorum"] = quorum_word(report.quorum);
  return row;
}

void print_row(const char* what, const std::string& log, const BackupReport& report) {
  std::printf(
      "log %s: %s positions %" PRIu64 " to %" PRIu64 " (%" PRIu64 " entries, %s, quorum %s)\n",
      log.c_str(), what, report.trimmed.value + 1, report.through.value, report.entries,
      human_bytes(static_cast<double>(report.bytes)).c_str(), quorum_word(report.quorum).c_str());
}

Exit finish(const Json& rows, bool json) {
  if (json) print_json({{"ok", true}, {"logs", rows}});
  return Exit::ok;
}

// The replica of a cluster that knows most of the first log to be committed, as its files say.
ReplicaId farthest(const Cluster& cluster) {
  ReplicaId best;
  Position committed;
  for (const ClusterReplica& replica : cluster.replicas) {
    const auto options = engine::load_config(cluster.configuration(replica.id));
    if (!options || options->logs.empty()) continue;
    const Position known = engine::committed_in_file(*options, options->logs.front());
    if (best.value != 0 && known <= committed) continue;
    best = replica.id;
    committed = known;
  }
  return best;
}

Result<EngineOptions> source_of(const MakeOptions& options) {
  if (!options.configuration.empty()) return engine::load_config(options.configuration);
  if (options.choice.directory.empty()) {
    return fail(Code::invalid, "name what to copy: --dir, or --config");
  }
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return tl::unexpected(cluster.error());
  const ReplicaId wanted{static_cast<uint8_t>(options.replica)};
  const auto replica = cluster->replica(options.replica != 0 ? wanted : farthest(*cluster));
  if (!replica) return tl::unexpected(replica.error());
  return engine::load_config(cluster->configuration((*replica)->id));
}

Exit run_make(const MakeOptions& options, bool json) {
  const auto source = source_of(options);
  if (!source) return report(source.error(), json);
  const fs::path list = fs::path(options.to) / "backup.json";
  std::error_code ignored;
  if (fs::exists(list, ignored)) {
    return report({Code::exists, list.string() + " is there: name another directory"}, json);
  }
  Json rows = Json::array();
  Json shown = Json::array();
  for (const LogOptions& log : source->logs) {
    if (!options.choice.log.empty() && log.name != options.choice.log) continue;
    const fs::path file = region_in(options.to, log.name);
    if (const auto made = make_directories(file.parent_path()); !made) {
      return report(made.error(), json);
    }
    const auto copied = engine::backup_log(*source, log, file.string());
    if (!copied) return report(copied.error(), json);
    if (!json) print_row("copied", log.name, *copied);
    rows.push_back(row_of(log.name, *copied));
    shown.push_back(shown_row_of(log.name, *copied));
  }
  if (rows.empty()) {
    return report({Code::not_found, "there is no log '" + options.choice.log + "'"}, json);
  }
  // Last: what has no list is no backup.
  const Json whole{{"format", kFormat}, {"logs", rows}};
  if (const auto written = write_text(list, whole.dump(2) + "\n"); !written) {
    return report(written.error(), json);
  }
  return finish(shown, json);
}

// Every log that the list names, whole, and as the list says.
Result<std::map<std::string, BackupReport>> verified(const std::string& from) {
  const fs::path list = fs::path(from) / "backup.json";
  const auto text = read_text(list);
  if (!text) return tl::unexpected(text.error());
  const Json whole = Json::parse(*text, nullptr, false);
  const auto broken = [&] {
    return fail(Code::invalid, list.string() + " is no list of a backup");
  };
  if (!whole.is_object() || !whole.contains("logs") || !whole["logs"].is_array()) return broken();
  if (whole.value("format", 0) > kFormat) {
    return fail(Code::wrong_version, list.string() + ": a newer format; use a newer caisson");
  }
  std::map<std::string, BackupReport> reports;
  for (const Json& row : whole["logs"]) {
    if (!row.is_object() || !row.contains("log") || !row["log"].is_string()) return broken();
    const std::string log = row["log"];
    if (!engine::log_name_allowed(log)) return broken();
    const fs::path file = region_in(from, log);
    const auto found = engine::verify_backup(file.string());
    if (!found) return tl::unexpected(found.error());
    if (row_of(log, *found) != row) {
      return fail(Code::damaged, file.string() + " is not the one that " + list.string() +
                                     " names: the two belong to different backups");
    }
    reports[log] = *found;
  }
  if (reports.empty()) return broken();
  return reports;
}

Exit run_verify(const VerifyOptions& options, bool json) {
  const auto reports = verified(options.from);
  if (!reports) return report(reports.error(), json);
  Json rows = Json::array();
  for (const auto& [log, found] : *reports) {
    if (!json) print_row("sound,", log, found);
    rows.push_back(shown_row_of(log, found));
  }
  return finish(rows, json);
}

Result<void> restore_all(const RestoreOptions& options,
                         const std::map<std::string, BackupReport>& reports,
                         const EngineOptions& node) {
  const bool founds = std::any_of(node.peers.begin(), node.peers.end(), [&](const auto& peer) {
    return peer.id == node.replica && !peer.spare;
  });
  if (!founds) {
    return fail(Code::invalid, "replica " + std::to_string(node.replica.value) +
                                   " is a spare: create it, with caisson node --create");
  }
  if (node.logs.size() != reports.size()) {
    return fail(Code::invalid, "the backup has " + std::to_string(reports.size()) +
                                   " logs, the configuration " + std::to_string(node.logs.size()) +
                                   ": list the same ones");
  }
  // All that can be refused, before anything is made.
  for (const LogOptions& log : node.logs) {
    const auto found = reports.find(log.name);
    if (found == reports.end()) {
      return fail(Code::not_found, "the backup has no log '" + log.name + "'");
    }
    const auto same =
        engine::expect_quorum_of(found->second, log, region_in(options.from, log.name).string());
    if (!same) return same;
  }
  for (const LogOptions& log : node.logs) {
    const auto restored =
        engine::restore_log(node, log, region_in(options.from, log.name).string());
    if (!restored) return tl::unexpected(restored.error());
  }
  return {};
}

Result<void> restore_cluster(const RestoreOptions& options,
                             const std::map<std::string, BackupReport>& reports) {
  if (cluster_exists(options.directory)) {
    return fail(Code::exists, "'" + options.directory + "' holds a cluster: name a new directory");
  }
  ClusterShape shape;
  shape.directory = options.directory;
  shape.replicas = options.replicas;
  shape.logs.clear();
  for (const auto& [log, found] : reports) {
    shape.logs.push_back(log);
    shape.ring_bytes = std::max(shape.ring_bytes, found.ring_bytes);
    shape.quorum_of[log] = quorum_word(found.quorum);
    const uint8_t commit = found.quorum.commit;
    if (commit != log::QuorumSystem::kAll && commit > options.replicas) {
      return fail(Code::invalid, "log '" + log + "' commits with " + std::to_string(commit) +
                                     " copies: restore it with --replicas " +
                                     std::to_string(commit) + " or more");
    }
  }
  shape.make_regions = [&](const EngineOptions& node) {
    return restore_all(options, reports, node);
  };
  const auto made = create_cluster(shape);
  if (!made) return tl::unexpected(made.error());
  return {};
}

Exit run_restore(const RestoreOptions& options, bool json) {
  if (options.directory.empty() == options.configuration.empty()) {
    return report_usage("name where to: a new cluster's --dir, or one node's --config", json);
  }
  const auto reports = verified(options.from);
  if (!reports) return report(reports.error(), json);
  Result<void> done;
  if (!options.directory.empty()) {
    done = restore_cluster(options, *reports);
  } else {
    const auto node = engine::load_config(options.configuration);
    if (!node) return report(node.error(), json);
    done = restore_all(options, *reports, *node);
  }
  if (!done) return report(done.error(), json);
  Json rows = Json::array();
  for (const auto& [log, found] : *reports) {
    if (!json) print_row("restored", log, found);
    rows.push_back(shown_row_of(log, found));
  }
  return finish(rows, json);
}

}  // namespace

void add_backup(Commands& commands) {
  CLI::App* group = commands.app.add_subcommand("backup", "copies of logs, taken while they go on");
  group->require_subcommand(1);
  auto make = std::make_shared<MakeOptions>();
  CLI::App* command = commands.add(
      *group, "make", "copy a replica's logs, each consistent up to a committed position",
      "  caisson backup make --dir D --to B\n"
      "  caisson backup make --config node.toml --log main --to B\n\n"
      "On the replica's machine; it may run meanwhile. Of a cluster, the replica that has got "
      "farthest.\n",
      make, run_make);
  add_directory(command, make->choice.directory)->required(false);
  command->add_option("--log", make->choice.log, "only this one; else every log");
  command->add_option("--replica", make->replica, "whose copy")->check(CLI::Range(1, 63));
  command->add_option("--config", make->configuration, "the node's file, without --dir");
  command->add_option("--to", make->to, "a new directory")->required();

  auto verify = std::make_shared<VerifyOptions>();
  command = commands.add(*group, "verify", "read a whole backup, and check every entry",
                         "  caisson backup verify --from B\n\n"
                         "Exit code 0: sound. 3: damaged.\n",
                         verify, run_verify);
  command->add_option("--from", verify->from, "the backup's directory")->required();
}

void add_restore(Commands& commands) {
  auto options = std::make_shared<RestoreOptions>();
  CLI::App* command = commands.add(
      commands.app, "restore", "make a new cluster that continues the logs of a backup",
      "  caisson restore --from B --dir D2                a new local cluster\n"
      "  caisson restore --from B --config node.toml      one node of a new cluster; on each of "
      "its founders\n\n"
      "Entries, positions, streams and quorum system are the original's; the cluster's identity is "
      "not: the two never mix.\n",
      options, run_restore);
  command->add_option("--from", options->from, "the backup's directory")->required();
  auto* dir = command->add_option("--dir", options->directory, "a new cluster's directory");
  command->add_option("--config", options->configuration, "one node's file")->excludes(dir);
  command->add_option("--replicas", options->replicas, "with --dir")
      ->capture_default_str()
      ->check(CLI::Range(1, 7));
}

}  // namespace caisson::tools
