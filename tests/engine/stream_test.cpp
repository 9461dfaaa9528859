// SPDX-License-Identifier: BSD-3-Clause
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

class Streams : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = GetParam();
    cluster = std::make_unique<Cluster>(shape);
    cluster->start();
    if (HasFatalFailure()) return;
    leader = cluster->leader();
    ASSERT_NE(leader, 0);
  }
  std::unique_ptr<Cluster> cluster;
  int leader = 0;
};
INSTANTIATE_TEST_SUITE_P(Pollers, Streams, testing::Bool(), poller_kind);

TEST_P(Streams, NumberFromOneAndResumeBehindTheLast) {
  auto first = cluster->appender(leader, {.client = 5});
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->last_identity(), (EntryIdentity{5, 1, 0}));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(first->append(bytes_of("x")).code, Code::ok);
  EXPECT_EQ(first->last_identity(), (EntryIdentity{5, 1, 10}));
  first.reset();
  auto resumed = cluster->appender(leader, {.client = 5, .resume = true});
  ASSERT_NE(resumed, nullptr);
  EXPECT_EQ(resumed->last_identity(), (EntryIdentity{5, 2, 10}));
  ASSERT_EQ(resumed->append(bytes_of("x")).code, Code::ok);
  auto anew = cluster->appender(leader, {.client = 5});
  ASSERT_NE(anew, nullptr);
  EXPECT_EQ(anew->last_identity(), (EntryIdentity{5, 3, 0}));
}

TEST_P(Streams, ANewIncarnationRefusesTheOldOne) {
  auto old = cluster->appender(leader, {.client = 5});
  ASSERT_NE(old, nullptr);
  ASSERT_EQ(old->append(bytes_of("old")).code, Code::ok);
  auto current = cluster->appender(leader, {.client = 5, .resume = true});
  ASSERT_NE(current, nullptr);
  EXPECT_EQ(old->append(bytes_of("late")).code, Code::stale_stream);
  EXPECT_EQ(old->append(bytes_of("later")).code, Code::stale_stream);
  EXPECT_EQ(current->append(bytes_of("new")).code, Code::ok);
  EXPECT_EQ(cluster->contents(leader), (std::vector<std::string>{"old", "new"}));
}

TEST_P(Streams, AreIndependentOfEachOther) {
  std::vector<std::unique_ptr<Appender>> appenders;
  for (uint64_t client = 1; client <= 8; ++client) {
    appenders.push_back(cluster->appender(leader, {.client = client}));
    ASSERT_NE(appenders.back(), nullptr);
  }
  for (int round = 0; round < 50; ++round) {
    for (auto& appender : appenders) {
      ASSERT_EQ(appender->append_async(bytes_of("x"), 0), Code::ok);
    }
  }
  for (auto& appender : appenders) ASSERT_EQ(appender->flush(kPatienceNs), Code::ok);
  auto subscription = cluster->log(leader).subscribe(Position{0});
  ASSERT_TRUE(subscription);
  std::array<uint64_t, 9> last{};
  Entry entry;
  size_t count = 0;
  while ((*subscription)->next(entry) == Code::ok) {
    EXPECT_EQ(entry.identity.sequence, ++last[entry.identity.client]);
    ++count;
  }
  EXPECT_EQ(count, 400u);
}

TEST_P(Streams, AreRandomlyNamedIfTheCallerNamesNone) {
  auto one = cluster->appender(leader);
  auto two = cluster->appender(leader);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  EXPECT_NE(one->last_identity().client, 0u);
  EXPECT_NE(one->last_identity().client, two->last_identity().client);
}

TEST_P(Streams, WhatAClosedAppenderLeftOutstandingGoesOn) {
  auto appender = cluster->appender(leader);
  ASSERT_NE(appender, nullptr);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(appender->append_async(bytes_of("x"), 0), Code::ok);
  appender.reset();
  ASSERT_TRUE(cluster->until([&] { return cluster->contents(leader).size() == 100; }));
  // Its lane is free for the next one, again and again.
  for (int i = 0; i < 20; ++i) {
    auto next = cluster->appender(leader);
    ASSERT_NE(next, nullptr);
    ASSERT_EQ(next->append(bytes_of("y")).code, Code::ok);
  }
}

}  // namespace
}  // namespace caisson::engine_test
