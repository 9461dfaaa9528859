// SPDX-License-Identifier: BSD-3-Clause
// R32: subscriptions that do not wait for the commit.
#include <gtest/gtest.h>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr uint64_t kPatience = 30 * kSecondNs;

// Every engine takes its turns meanwhile.
Code flush(Cluster& cluster, Subscription& subscription) {
  Code code = Code::timed_out;
  (void)cluster.until([&] { return (code = subscription.flush(0)) != Code::timed_out; });
  return code;
}

Code next(Cluster& cluster, Subscription& subscription, Entry& entry) {
  Code code = Code::not_yet;
  (void)cluster.until([&] { return (code = subscription.next(entry)) != Code::not_yet; });
  return code;
}

SubscribeOptions speculative() {
  SubscribeOptions options;
  options.speculative = true;
  return options;
}

class Speculative : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = GetParam();
    cluster = std::make_unique<Cluster>(shape);
    ASSERT_NO_FATAL_FAILURE(cluster->start());
    appender = cluster->appender_at_leader(leader);
    ASSERT_TRUE(appender);
  }

  std::unique_ptr<Cluster> cluster;
  int leader = 0;
  std::unique_ptr<Appender> appender;
};

TEST_P(Speculative, EverythingComesOnceInOrderAndIsFinalBehindTheBarrier) {
  auto subscription = cluster->log(leader).subscribe(Position{1}, speculative());
  ASSERT_TRUE(subscription) << subscription.error().message;
  constexpr uint64_t kEntries = 600;  // more than one fetch hands over
  uint64_t taken = 0;
  uint64_t seen = 0;
  Position last;
  ASSERT_TRUE(cluster->until([&] {
    if (taken < kEntries &&
        appender->append_async(bytes_of(std::to_string(taken)), taken) == Code::ok) {
      ++taken;
    }
    std::array<Completion, 64> done;
    (void)appender->completions(done);
    Entry entry;
    while ((*subscription)->next(entry) == Code::ok) {
      EXPECT_EQ(text_of(entry.payload), std::to_string(seen++));
      EXPECT_GT(entry.position, last);
      last = entry.position;
    }
    return seen == kEntries;
  })) << seen;
  EXPECT_EQ(flush(*cluster, **subscription), Code::ok);
  EXPECT_GE(cluster->log(leader).marks().committed, last);
  Entry none;
  EXPECT_EQ((*subscription)->next(none), Code::not_yet);
}

TEST_P(Speculative, WhatWasCommittedBeforeIsDeliveredAsSuch) {
  ASSERT_EQ(appender->append(bytes_of("old")).code, Code::ok);
  auto subscription = cluster->log(leader).subscribe(Position{0}, speculative());
  ASSERT_TRUE(subscription) << subscription.error().message;
  Entry entry;
  ASSERT_EQ((*subscription)->next_wait(entry, kPatience), Code::ok);
  EXPECT_EQ(text_of(entry.payload), "old");
  EXPECT_TRUE(entry.committed);
}

INSTANTIATE_TEST_SUITE_P(Pollers, Speculative, testing::Bool(),
                         [](const auto& each) { return each.param ? "Inline" : "Threads"; });

// A leader that does not know yet that it is deposed reveals what will never be.
TEST(Speculation, WhatADeposedLeaderRevealedIsRevokedFromThere) {
  Shape shape;
  shape.runs_inline = true;
  Cluster cluster(shape);
  ASSERT_NO_FATAL_FAILURE(cluster.start());
  int first = 0;
  auto appender = cluster.appender_at_leader(first);
  ASSERT_TRUE(appender);
  const Completion settled = appender->append(bytes_of("settled"));
  ASSERT_EQ(settled.code, Code::ok);
  auto subscription = cluster.log(first).subscribe(settled.position, speculative());
  ASSERT_TRUE(subscription) << subscription.error().message;
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);

  cluster.sleep(first);
  int second = 0;
  ASSERT_TRUE(cluster.until([&] { return (second = cluster.leader({}, {first})) != 0; }));
  ASSERT_EQ(appender->append_async(bytes_of("never"), 1), Code::ok);
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  EXPECT_EQ(text_of(entry.payload), "never");
  EXPECT_FALSE(entry.committed);
  const Position never = entry.position;
  auto others = cluster.appender(second);
  ASSERT_TRUE(others);
  ASSERT_EQ(others->append(bytes_of("instead")).code, Code::ok);

  cluster.wake(first);
  EXPECT_EQ(next(cluster, **subscription, entry), Code::revoked);
  EXPECT_EQ(entry.position, never);
  ASSERT_EQ(next(cluster, **subscription, entry), Code::ok);
  EXPECT_EQ(text_of(entry.payload), "instead");
  EXPECT_EQ(flush(cluster, **subscription), Code::ok);
}

TEST(Speculation, TheBarrierSaysThatSomethingWasRevoked) {
  Shape shape;
  shape.runs_inline = true;
  Cluster cluster(shape);
  ASSERT_NO_FATAL_FAILURE(cluster.start());
  int first = 0;
  auto appender = cluster.appender_at_leader(first);
  ASSERT_TRUE(appender);
  auto subscription = cluster.log(first).subscribe(Position{0}, speculative());
  ASSERT_TRUE(subscription) << subscription.error().message;
  cluster.sleep(first);
  ASSERT_TRUE(cluster.until([&] { return cluster.leader({}, {first}) != 0; }));
  ASSERT_EQ(appender->append_async(bytes_of("never"), 1), Code::ok);
  ASSERT_EQ(appender->append_async(bytes_of("nor this"), 2), Code::ok);
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  const Position never = entry.position;
  cluster.wake(first);
  EXPECT_EQ(flush(cluster, **subscription), Code::revoked);
  ASSERT_EQ((*subscription)->next(entry), Code::revoked);
  EXPECT_EQ(entry.position, never);
  EXPECT_EQ(flush(cluster, **subscription), Code::ok);
}

}  // namespace
}  // namespace caisson::engine_test
