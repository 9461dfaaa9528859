// SPDX-License-Identifier: BSD-3-Clause
#include <signal.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <set>
#include <thread>

#include "caisson/caisson.hpp"
#include "tools/cluster.hpp"
#include "tools/command.hpp"
#include "tools/files.hpp"
#include "tools/node_link.hpp"
#include "tools/options.hpp"
#include "tools/status.hpp"

namespace caisson::tools {

namespace {

constexpr uint64_t kPollMs = 20;
constexpr uint64_t kKilledTimeoutMs = 10'000;

struct StartOptions {
  std::string directory;
  uint32_t replicas = 3;
  uint32_t spares = 0;
  std::vector<std::string> logs{"main"};
  uint64_t ring_bytes = 64ull << 20;
  std::string quorum = "majority";
  std::string persistence = "emulated";
  std::string idle = "adaptive";
  unsigned replica = 0;
  bool join = false;
  double timeout_s = 60;
  // Given on the command line, and so to be compared with what is there.
  CLI::Option* replicas_given = nullptr;
  CLI::Option* spares_given = nullptr;
  CLI::Option* logs_given = nullptr;
  CLI::Option* quorum_given = nullptr;
  CLI::Option* ring_given = nullptr;
  CLI::Option* persistence_given = nullptr;
  CLI::Option* idle_given = nullptr;
};

struct DirectoryOptions {
  std::string directory;
};

struct KillOptions {
  std::string directory;
  std::string replica;
  std::string log;
  std::string signal = "KILL";
};

Result<FileLock> lock(const std::filesystem::path& directory) {
  return FileLock::take(directory / ".lock");
}

// How pollers wait stands in each node's file, and may be changed there.
Result<void> check_idle(const StartOptions& options, const Cluster& cluster) {
  for (const ClusterReplica& replica : cluster.replicas) {
    const auto node = engine::load_config(cluster.configuration(replica.id));
    if (!node || engine::name(node->idle) == options.idle) continue;
    return fail(Code::exists, "--idle " + options.idle + ": '" +
                                  cluster.configuration(replica.id).string() + "' says idle = \"" +
                                  std::string(engine::name(node->idle)) +
                                  "\": change it there, or leave the option out");
  }
  return {};
}

// A cluster is made once: what the command line says about its shape must agree with what is there.
Result<void> check_same(const StartOptions& options, const Cluster& cluster) {
  const auto differs = [&](const std::string& what) -> Result<void> {
    return fail(Code::exists, "the cluster in '" + cluster.directory.string() + "' was made with " +
                                  what +
                                  ", which cannot change: leave the option out, or use another "
                                  "directory");
  };
  const auto spares =
      static_cast<size_t>(std::count_if(cluster.replicas.begin(), cluster.replicas.end(),
                                        [](const ClusterReplica& each) { return each.spare; }));
  if (*options.replicas_given && options.replicas != cluster.replicas.size() - spares) {
    return differs(std::to_string(cluster.replicas.size() - spares) + " replicas");
  }
  if (*options.spares_given && options.spares != spares) {
    return differs(std::to_string(spares) + " spares");
  }
  if (*options.ring_given && options.ring_bytes != cluster.logs.front().ring_bytes) {
    return differs("rings of " + std::to_string(cluster.logs.front().ring_bytes) + " bytes");
  }
  if (*options.logs_given) {
    const bool same = std::equal(
        options.logs.begin(), options.logs.end(), cluster.logs.begin(), cluster.logs.end(),
        [](const std::string& name, const ClusterLog& log) { return name == log.name; });
    if (!same) return differs("other logs");
  }
  if (*options.quorum_given && options.quorum != cluster.logs.front().quorum) {
    return differs("quorum " + cluster.logs.front().quorum);
  }
  const std::string persistence(engine::name(cluster.persistence));
  if (*options.persistence_given && options.persistence != persistence) {
    return differs("persistence " + persistence);
  }
  return *options.idle_given ? check_idle(options, cluster) : Result<void>{};
}

// What can never be right, whatever there is; empty: nothing.
std::string bad_argument(const StartOptions& options) {
  if (*options.ring_given &&
      (!std::has_single_bit(options.ring_bytes) || options.ring_bytes < engine::kRingBytesMin ||
       options.ring_bytes > engine::kRingBytesMax)) {
    return "--ring-bytes: " + engine::bytes_text(options.ring_bytes) +
           " is no size of a ring: use a power of two from 1MiB to 1TiB";
  }
  const bool word = options.quorum == "majority" || options.quorum == "all";
  const bool digit = options.quorum.size() == 1 && options.quorum[0] >= '2' &&
                     options.quorum[0] <= '7' &&
                     static_cast<uint32_t>(options.quorum[0] - '0') <= options.replicas;
  if (*options.quorum_given && !word && !digit) {
    return "--quorum: '" + options.quorum +
           "' is none: use majority, all, or how many copies commit, 2 to the number of replicas";
  }
  std::set<std::string> names;
  for (const std::string& name : options.logs) {
    if (!engine::log_name_allowed(name)) {
      return "--logs: '" + name +
             "' is no log name: use 1 to 64 of a-z 0-9 - _ and begin with a letter or digit";
    }
    if (!names.insert(name).second) return "--logs: '" + name + "' is named twice";
  }
  if (names.size() > engine::kLogsMax) {
    return "--logs: at most " + std::to_string(engine::kLogsMax) + " are possible";
  }
  return "";
}

Result<Cluster> make_cluster(const StartOptions& options) {
  ClusterShape shape;
  shape.directory = options.directory;
  shape.replicas = options.replicas;
  shape.spares = options.spares;
  shape.logs = options.logs;
  shape.ring_bytes = options.ring_bytes;
  shape.quorum = options.quorum;
  shape.persistence =
      options.persistence == "real" ? PersistenceMode::real : PersistenceMode::emulated;
  shape.idle = options.idle == "busy"    ? Idle::busy
               : options.idle == "yield" ? Idle::yield
                                         : Idle::adaptive;
  return create_cluster(shape);
}

// Every log has a leader, as the leader says itself.
Result<std::vector<ReplicaReport>> await_leaders(const Cluster& cluster, uint64_t timeout_ms,
                                                 Progress& progress) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    auto reports = ask_cluster(cluster);
    const auto waiting = std::find_if(
        cluster.logs.begin(), cluster.logs.end(),
        [&](const ClusterLog& log) { return leader_of(reports, log.name).value == 0; });
    if (waiting == cluster.logs.end()) return reports;
    if (progress.due()) progress.show("waiting for a leader of log " + waiting->name + " …");
    if (std::chrono::steady_clock::now() >= until) {
      return fail(Code::no_quorum, "log '" + waiting->name +
                                       "' has no leader yet: a majority of its "
                                       "replicas must run; see caisson cluster status --dir " +
                                       cluster.directory.string());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
}

// Starts what does not run; `only`: that replica alone. The first failure is reported, the others
// are started all the same: two replicas of three are worth having.
Result<std::vector<ReplicaId>> start_missing(const Cluster& cluster, ReplicaId only,
                                             Progress& progress) {
  std::vector<ReplicaId> started;
  tl::expected<void, Error> failed;
  for (const ClusterReplica& replica : cluster.replicas) {
    if (only.value != 0 && replica.id != only) continue;
    if (running(cluster, replica.id)) continue;
    if (progress.due())
      progress.show("starting replica " + std::to_string(replica.id.value) + " …");
    const auto process = start_replica(cluster, replica.id);
    if (process) {
      started.push_back(replica.id);
    } else if (failed) {
      failed = tl::unexpected(process.error());
    }
  }
  if (!failed) return tl::unexpected(failed.error());
  return started;
}

// The replica brought back has heard of a leader: from then on it takes part.
Result<void> await_part(const Cluster& cluster, ReplicaId id, uint64_t timeout_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const auto report = ask_replica(cluster, id);
    const bool takes_part =
        report && std::all_of(report->logs.begin(), report->logs.end(), [](const LogStatus& log) {
          // Who has not been admitted yet waits for that.
          return log.leader.value != 0 || log.raw.value("role", "") == "learner";
        });
    if (takes_part) return {};
    const auto process = running(cluster, id);
    if (process && stopped(*process)) {
      return fail(Code::busy,
                  "replica " + std::to_string(id.value) +
                      " is stopped by a signal; let it go on with: caisson cluster kill "
                      "--signal CONT --replica " +
                      std::to_string(id.value) + " --dir " + cluster.directory.string());
    }
    if (std::chrono::steady_clock::now() >= until) {
      return fail(Code::timed_out, "replica " + std::to_string(id.value) +
                                       " runs, but has found no leader in time; see " +
                                       cluster.output(id).string());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
}

Result<Cluster> open_or_make(const StartOptions& options, Progress& progress) {
  if (cluster_exists(options.directory)) {
    auto cluster = load_cluster(options.directory);
    if (!cluster) return cluster;
    if (const auto same = check_same(options, *cluster); !same) return tl::unexpected(same.error());
    return cluster;
  }
  if (options.replica != 0) {
    return fail(Code::not_found,
                "there is no cluster in '" + options.directory +
                    "' whose replica could be started; make one by leaving --replica out");
  }
  if (progress.due()) progress.show("making " + std::to_string(options.replicas) + " replicas …");
  return make_cluster(options);
}

// Empty regions in place of those that are lost.
Result<void> make_to_join(const Cluster& cluster, ReplicaId id) {
  const auto node = engine::load_config(cluster.configuration(id));
  if (!node) return tl::unexpected(node.error());
  return Engine::create(*node, Engine::Creation::joining);
}

Exit run_start(const StartOptions& options, bool json) {
  if (const std::string bad = bad_argument(options); !bad.empty()) return report_usage(bad, json);
  Progress progress(json);
  auto cluster = open_or_make(options, progress);
  if (!cluster) return report(cluster.error(), json);
  const auto held = lock(cluster->directory);
  if (!held) return report(held.error(), json);
  const ReplicaId only{static_cast<uint8_t>(options.replica)};
  if (only.value != 0) {
    if (const auto known = cluster->replica(only); !known) return report(known.error(), json);
  }
  if (const auto sound = check_client_files(*cluster); !sound) return report(sound.error(), json);
  if (options.join) {
    if (const auto made = make_to_join(*cluster, only); !made) return report(made.error(), json);
  }
  const auto started = start_missing(*cluster, only, progress);
  if (!started) return report(started.error(), json);
  const auto timeout_ms = static_cast<uint64_t>(milliseconds_of(options.timeout_s).count());
  if (only.value != 0) {
    if (const auto part = await_part(*cluster, only, timeout_ms); !part)
      return report(part.error(), json);
  }
  const auto reports = await_leaders(*cluster, timeout_ms, progress);
  progress.clear();
  if (!reports) return report(reports.error(), json);
  if (json) {
    Json object = status_object(*cluster, *reports);
    Json list = Json::array();
    for (const ReplicaId id : *started) list.push_back(id.value);
    object["started"] = list;
    print_json(object);
  } else {
    print_status(*cluster, *reports);
  }
  return Exit::ok;
}

Exit run_stop(const DirectoryOptions& options, bool json) {
  const auto cluster = load_cluster(options.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto held = lock(cluster->directory);
  if (!held) return report(held.error(), json);
  std::vector<std::thread> stoppers;
  std::vector<Result<void>> results(cluster->replicas.size());
  Json list = Json::array();
  for (size_t i = 0; i < cluster->replicas.size(); ++i) {
    const ReplicaId id = cluster->replicas[i].id;
    if (running(*cluster, id)) list.push_back(id.value);
    stoppers.emplace_back([&, i, id] { results[i] = stop_replica(*cluster, id); });
  }
  for (std::thread& stopper : stoppers) stopper.join();
  for (const Result<void>& result : results) {
    if (!result) return report(result.error(), json);
  }
  if (json) {
    print_json({{"ok", true}, {"stopped", list}});
  } else {
    std::printf("stopped %zu of %zu replicas\n", list.size(), cluster->replicas.size());
  }
  return Exit::ok;
}

Exit run_status(const DirectoryOptions& options, bool json) {
  const auto cluster = load_cluster(options.directory);
  if (!cluster) return report(cluster.error(), json);
  if (const auto sound = check_client_files(*cluster); !sound) return report(sound.error(), json);
  const auto reports = ask_cluster(*cluster);
  if (json) {
    print_json(status_object(*cluster, reports));
  } else {
    print_status(*cluster, reports);
  }
  return Exit::ok;
}

// 0: it is none.
ReplicaId parse_replica(const std::string& text) {
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || number > kReplicaIdMax) number = 0;
  return ReplicaId{static_cast<uint8_t>(number)};
}

std::string expect_replica_or_leader(const std::string& text) {
  if (text == "leader" || parse_replica(text).value != 0) return "";
  return "'" + text + "' is no replica: use a number from 1 to 63, or leader";
}

Result<ReplicaId> replica_meant(const Cluster& cluster, const KillOptions& options) {
  if (options.replica == "leader") {
    const auto log = cluster.log(options.log);
    if (!log) return tl::unexpected(log.error());
    if (const auto sound = check_client_files(cluster); !sound)
      return tl::unexpected(sound.error());
    const ReplicaId leader = leader_of(ask_cluster(cluster), (*log)->name);
    if (leader.value == 0)
      return fail(Code::no_quorum, "log '" + (*log)->name + "' has no leader now");
    return leader;
  }
  const auto replica = cluster.replica(parse_replica(options.replica));
  if (!replica) return tl::unexpected(replica.error());
  return (*replica)->id;
}

int signal_number(const std::string& name) {
  return name == "STOP" ? SIGSTOP : name == "CONT" ? SIGCONT : name == "TERM" ? SIGTERM : SIGKILL;
}

Exit run_kill(const KillOptions& options, bool json) {
  const auto cluster = load_cluster(options.directory);
  if (!cluster) return report(cluster.error(), json);
  const auto id = replica_meant(*cluster, options);
  if (!id) return report(id.error(), json);
  const auto process = running(*cluster, *id);
  if (!process) {
    if (const auto owner = foreign_owner(*cluster, *id)) return report(not_ours(*id, *owner), json);
    return report({Code::not_found, "replica " + std::to_string(id->value) + " does not run"},
                  json);
  }
  const int signal = signal_number(options.signal);
  if (const auto sent = send_signal(*process, signal); !sent) return report(sent.error(), json);
  if (signal == SIGKILL && !wait_gone(*process, kKilledTimeoutMs)) {
    return report({Code::timed_out, "process " + std::to_string(process->pid) + " is still there"},
                  json);
  }
  if (json) {
    print_json(
        {{"ok", true}, {"replica", id->value}, {"pid", process->pid}, {"signal", options.signal}});
  } else {
    std::printf("replica %u (process %d): SIG%s\n", unsigned{id->value}, process->pid,
                options.signal.c_str());
  }
  return Exit::ok;
}

void add_start(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<StartOptions>();
  CLI::App* command = commands.add(
      group, "start", "make a cluster if there is none, and start what does not run",
      "  caisson cluster start --dir D\n"
      "  caisson cluster start --dir D --replicas 5 --logs orders audit --ring-bytes 256MiB\n"
      "  caisson cluster start --dir D --replica 2      bring a killed replica back\n"
      "  caisson cluster start --dir D --replica 2 --join      its memory is lost: as an empty "
      "one\n\n"
      "Returns once every log has a leader. A replica whose region is gone is refused (exit code "
      "15).\n",
      options, run_start);
  add_directory(command, options->directory, "all state lies under it");
  options->replicas_given =
      command->add_option("--replicas", options->replicas, "how many")->check(CLI::Range(1, 7));
  options->spares_given =
      command
          ->add_option("--spares", options->spares,
                       "nodes beside them that vote in nothing until caisson member add")
          ->check(CLI::Range(0, 15));
  options->logs_given =
      command->add_option("--logs", options->logs, "names, [a-z0-9_-]")->delimiter(',');
  options->ring_given = add_bytes(command, "--ring-bytes", options->ring_bytes,
                                  "of each log: a power of two (64MiB)");
  options->quorum_given =
      command
          ->add_option("--quorum", options->quorum,
                       "how many copies commit: majority, all, or a number; n + 1 less that elect")
          ->capture_default_str();
  options->persistence_given =
      command->add_option("--persistence", options->persistence, "what regions survive")
          ->check(CLI::IsMember({"emulated", "real"}))
          ->capture_default_str();
  options->idle_given = command->add_option("--idle", options->idle, "how pollers wait")
                            ->check(CLI::IsMember({"busy", "yield", "adaptive"}))
                            ->capture_default_str();
  CLI::Option* const replica =
      command->add_option("--replica", options->replica, "start only this one")
          ->check(CLI::Range(1, 63));
  command
      ->add_flag("--join", options->join,
                 "its memory is lost: make empty regions first, to be admitted with caisson member "
                 "replace")
      ->needs(replica);
  add_timeout(command, options->timeout_s, "how long to wait for leaders");
}

void add_kill(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<KillOptions>();
  CLI::App* command = commands.add(group, "kill", "send a replica's process a signal",
                                   "  caisson cluster kill --dir D --replica leader\n"
                                   "  caisson cluster kill --dir D --replica 3 --signal STOP\n",
                                   options, run_kill);
  add_directory(command, options->directory);
  command->add_option("--replica", options->replica, "a number, or leader")
      ->required()
      ->check(CLI::Validator(expect_replica_or_leader, "", ""));
  command->add_option("--log", options->log, "whose leader is meant; the first log if not given");
  command->add_option("--signal", options->signal, "which")
      ->check(CLI::IsMember({"KILL", "STOP", "CONT", "TERM"}))
      ->capture_default_str();
}

}  // namespace

void add_cluster(Commands& commands) {
  CLI::App* group =
      commands.app.add_subcommand("cluster", "node processes of a cluster on this machine");
  group->require_subcommand(1);
  add_start(commands, *group);

  auto stop = std::make_shared<DirectoryOptions>();
  CLI::App* command = commands.add(*group, "stop", "close every replica cleanly",
                                   "  caisson cluster stop --dir D\n", stop, run_stop);
  add_directory(command, stop->directory);

  auto status = std::make_shared<DirectoryOptions>();
  command = commands.add(*group, "status", "what each replica says of itself",
                         "  caisson cluster status --dir D\n"
                         "  caisson cluster status --dir D --json | jq '.logs[0].leader'\n",
                         status, run_status);
  add_directory(command, status->directory);
  add_kill(commands, *group);
}

}  // namespace caisson::tools
