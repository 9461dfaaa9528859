// SPDX-License-Identifier: BSD-3-Clause
// Nodes' links inside one process, on loopback and free ports, with certificates of their own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/certs.hpp"
#include "core/engine/client_connection.hpp"
#include "core/engine/links.hpp"

namespace caisson::tests {

inline constexpr std::chrono::seconds kPatience{20};

// A directory that goes away with the test.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "caisson-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : std::string();
    EXPECT_FALSE(path_.empty()) << "no scratch directory can be made";
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// Records what a client's session is told.
class ClientRecorder : public engine::ClientHandler {
 public:
  explicit ClientRecorder(std::shared_ptr<engine::ClientChannel> client)
      : channel(std::move(client)) {}

  void on_frame(std::string frame) override {
    const std::lock_guard lock(mutex);
    frames.push_back(std::move(frame));
    changed.notify_all();
  }
  void on_drained() override {
    const std::lock_guard lock(mutex);
    ++drained;
    changed.notify_all();
  }
  void on_closed(const Error& why) override {
    const std::lock_guard lock(mutex);
    closed_because.push_back(why);
    changed.notify_all();
  }

  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPatience, condition);
  }

  const std::shared_ptr<engine::ClientChannel> channel;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> frames;
  int drained = 0;
  std::vector<Error> closed_because;
};

// Records what a node is told.
class NodeRecorder : public engine::LinksHandler {
 public:
  void on_frame(ReplicaId from, std::string frame) override {
    if (on_frame_now) return on_frame_now(from, std::move(frame));
    const std::lock_guard lock(mutex);
    frames.emplace_back(from, std::move(frame));
    changed.notify_all();
  }
  void on_link(ReplicaId peer, bool up) override {
    const std::lock_guard lock(mutex);
    links.emplace_back(peer, up);
    changed.notify_all();
  }
  void on_link_key(ReplicaId peer, engine::LinkHalf half, const engine::LinkKey* key) override {
    const std::lock_guard lock(mutex);
    auto& known = half == engine::LinkHalf::sending ? sending_keys[peer] : receiving_keys[peer];
    known = key != nullptr ? std::optional(*key) : std::nullopt;
    changed.notify_all();
  }
  std::shared_ptr<engine::ClientHandler> on_client(
      const std::string& name, std::shared_ptr<engine::ClientChannel> channel) override {
    const std::lock_guard lock(mutex);
    if (!take_clients) return nullptr;
    auto client = std::make_shared<ClientRecorder>(std::move(channel));
    clients.emplace_back(name, client);
    changed.notify_all();
    return client;
  }
  void on_problem(const Error& problem) override {
    const std::lock_guard lock(mutex);
    problems.push_back(problem);
    changed.notify_all();
  }

  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPatience, condition);
  }
  bool wait_link(ReplicaId peer, bool up) {
    return wait([&] {
      for (auto it = links.rbegin(); it != links.rend(); ++it) {
        if (it->first == peer) return it->second == up;
      }
      return false;
    });
  }
  bool wait_frames(size_t count) {
    return wait([&] { return frames.size() >= count; });
  }
  // A problem whose message contains `words`.
  bool wait_problem(const std::string& words, Code code) {
    return wait([&] {
      for (const Error& problem : problems) {
        if (problem.code == code && problem.message.find(words) != std::string::npos) return true;
      }
      return false;
    });
  }
  std::shared_ptr<ClientRecorder> wait_client(size_t index = 0) {
    if (!wait([&] { return clients.size() > index; })) return nullptr;
    const std::lock_guard lock(mutex);
    return clients[index].second;
  }
  std::string problems_text() {
    const std::lock_guard lock(mutex);
    std::string text;
    for (const Error& problem : problems) text += problem.message + "\n";
    return text;
  }

  std::function<void(ReplicaId, std::string)> on_frame_now;  // set before the links start
  // The key of one half, once there is one.
  std::optional<engine::LinkKey> wait_key(std::map<ReplicaId, std::optional<engine::LinkKey>>& keys,
                                          ReplicaId peer) {
    std::optional<engine::LinkKey> key;
    (void)wait([&] { return (key = keys[peer]).has_value(); });
    return key;
  }

  std::mutex mutex;
  std::map<ReplicaId, std::optional<engine::LinkKey>> sending_keys;
  std::map<ReplicaId, std::optional<engine::LinkKey>> receiving_keys;
  std::condition_variable changed;
  std::vector<std::pair<ReplicaId, std::string>> frames;
  std::vector<std::pair<ReplicaId, bool>> links;
  std::vector<std::pair<std::string, std::shared_ptr<ClientRecorder>>> clients;
  std::vector<Error> problems;
  bool take_clients = true;
};

class LinksTest : public ::testing::Test {
 protected:
  static engine::ClusterUuid uuid(uint8_t seed) {
    engine::ClusterUuid out;
    out.fill(seed);
    return out;
  }

  const engine::ClusterUuid cluster_ = uuid(0xc1);
  const engine::ClusterUuid other_cluster_ = uuid(0x0c);
  const ReplicaId one_{1};
  const ReplicaId two_{2};
  const ReplicaId three_{3};
  ScratchDirectory directory_;

  engine::KeyPairFiles authority(const engine::ClusterUuid& cluster,
                                 const std::string& name = "ca") {
    const std::string base = name + engine::to_hex(cluster).substr(0, 2);
    engine::KeyPairFiles files{directory_ / (base + ".pem"), directory_ / (base + ".key")};
    if (!std::filesystem::exists(files.certificate)) {
      const auto made = engine::make_authority(cluster, files);
      EXPECT_TRUE(made.has_value()) << made.error().message;
    }
    return files;
  }

  // Files of a fresh certificate for `identity`; `ca` is what its holder trusts.
  TlsOptions tls(const engine::Identity& identity, const engine::KeyPairFiles& issuer,
                 const engine::KeyPairFiles& trusted, const engine::Validity& validity = {}) {
    const std::string base = "cert" + std::to_string(++certificates_);
    const engine::KeyPairFiles files{directory_ / (base + ".pem"), directory_ / (base + ".key")};
    const auto issued = engine::issue_certificate(issuer, identity, files, validity);
    EXPECT_TRUE(issued.has_value()) << issued.error().message;
    TlsOptions out;
    out.ca_file = trusted.certificate.string();
    out.certificate_file = files.certificate.string();
    out.key_file = files.key.string();
    return out;
  }
  TlsOptions tls(const engine::Identity& identity, const engine::Validity& validity = {}) {
    return tls(identity, authority(identity.cluster), authority(identity.cluster), validity);
  }

  // Links of node `id` that listen on a free port and know these peers, at addresses given later.
  engine::LinksOptions node_options(ReplicaId id, const std::vector<ReplicaId>& peers = {}) {
    engine::LinksOptions options;
    options.cluster = cluster_;
    options.self = id;
    options.tls = tls(engine::Identity::of_node(cluster_, id));
    for (const ReplicaId peer : peers) options.peers.push_back({peer, "127.0.0.1", unused_port_});
    return options;
  }

  std::unique_ptr<engine::Links> start(const engine::LinksOptions& options,
                                       NodeRecorder& recorder) {
    auto links = engine::Links::start(options, recorder);
    EXPECT_TRUE(links.has_value()) << links.error().message;
    return links ? std::move(*links) : nullptr;
  }

  engine::ClientConnectionOptions client_options(uint16_t port, const std::string& name = "ops") {
    engine::ClientConnectionOptions options;
    options.host = "127.0.0.1";
    options.port = port;
    options.cluster = cluster_;
    options.tls = tls(engine::Identity::of_client(cluster_, name));
    options.timeout = kPatience;
    return options;
  }

  static void connect_both(engine::Links& a, ReplicaId a_id, engine::Links& b, ReplicaId b_id) {
    a.set_peer({b_id, "127.0.0.1", b.port()});
    b.set_peer({a_id, "127.0.0.1", a.port()});
  }

  // Nothing listens on port 1 of loopback: dialling it is refused at once.
  static constexpr uint16_t unused_port_ = 1;

 private:
  int certificates_ = 0;
};

}  // namespace caisson::tests
