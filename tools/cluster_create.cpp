// SPDX-License-Identifier: BSD-3-Clause
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "caisson/caisson.hpp"
#include "core/engine/certs.hpp"
#include "tools/cluster.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

namespace fs = std::filesystem;

constexpr char kHost[] = "127.0.0.1";
// Below the range from which Linux takes ports of outgoing connections (32768 and up), so that a
// port that was free when the cluster was made is still free when it is started again.
constexpr uint16_t kPortFirst = 20'000;
constexpr uint16_t kPortLast = 32'000;
constexpr int kPortAttempts = 1'000;

// Takes away what was made, unless all of it was.
class Scaffold {
 public:
  explicit Scaffold(fs::path directory) : directory_(std::move(directory)) {}
  ~Scaffold() {
    std::error_code error;
    for (const fs::path& path : made_) fs::remove_all(path, error);
    if (made_directory_) fs::remove_all(directory_, error);
  }
  Scaffold(const Scaffold&) = delete;
  Scaffold& operator=(const Scaffold&) = delete;

  Result<void> begin() {
    std::error_code error;
    made_directory_ = !fs::exists(directory_, error);
    if (const auto made = make_directories(directory_); !made) return made;
    auto lock = FileLock::take(directory_ / ".lock");
    if (!lock) {
      made_directory_ = false;
      return tl::unexpected(lock.error());
    }
    lock_.emplace(std::move(*lock));
    return {};
  }
  const fs::path& note(const fs::path& path) { return made_.emplace_back(path); }
  void keep() {
    made_.clear();
    made_directory_ = false;
  }

 private:
  fs::path directory_;
  std::optional<FileLock> lock_;  // two commands must not make one cluster
  std::vector<fs::path> made_;
  bool made_directory_ = false;
};

// Holds a port by listening on it, so that two replicas are never given the same one.
class HeldPort {
 public:
  explicit HeldPort(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, kHost, &address.sin_addr);
    held_ = fd_ >= 0 && bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
            listen(fd_, 1) == 0;
  }
  HeldPort(HeldPort&& other) noexcept : fd_(other.fd_), held_(other.held_) { other.fd_ = -1; }
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;
  ~HeldPort() {
    if (fd_ >= 0) close(fd_);
  }
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

Result<std::vector<uint16_t>> free_ports(size_t count) {
  std::random_device random;
  std::uniform_int_distribution<int> any(kPortFirst, kPortLast);
  std::vector<uint16_t> ports;
  std::vector<HeldPort> held;
  for (int attempt = 0; attempt < kPortAttempts && ports.size() < count; ++attempt) {
    const auto port = static_cast<uint16_t>(any(random));
    HeldPort candidate(port);
    if (!candidate.held()) continue;
    ports.push_back(port);
    held.push_back(std::move(candidate));
  }
  if (ports.size() < count) {
    return fail(Code::busy, "no free port on 127.0.0.1 between 20000 and 32000");
  }
  return ports;
}

Result<void> check_shape(const ClusterShape& shape) {
  if (shape.replicas == 0 || shape.replicas > engine::kVotersMax) {
    return fail(Code::invalid, "--replicas " + std::to_string(shape.replicas) +
                                   " is not possible: use 1 to " +
                                   std::to_string(engine::kVotersMax));
  }
  if (shape.replicas + shape.spares > engine::kPeersMax) {
    return fail(Code::invalid, "--spares " + std::to_string(shape.spares) +
                                   " is not possible: a cluster has at most " +
                                   std::to_string(engine::kPeersMax) + " nodes");
  }
  std::error_code error;
  if (fs::exists(shape.directory / "authority.crt", error) ||
      fs::exists(shape.directory / "replica-1", error)) {
    return fail(Code::exists,
                "'" + shape.directory.string() +
                    "' holds part of a cluster, but no cluster.json: restore that file, or "
                    "name an empty directory");
  }
  return {};
}

EngineOptions node_options(const Cluster& cluster, const ClusterShape& shape, size_t index) {
  const ClusterReplica& self = cluster.replicas[index];
  EngineOptions options;
  options.cluster = cluster.uuid;
  options.replica = self.id;
  options.directory = cluster.data(self.id).string();
  options.listen_host = self.host;
  options.listen_port = self.port;
  options.persistence = cluster.persistence;
  options.idle = shape.idle;
  options.poller_priority = shape.poller_priority;
  if (index < shape.cores.size()) options.poller_cores = shape.cores[index];
  if (shape.suspect_after_us != 0) options.suspect_after_us = shape.suspect_after_us;
  options.tls = {true, (cluster.directory / "authority.crt").string(),
                 (cluster.home(self.id) / "node.crt").string(),
                 (cluster.home(self.id) / "node.key").string()};
  for (const ClusterReplica& peer : cluster.replicas) {
    options.peers.push_back(
        {peer.id, peer.host, peer.port, cluster.data(peer.id).string(), peer.spare});
  }
  for (const ClusterLog& log : cluster.logs) {
    LogOptions log_options;
    log_options.name = log.name;
    log_options.id = log.id;
    log_options.ring_bytes = log.ring_bytes;
    if (log.quorum == "all") {
      log_options.quorum = Quorums::all;
    } else if (log.quorum != "majority") {
      log_options.quorum = Quorums::flexible;
      log_options.commit_quorum = static_cast<uint32_t>(std::stoul(log.quorum));
    }
    options.logs.push_back(log_options);
  }
  return options;
}

// As the node's file says it: paths from its own directory, so that a cluster may be moved, and a
// copy of it never writes to the original.
EngineOptions written_options(const Cluster& cluster, EngineOptions options) {
  const fs::path home = cluster.home(options.replica);
  const auto from_home = [&home](std::string& path) {
    path = fs::path(path).lexically_relative(home).string();
  };
  from_home(options.directory);
  from_home(options.tls.ca_file);
  from_home(options.tls.certificate_file);
  from_home(options.tls.key_file);
  for (PeerOptions& peer : options.peers) from_home(peer.directory);
  return options;
}

Result<void> create_replica(const Cluster& cluster, const ClusterShape& shape, size_t index,
                            Scaffold& scaffold) {
  const ReplicaId id = cluster.replicas[index].id;
  const fs::path home = scaffold.note(cluster.home(id));
  const EngineOptions options = node_options(cluster, shape, index);
  if (const auto sound = engine::check(options); !sound) return sound;
  if (const auto made = make_directories(home); !made) return made;
  if (const auto made = make_directories(cluster.data(id)); !made) return made;
  const auto issued = engine::issue_certificate(
      {cluster.directory / "authority.crt", cluster.directory / "authority.key"},
      engine::Identity::of_node(cluster.uuid, id), {home / "node.crt", home / "node.key"});
  if (!issued) return issued;
  const auto written =
      write_text(cluster.configuration(id), engine::to_toml(written_options(cluster, options)));
  if (!written) return written;
  return shape.make_regions ? shape.make_regions(options) : Engine::create(options);
}

Result<void> make_certificates(const Cluster& cluster, Scaffold& scaffold) {
  const auto path = [&](const char* file) { return scaffold.note(cluster.directory / file); };
  const engine::KeyPairFiles authority{path("authority.crt"), path("authority.key")};
  if (const auto made = engine::make_authority(cluster.uuid, authority); !made) return made;
  return engine::issue_certificate(authority, engine::Identity::of_client(cluster.uuid, "cli"),
                                   {path("client.crt"), path("client.key")});
}

Result<void> save_cluster(const Cluster& cluster) {
  nlohmann::ordered_json replicas = nlohmann::ordered_json::array();
  for (const ClusterReplica& replica : cluster.replicas) {
    replicas.push_back({{"id", replica.id.value}, {"host", replica.host}, {"port", replica.port}});
    if (replica.spare) replicas.back()["spare"] = true;
  }
  nlohmann::ordered_json logs = nlohmann::ordered_json::array();
  for (const ClusterLog& log : cluster.logs) {
    logs.push_back({{"name", log.name},
                    {"id", log.id},
                    {"ring_bytes", log.ring_bytes},
                    {"entry_bytes_max", log.entry_bytes_max},
                    {"quorum", log.quorum}});
  }
  const nlohmann::ordered_json json{{"format", 1},
                                    {"cluster", engine::to_hex(cluster.uuid)},
                                    {"fabric", engine::name(cluster.fabric)},
                                    {"persistence", engine::name(cluster.persistence)},
                                    {"replicas", replicas},
                                    {"logs", logs}};
  return write_text(cluster.directory / "cluster.json", json.dump(2) + "\n");
}

Result<engine::ClusterUuid> random_uuid() {
  engine::ClusterUuid uuid{};
  if (getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size())) {
    return tl::unexpected(system_error("no random numbers", errno));
  }
  return uuid;
}

Result<Cluster> plan(const ClusterShape& shape) {
  std::error_code error;
  if (fs::exists(shape.directory, error) && !fs::is_directory(shape.directory, error)) {
    return fail(Code::exists,
                "'" + shape.directory.string() + "' is not a directory: name another one");
  }
  Cluster cluster;
  cluster.directory = fs::absolute(shape.directory, error).lexically_normal();
  if (error)
    return tl::unexpected(system_error("'" + shape.directory.string() + "'", error.value()));
  const auto uuid = random_uuid();
  if (!uuid) return tl::unexpected(uuid.error());
  const auto ports = free_ports(shape.replicas + shape.spares);
  if (!ports) return tl::unexpected(ports.error());
  cluster.uuid = *uuid;
  cluster.persistence = shape.persistence;
  for (size_t i = 0; i < ports->size(); ++i) {
    cluster.replicas.push_back(
        {ReplicaId{static_cast<uint8_t>(i + 1)}, kHost, (*ports)[i], i >= shape.replicas});
  }
  for (size_t i = 0; i < shape.logs.size(); ++i) {
    LogOptions log;
    log.ring_bytes = shape.ring_bytes;
    const auto own = shape.quorum_of.find(shape.logs[i]);
    cluster.logs.push_back({shape.logs[i], i + 1, shape.ring_bytes, engine::entry_bytes_max_of(log),
                            own != shape.quorum_of.end() ? own->second : shape.quorum});
  }
  return cluster;
}

}  // namespace

Result<Cluster> create_cluster(const ClusterShape& shape) {
  auto cluster = plan(shape);
  if (!cluster) return cluster;
  Scaffold scaffold(cluster->directory);
  if (const auto begun = scaffold.begin(); !begun) return tl::unexpected(begun.error());
  auto made = check_shape(shape);
  if (made) made = make_certificates(*cluster, scaffold);
  for (size_t i = 0; made && i < cluster->replicas.size(); ++i) {
    made = create_replica(*cluster, shape, i, scaffold);
  }
  if (made) made = save_cluster(*cluster);
  if (!made) return tl::unexpected(made.error());
  scaffold.keep();
  return cluster;
}

}  // namespace caisson::tools
