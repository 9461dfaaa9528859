// SPDX-License-Identifier: BSD-3-Clause
// A cluster whose nodes serve clients, and connections that speak to them in their own words.
#pragma once

#include <map>

#include "core/engine/client_connection.hpp"
#include "core/engine/client_protocol.hpp"
#include "core/engine/node_server.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {

namespace client = engine::client;
using std::chrono::milliseconds;

class Connection {
 public:
  Connection(const Cluster& cluster, int id) {
    engine::ClientConnectionOptions options;
    const EngineOptions node = cluster.options(id);
    options.host = "127.0.0.1";
    options.port = node.listen_port;
    options.cluster = node.cluster;
    options.tls.enabled = false;
    auto connection = engine::ClientConnection::connect(options);
    EXPECT_TRUE(connection) << connection.error().message;
    if (connection) connection_ = std::move(*connection);
  }
  uint64_t send(client::RequestBody body) {
    EXPECT_EQ(connection_->send(client::encode(client::Request{++id_, std::move(body)})), Code::ok);
    return id_;
  }
  void send_raw(std::string bytes) { EXPECT_EQ(connection_->send(std::move(bytes)), Code::ok); }
  void send_as(uint64_t id, client::RequestBody body) {
    EXPECT_EQ(connection_->send(client::encode(client::Request{id, std::move(body)})), Code::ok);
  }
  std::optional<client::Reply> receive(milliseconds timeout = milliseconds(60'000)) {
    const auto frame = connection_->receive(timeout);
    if (!frame) return std::nullopt;
    auto reply = client::decode_reply(std::as_bytes(std::span(*frame)));
    EXPECT_TRUE(reply) << reply.error().message;
    if (!reply) return std::nullopt;
    return std::move(*reply);
  }
  // The next reply, which must be a T.
  template <class T>
  T expect() {
    const auto reply = receive();
    if (!reply) {
      ADD_FAILURE() << "no reply";
      return {};
    }
    if (const auto* failed = std::get_if<client::Failed>(&reply->body);
        failed != nullptr && !std::is_same_v<T, client::Failed>) {
      ADD_FAILURE() << name(failed->code) << ": " << failed->message;
      return {};
    }
    const T* const body = std::get_if<T>(&reply->body);
    if (body == nullptr) {
      ADD_FAILURE() << "another kind of reply: " << reply->body.index();
      return {};
    }
    return *body;
  }
  template <class T>
  T ask(client::RequestBody body) {
    send(std::move(body));
    return expect<T>();
  }

 private:
  std::unique_ptr<engine::ClientConnection> connection_;
  uint64_t id_ = 0;
};

class ServerFixture : public testing::Test {
 protected:
  void SetUp() override {
    cluster = std::make_unique<Cluster>();
    cluster->start();
    if (HasFatalFailure()) return;
    for (int id = 1; id <= 3; ++id) serve(id);
    leader = cluster->leader();
    ASSERT_NE(leader, 0);
  }
  void TearDown() override {
    for (auto& server : servers) server.reset();
  }
  void serve(int id) {
    auto server = engine::NodeServer::start(cluster->engine(id));
    ASSERT_TRUE(server) << server.error().message;
    servers[static_cast<size_t>(id - 1)] = std::move(*server);
  }
  client::Append append(uint32_t incarnation, uint64_t first, std::vector<std::string> payloads) {
    client::Append request;
    request.log = 1;
    request.client = 77;
    request.incarnation = incarnation;
    request.first_sequence = first;
    request.payloads = std::move(payloads);
    return request;
  }
  // Outcomes by sequence of `count` entries.
  std::map<uint64_t, client::AppendOutcome> outcomes(Connection& connection, size_t count) {
    std::map<uint64_t, client::AppendOutcome> found;
    while (found.size() < count && !HasFailure()) {
      for (const auto& outcome : connection.expect<client::AppendResult>().outcomes) {
        EXPECT_TRUE(found.emplace(outcome.sequence, outcome).second)
            << outcome.sequence << " told twice";
      }
    }
    return found;
  }
  std::unique_ptr<Cluster> cluster;
  std::array<std::unique_ptr<engine::NodeServer>, 3> servers;
  int leader = 0;
};

}  // namespace caisson::engine_test
