// SPDX-License-Identifier: BSD-3-Clause
// `tail`, `trim` and `status`: short questions to a cluster.
#include <cinttypes>
#include <cstdio>
#include <optional>

#include "tools/command.hpp"
#include "tools/node_link.hpp"
#include "tools/options.hpp"
#include "tools/status.hpp"

namespace caisson::tools {

namespace {

constexpr std::chrono::milliseconds kCallTimeout{5'000};

struct TailOptions {
  LogChoice choice;
  unsigned replica = 0;
  double timeout_s = 10;
};

struct TrimOptions {
  LogChoice choice;
  uint64_t through = 0;
  double timeout_s = 10;
};

struct StatusOptions {
  std::string directory;
  unsigned replica = 0;
};

Result<NodeLink*> connect(NodeLinks& links, unsigned replica, double timeout_s) {
  const auto timeout = milliseconds_of(timeout_s);
  if (replica != 0) return links.node(ReplicaId{static_cast<uint8_t>(replica)}, timeout);
  return links.leader(Clock::now() + timeout);
}

Exit run_tail(const TailOptions& options, bool json) {
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto log = cluster->log(options.choice.log);
  if (!log) return report(log.error(), json);
  NodeLinks links(*cluster, (*log)->name);
  const auto link = connect(links, options.replica, options.timeout_s);
  if (!link) return report(link.error(), json);
  const auto tail = (*link)->call<protocol::TailIs>(protocol::Tail{(*link)->log()}, kCallTimeout);
  if (!tail) return report(tail.error(), json);
  if (json) {
    print_json({{"ok", true},
                {"log", (*log)->name},
                {"position", tail->position.value},
                {"term", tail->term.value},
                {"replica", (*link)->node().value},
                {"linearizable", tail->linearizable}});
  } else {
    std::printf("%" PRIu64 "\n", tail->position.value);
  }
  return Exit::ok;
}

// The reader of a replica that holds `through` longest, as the replica says.
std::optional<Json> reader_that_holds(const Cluster& cluster, ReplicaId replica,
                                      const std::string& log, uint64_t through) {
  const auto status = log_status(cluster, replica, log);
  if (!status) return std::nullopt;
  std::optional<Json> longest;
  const auto expires_in_ms = [](const Json& reader) {
    return reader.value("expires_in_ms", UINT64_MAX);
  };
  for (const Json& reader : status->raw.value("readers", Json::array())) {
    if (reader.value("from", UINT64_MAX) > through) continue;
    if (!longest || expires_in_ms(reader) > expires_in_ms(*longest)) longest = reader;
  }
  return longest;
}

std::string reader_text(const Json& reader) {
  std::string text = "reader '" + reader.value("name", "") + "'";
  if (!reader.contains("expires_in_ms")) return text + ", until it ends";
  return text + ", unless it reads on, for " +
         human_ns(1e6 * static_cast<double>(reader.value("expires_in_ms", uint64_t{0})));
}

// Who is in the way of a trim, and for how long.
std::string holder_text(const Cluster& cluster, const std::string& log, ReplicaId leader,
                        ReplicaId holder, uint64_t through) {
  const ReplicaId where = holder.value == 0 ? leader : holder;
  const auto reader = reader_that_holds(cluster, where, log, through);
  const std::string replica = "replica " + std::to_string(where.value);
  if (reader) return replica + " (" + reader_text(*reader) + ")";
  return holder.value == 0 ? "a reader at " + replica : replica;
}

Exit run_trim(const TrimOptions& options, bool json) {
  const auto cluster = load_cluster(options.choice.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto log = cluster->log(options.choice.log);
  if (!log) return report(log.error(), json);
  NodeLinks links(*cluster, (*log)->name);
  const auto link = connect(links, 0, options.timeout_s);
  if (!link) return report(link.error(), json);
  const auto trimmed = (*link)->call<protocol::Trimmed>(
      protocol::Trim{(*link)->log(), Position{options.through}}, kCallTimeout);
  if (!trimmed) return report(trimmed.error(), json);
  if (trimmed->code == Code::held) {
    return report(
        {Code::held,
         holder_text(*cluster, (*log)->name, (*link)->node(), trimmed->holder, options.through) +
             " still needs entries at or below " + std::to_string(options.through) +
             "; trimmed up to " + std::to_string(trimmed->trimmed.value)},
        json);
  }
  if (trimmed->code == Code::not_yet) {
    const auto tail = (*link)->call<protocol::TailIs>(protocol::Tail{(*link)->log()}, kCallTimeout);
    return report({Code::not_yet,
                   "position " + std::to_string(options.through) + " is not committed yet" +
                       (tail ? "; the last that is: " + std::to_string(tail->position.value) : "")},
                  json);
  }
  if (trimmed->code != Code::ok) {
    return report({trimmed->code, "trimming through " + std::to_string(options.through) +
                                      " is refused: " + std::string(name(trimmed->code))},
                  json);
  }
  if (json) {
    print_json({{"ok", true}, {"log", (*log)->name}, {"trimmed", trimmed->trimmed.value}});
  } else {
    std::printf("trimmed through %" PRIu64 "\n", trimmed->trimmed.value);
  }
  return Exit::ok;
}

Exit run_status(const StatusOptions& options, bool json) {
  auto cluster = load_cluster(options.directory);
  if (!cluster) return report(cluster.error(), json);
  if (options.replica != 0) {
    const auto replica = cluster->replica(ReplicaId{static_cast<uint8_t>(options.replica)});
    if (!replica) return report(replica.error(), json);
    const ClusterReplica only = **replica;
    cluster->replicas = {only};
  }
  if (const auto sound = check_client_files(*cluster); !sound) return report(sound.error(), json);
  const auto reports = ask_cluster(*cluster);
  if (json) {
    print_json(status_object(*cluster, reports));
  } else {
    print_status(*cluster, reports);
  }
  for (const ReplicaReport& one : reports) {
    if (!one.logs.empty()) return Exit::ok;
  }
  return Exit::unreachable;
}

}  // namespace

void add_log_position(Commands& commands) {
  auto tail = std::make_shared<TailOptions>();
  CLI::App* command = commands.add(
      commands.app, "tail", "print the last committed position",
      "  caisson tail --dir D\n"
      "  caisson tail --dir D --replica 2      as that replica knows it, possibly stale\n",
      tail, run_tail);
  add_log_choice(command, tail->choice);
  command->add_option("--replica", tail->replica, "ask this one; else the leader")
      ->check(CLI::Range(1, 63));
  add_timeout(command, tail->timeout_s, "how long to look for a leader");

  auto trim = std::make_shared<TrimOptions>();
  command = commands.add(commands.app, "trim", "forget every entry through a position",
                         "  caisson trim --dir D --through 40000\n\n"
                         "Refused with exit code 18 while a replica has not durably applied them, "
                         "or a reader holds them.\n",
                         trim, run_trim);
  add_log_choice(command, trim->choice);
  add_position(command, "--through", trim->through, "the last position to forget")->required();
  add_timeout(command, trim->timeout_s, "how long to look for a leader");
}

void add_status(Commands& commands) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command =
      commands.add(commands.app, "status", "roles, terms and marks, as the nodes say",
                   "  caisson status --dir D\n"
                   "  caisson status --dir D --replica 2 --json\n\n"
                   "Exit code 16 if no node answers.\n",
                   options, run_status);
  add_directory(command, options->directory);
  command->add_option("--replica", options->replica, "only this one")->check(CLI::Range(1, 63));
}

}  // namespace caisson::tools
