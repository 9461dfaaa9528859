// SPDX-License-Identifier: BSD-3-Clause
// With certificates, as every cluster runs unless its configuration says otherwise.
#include <nlohmann/json.hpp>

#include "core/engine/certs.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

engine::ClusterUuid cluster_of(const EngineOptions& options) { return options.cluster; }

TEST(Tls, ReplicasElectAndReplicateUnderMutualTls) {
  Shape shape;
  std::string keys;
  shape.adjust = [&keys](EngineOptions& options) {
    const std::string me = keys + "/node-" + std::to_string(options.replica.value);
    options.tls = {true, keys + "/authority.crt", me + ".crt", me + ".key"};
  };
  Cluster cluster(shape);
  keys = cluster.directory();
  const engine::KeyPairFiles authority{keys + "/authority.crt", keys + "/authority.key"};
  const engine::ClusterUuid uuid = cluster_of(cluster.options(1));
  ASSERT_TRUE(engine::make_authority(uuid, authority));
  for (uint8_t id = 1; id <= 3; ++id) {
    const std::string node = keys + "/node-" + std::to_string(id);
    const auto issued = engine::issue_certificate(
        authority, engine::Identity::of_node(uuid, ReplicaId{id}), {node + ".crt", node + ".key"});
    ASSERT_TRUE(issued) << issued.error().message;
  }
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  int leader = 0;
  auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  Completion done;
  for (int i = 0; i < 100; ++i) {
    done = appender->append(bytes_of(std::to_string(i)));
    ASSERT_EQ(done.code, Code::ok) << name(done.code);
  }
  for (int id = 1; id <= 3; ++id) {
    ASSERT_EQ(cluster.log(id).wait_for(done.position, kPatienceNs), Code::ok);
    EXPECT_EQ(cluster.contents(id).size(), 100u);
  }
  // A failover goes by express, past the links' threads.
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << "the rest: " << why;
  const auto express = [&](int id) {
    return nlohmann::json::parse(cluster.engine(id).status_json()).at("express");
  };
  appender.reset();  // it must not outlive its engine
  cluster.close(leader);
  const int next = cluster.leader();
  ASSERT_NE(next, 0);
  EXPECT_GT(express(next).at("sent").get<uint64_t>(), 0u);
  EXPECT_GT(express(next).at("received").get<uint64_t>(), 0u);
}

TEST(Tls, WithoutItNothingGoesByExpress) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int leader = cluster.leader();
  ASSERT_NE(leader, 0);
  for (int id = 1; id <= 3; ++id) {
    const auto status = nlohmann::json::parse(cluster.engine(id).status_json());
    EXPECT_EQ(status.at("express").at("sent"), 0u);
    EXPECT_EQ(status.at("express").at("received"), 0u);
  }
}

TEST(Tls, MissingCertificatesAreNamed) {
  Cluster cluster({.adjust = [](EngineOptions& options) {
    options.tls = {true, "/nowhere/ca.crt", "/nowhere/node.crt", "/nowhere/node.key"};
  }});
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  const auto refused = Engine::open(cluster.options(1));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("/nowhere/"), std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace caisson::engine_test
