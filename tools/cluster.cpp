// SPDX-License-Identifier: BSD-3-Clause
#include "tools/cluster.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/control/wire_code.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

constexpr uint64_t kReadyTimeoutMs = 60'000;
constexpr uint64_t kKillTimeoutMs = 5'000;
constexpr uint32_t kClusterFormat = 1;

std::filesystem::path cluster_file(const std::filesystem::path& directory) {
  return directory / "cluster.json";
}

Result<Cluster> parse_cluster(const std::filesystem::path& directory, const nlohmann::json& json) {
  if (json.at("format").get<uint32_t>() > kClusterFormat) {
    return fail(Code::wrong_version, "'" + cluster_file(directory).string() +
                                         "' was written by a newer caisson: use that one");
  }
  Cluster cluster;
  cluster.directory = directory;
  const auto uuid = engine::parse_cluster_uuid(json.at("cluster").get<std::string>());
  if (!uuid) return tl::unexpected(uuid.error());
  cluster.uuid = *uuid;
  cluster.persistence = json.at("persistence").get<std::string>() == "real"
                            ? PersistenceMode::real
                            : PersistenceMode::emulated;
  cluster.fabric = json.value("fabric", "shm") == "verbs" ? FabricKind::verbs : FabricKind::shm;
  for (const auto& row : json.at("replicas")) {
    cluster.replicas.push_back({ReplicaId{row.at("id").get<uint8_t>()},
                                row.at("host").get<std::string>(), row.at("port").get<uint16_t>(),
                                row.value("spare", false)});
  }
  for (const auto& row : json.at("logs")) {
    cluster.logs.push_back({row.at("name").get<std::string>(), row.at("id").get<uint64_t>(),
                            row.at("ring_bytes").get<uint64_t>(),
                            row.at("entry_bytes_max").get<uint32_t>(),
                            row.value("quorum", "majority")});
  }
  if (cluster.replicas.empty() || cluster.logs.empty()) {
    return fail(Code::invalid, "'" + cluster_file(directory).string() +
                                   "' names no replica or no log: it is not a whole cluster file");
  }
  return cluster;
}

template <class List, class Text>
std::string listed(const List& list, Text text) {
  std::string out;
  for (const auto& item : list) out += (out.empty() ? "" : ", ") + text(item);
  return out;
}

// The last words of a node that ended without the promised line.
std::string tail_of(const std::filesystem::path& path) {
  constexpr size_t kTailBytes = 600;
  const auto text = read_text(path);
  if (!text || text->empty()) return "";
  const size_t from = text->size() > kTailBytes ? text->find('\n', text->size() - kTailBytes) : 0;
  return from == std::string::npos ? "" : text->substr(from);
}

Result<void> judge_first_line(const std::string& line, const std::string& who) {
  const auto said = nlohmann::json::parse(line, nullptr, false);
  if (said.is_discarded())
    return fail(Code::internal, who + " said something else than JSON: " + line);
  if (said.value("ready", false)) return {};
  const auto error = said.value("error", nlohmann::json::object());
  return fail(code_named(error.value("code", "internal")),
              who + " does not start: " + error.value("message", line));
}

}  // namespace

Code code_named(std::string_view text) {
  for (const Code code : control::kWireCodes) {
    if (name(code) == text) return code;
  }
  return Code::internal;
}

std::filesystem::path Cluster::home(ReplicaId id) const {
  return directory / ("replica-" + std::to_string(id.value));
}

Result<const ClusterReplica*> Cluster::replica(ReplicaId id) const {
  for (const ClusterReplica& candidate : replicas) {
    if (candidate.id == id) return &candidate;
  }
  return fail(Code::not_found, "there is no replica " + std::to_string(id.value) + " in '" +
                                   directory.string() + "'; there are " +
                                   listed(replicas, [](const ClusterReplica& one) {
                                     return std::to_string(one.id.value);
                                   }));
}

Result<const ClusterLog*> Cluster::log(const std::string& wanted) const {
  if (wanted.empty()) return &logs.front();
  for (const ClusterLog& candidate : logs) {
    if (candidate.name == wanted) return &candidate;
  }
  return fail(Code::not_found, "there is no log '" + wanted + "' in '" + directory.string() +
                                   "'; there are " +
                                   listed(logs, [](const ClusterLog& one) { return one.name; }));
}

TlsOptions Cluster::client_tls() const {
  return {true, (directory / "authority.crt").string(), (directory / "client.crt").string(),
          (directory / "client.key").string()};
}

bool cluster_exists(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(cluster_file(directory), error);
}

Result<Cluster> load_cluster(const std::filesystem::path& directory) {
  const auto text = read_text(cluster_file(directory));
  if (!text && text.error().code == Code::not_found) {
    return fail(Code::not_found, "there is no cluster in '" + directory.string() +
                                     "'; make one with: caisson cluster start --dir " +
                                     directory.string());
  }
  if (!text) return tl::unexpected(text.error());
  std::error_code error;
  const auto absolute = std::filesystem::absolute(directory, error);
  try {
    return parse_cluster(error ? directory : absolute.lexically_normal(),
                         nlohmann::json::parse(*text));
  } catch (const nlohmann::json::exception& exception) {
    return fail(Code::invalid, "'" + cluster_file(directory).string() +
                                   "' cannot be understood: " + exception.what() +
                                   ". Restore it; the replicas' data is not touched by it");
  }
}

std::optional<ProcessId> running(const Cluster& cluster, ReplicaId id) {
  const auto process = read_pid_file(cluster.pid_file(id));
  if (!process || !alive(*process)) return std::nullopt;
  return process;
}

std::optional<ProcessId> foreign_owner(const Cluster& cluster, ReplicaId id) {
  if (running(cluster, id)) return std::nullopt;
  const std::filesystem::path path = cluster.data(id) / "lock";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  const auto text = held ? read_text(path) : Result<std::string>(std::string());
  if (!text) return std::nullopt;
  const int pid = std::atoi(text->c_str());
  return pid > 0 ? identify(pid) : std::nullopt;
}

Error not_ours(ReplicaId id, const ProcessId& owner) {
  const std::string pid = std::to_string(owner.pid);
  return {Code::busy, "replica " + std::to_string(id.value) + " is run by process " + pid +
                          ", which `cluster start` did not start: end it where it was started, or "
                          "with kill " +
                          pid};
}

Result<ProcessId> start_replica(const Cluster& cluster, ReplicaId id, const StartWith& with) {
  const std::string who = "replica " + std::to_string(id.value);
  if (const auto process = running(cluster, id)) {
    return fail(Code::busy, who + " runs already, as process " + std::to_string(process->pid));
  }
  const auto program = own_program();
  if (!program) return tl::unexpected(program.error());
  SpawnOptions options;
  options.arguments = {*program};
  if (with.command.empty()) {
    options.arguments.insert(options.arguments.end(),
                             {"node", "--config", cluster.configuration(id).string(), "--json"});
  } else {
    options.arguments.insert(options.arguments.end(), with.command.begin(), with.command.end());
  }
  options.error_file = cluster.output(id);
  options.cores = with.cores;
  const auto spawned = spawn(options);
  if (!spawned) return tl::unexpected(spawned.error());
  auto written = write_pid_file(cluster.pid_file(id), spawned->process);
  const auto line = read_line(spawned->output_fd, kReadyTimeoutMs);
  close(spawned->output_fd);
  if (!line) {
    if (alive(spawned->process)) (void)send_signal(spawned->process, SIGKILL);
    wait_gone(spawned->process, kKillTimeoutMs);
    return fail(line.error().code == Code::timed_out ? Code::timed_out : Code::internal,
                who + " did not get ready: " + line.error().message + "; see " +
                    cluster.output(id).string() + tail_of(cluster.output(id)));
  }
  if (written) written = judge_first_line(*line, who);
  if (!written) {
    if (!wait_gone(spawned->process, 1'000)) (void)send_signal(spawned->process, SIGKILL);
    wait_gone(spawned->process, kKillTimeoutMs);
    return tl::unexpected(written.error());
  }
  return spawned->process;
}

Result<void> stop_replica(const Cluster& cluster, ReplicaId id, uint64_t timeout_ms) {
  const auto process = running(cluster, id);
  if (process) {
    // A stopped process cannot hear the request.
    if (stopped(*process)) (void)send_signal(*process, SIGCONT);
    const auto asked = send_signal(*process, SIGTERM);
    if (!asked && asked.error().code != Code::not_found) return asked;
    if (!wait_gone(*process, timeout_ms)) {
      (void)send_signal(*process, SIGKILL);
      if (!wait_gone(*process, kKillTimeoutMs)) {
        return fail(Code::timed_out, "process " + std::to_string(process->pid) + " of replica " +
                                         std::to_string(id.value) + " does not end");
      }
    }
  }
  std::error_code error;
  std::filesystem::remove(cluster.pid_file(id), error);
  if (const auto owner = foreign_owner(cluster, id)) return tl::unexpected(not_ours(id, *owner));
  return {};
}

}  // namespace caisson::tools
