// SPDX-License-Identifier: BSD-3-Clause
// Greetings and identities: read back as written, refused where they are not, judged by what is
// proven.
#include "core/engine/greeting.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "tests/wire/hostile_bytes.hpp"

namespace caisson::engine {
namespace {

using tests::as_bytes;

ClusterUuid uuid(uint8_t seed) {
  ClusterUuid out;
  out.fill(seed);
  return out;
}

const Identity kSelf = Identity::of_node(uuid(1), ReplicaId{2});

transport::ReplicaSet peers() {
  transport::ReplicaSet set;
  set.add(ReplicaId{1});
  set.add(ReplicaId{3});
  return set;
}

Greeting from_node(uint8_t id) {
  Greeting greeting;
  greeting.self = Identity::of_node(uuid(1), ReplicaId{id});
  greeting.expected_node = ReplicaId{2};
  return greeting;
}

TEST(Identity, ComesBackFromItsUri) {
  for (const Identity& identity :
       {Identity::of_node(uuid(0xab), ReplicaId{1}), Identity::of_node(uuid(1), ReplicaId{63}),
        Identity::of_client(uuid(7), "ops@host.example-1_2"),
        Identity::of_client(uuid(7), std::string(64, 'x'))}) {
    EXPECT_EQ(parse_identity(to_uri(identity)), identity) << to_uri(identity);
  }
  EXPECT_EQ(to_uri(Identity::of_node(uuid(0xab), ReplicaId{12})),
            "caisson://abababababababababababababababab/node/12");
}

TEST(Identity, IsRefusedUnlessExact) {
  const std::string start = "caisson://" + to_hex(uuid(1));
  const std::vector<std::string> wrong = {"",
                                          "caisson://",
                                          start,
                                          start + "/",
                                          start + "/node",
                                          start + "/node/",
                                          start + "/node/0",
                                          start + "/node/64",
                                          start + "/node/256",
                                          start + "/node/+1",
                                          start + "/node/01",
                                          start + "/node/1/",
                                          start + "/node/1 ",
                                          start + "/client/",
                                          start + "/client/a b",
                                          start + "/client/a/b",
                                          start + "/client/" + std::string(65, 'x'),
                                          start + "/authority",
                                          "CAISSON" + start.substr(7) + "/node/1",
                                          "x" + start + "/node/1",
                                          "caisson://" + to_hex(uuid(0)) + "/node/1",
                                          "caisson://" + std::string(31, 'a') + "/node/1",
                                          "caisson://abababab-abababababababababababab/node/1",
                                          start + "/client/" + std::string("a\0b", 3)};
  for (const std::string& uri : wrong) {
    EXPECT_FALSE(parse_identity(uri).has_value()) << uri;
  }
}

TEST(Greeting, ComesBackAsItWas) {
  const auto greeting = decode_greeting(as_bytes(encode(from_node(3))));
  ASSERT_TRUE(greeting.has_value());
  EXPECT_EQ(greeting->self, from_node(3).self);
  EXPECT_EQ(greeting->expected_node, ReplicaId{2});
  EXPECT_EQ(greeting->version_max, kLinkVersion);
  const auto welcome = decode_welcome(as_bytes(encode(Welcome{Code::denied, 1, kSelf, "no\nway"})));
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->code, Code::denied);
  EXPECT_EQ(welcome->self, kSelf);
  EXPECT_EQ(welcome->message, "no?way") << "control characters never reach a terminal";
}

RC_GTEST_PROP(Greeting, HostileBytesAreRefusedOrValid, ()) {
  const std::string bytes = tests::mutated(encode(from_node(3)));
  if (const auto greeting = decode_greeting(as_bytes(bytes))) {
    RC_ASSERT(greeting->version_min <= greeting->version_max);
    RC_ASSERT(parse_identity(to_uri(greeting->self)) == greeting->self);
  }
  const std::string more = tests::mutated(encode(Welcome{Code::ok, 1, kSelf, {}}));
  if (const auto welcome = decode_welcome(as_bytes(more))) {
    RC_ASSERT(welcome->self.role == PeerRole::node);
  }
}

TEST(Greeting, IsNotConfusedWithOtherMessages) {
  EXPECT_FALSE(decode_greeting(as_bytes(encode(Welcome{Code::ok, 1, kSelf, {}}))).has_value());
  EXPECT_FALSE(decode_welcome(as_bytes(encode(from_node(3)))).has_value());
  EXPECT_FALSE(decode_greeting(as_bytes(std::string("GET / HTTP/1.1\r\n\r\n"))).has_value());
  EXPECT_FALSE(decode_greeting(as_bytes(std::string(kGreetingBytesMax + 1, 'x'))).has_value());
}

TEST(Judge, AcceptsPeersAndClientsOfTheCluster) {
  EXPECT_EQ(judge(from_node(3), std::nullopt, kSelf, peers()).code, Code::ok);
  EXPECT_EQ(judge(from_node(3), from_node(3).self, kSelf, peers()).code, Code::ok);
  Greeting client;
  client.self = Identity::of_client(uuid(1), "ops");
  EXPECT_EQ(judge(client, client.self, kSelf, peers()).code, Code::ok);
}

TEST(Judge, RefusesWhoeverIsNotProvenOrNotListed) {
  EXPECT_EQ(judge(from_node(5), from_node(5).self, kSelf, peers()).code, Code::denied);
  EXPECT_EQ(judge(from_node(2), from_node(2).self, kSelf, peers()).code, Code::denied) << "itself";
  EXPECT_EQ(judge(from_node(3), from_node(1).self, kSelf, peers()).code, Code::denied);
  EXPECT_EQ(judge(from_node(3), Identity::of_client(uuid(1), "ops"), kSelf, peers()).code,
            Code::denied)
      << "a client's certificate never makes a node";
  Greeting client;
  client.self = Identity::of_client(uuid(1), "ops");
  EXPECT_EQ(judge(client, Identity::of_client(uuid(1), "eve"), kSelf, peers()).code, Code::denied);
}

TEST(Judge, RefusesOtherClustersNodesAndVersions) {
  Greeting greeting = from_node(3);
  greeting.self.cluster = uuid(9);
  EXPECT_EQ(judge(greeting, std::nullopt, kSelf, peers()).code, Code::wrong_cluster);
  greeting = from_node(3);
  greeting.expected_node = ReplicaId{1};
  EXPECT_EQ(judge(greeting, std::nullopt, kSelf, peers()).code, Code::wrong_cluster);
  greeting = from_node(3);
  greeting.version_min = greeting.version_max = kLinkVersion + 1;
  EXPECT_EQ(judge(greeting, std::nullopt, kSelf, peers()).code, Code::wrong_version);
  greeting.version_min = kLinkVersion;
  EXPECT_EQ(judge(greeting, std::nullopt, kSelf, peers()).version, kLinkVersion);
}

}  // namespace
}  // namespace caisson::engine
