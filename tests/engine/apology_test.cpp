// SPDX-License-Identifier: BSD-3-Clause
// R13: what was acknowledged below `persisted` and lost is told to its client when it comes back.
#include <array>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr uint64_t kClient = 7;
constexpr AppendOptions kVolatile{.durability = Durability::volatile_};

Shape inline_shape() {
  Shape shape;
  shape.runs_inline = true;
  shape.suspect_after_us = 50'000;
  return shape;
}

// A leader that is deposed while it stands still, and before it knows acknowledges `count` volatile
// appends behind a persisted one.
struct Deposed {
  explicit Deposed(uint64_t count, uint64_t batch = 1) : cluster(inline_shape()) {
    cluster.start();
    first = cluster.leader();
    if (first == 0) return;
    appender = cluster.appender(first, {.client = kClient, .outstanding_max = 64});
    if (appender == nullptr) return;
    EXPECT_EQ(appender->append(bytes_of("settled")).code, Code::ok);
    cluster.sleep(first);
    second = cluster.leader({}, {first});
    if (second == 0) return;
    auto next = cluster.appender(second, {.client = 8});
    EXPECT_TRUE(next != nullptr && next->append(bytes_of("elsewhere")).code == Code::ok);
    EXPECT_EQ(appender->append_async(bytes_of("waits"), 1), Code::ok);
    std::vector<std::span<const std::byte>> payloads(batch, bytes_of("soon lost"));
    for (uint64_t i = 0; i < count; ++i) {
      EXPECT_EQ(batch == 1 ? appender->append_async(payloads[0], 2 + i, kVolatile)
                           : appender->append_batch_async(payloads, 2 + i, kVolatile),
                Code::ok);
    }
    cluster.wake(first);
    bool decided = false;
    (void)cluster.until([&] {
      std::array<Completion, 64> completions;
      const size_t n = appender->completions(completions);
      for (size_t i = 0; i < n; ++i) {
        acknowledged += completions[i].code == Code::ok;
        decided = decided || (completions[i].tag == 1 && completions[i].code != Code::indefinite);
      }
      return decided && acknowledged >= count;
    });
  }
  Cluster cluster;
  int first = 0;
  int second = 0;
  uint64_t acknowledged = 0;
  std::unique_ptr<Appender> appender;
};

TEST(Apology, WhatTheDeposedLeaderAloneHadIsToldAndThenTaken) {
  Deposed led(20);
  ASSERT_NE(led.second, 0);
  ASSERT_GE(led.acknowledged, 20u);
  const EntryIdentity told = led.appender->acknowledged();
  EXPECT_EQ(told.sequence, 22u);
  auto next = led.cluster.appender(led.second, {.client = kClient, .resume = true, .told = told});
  ASSERT_NE(next, nullptr);
  ASSERT_EQ(next->apologies().size(), 1u);
  const Apology apology = next->apologies()[0];
  EXPECT_EQ(apology.incarnation, told.incarnation);
  EXPECT_EQ(apology.first_sequence, next->last_identity().sequence + 1);
  EXPECT_EQ(apology.last_sequence, told.sequence);
  const auto contents = led.cluster.contents(led.second);
  EXPECT_EQ(std::count(contents.begin(), contents.end(), "soon lost"), 0);

  // Told again, to whoever has forgotten, until it is taken.
  auto later = led.cluster.appender(led.second, {.client = kClient, .resume = true});
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(later->apologies(), std::vector<Apology>{apology});
  ASSERT_EQ(later->take_apologies(apology.noted, kPatienceNs), Code::ok);
  EXPECT_TRUE(later->apologies().empty());
  EXPECT_EQ(later->append(bytes_of("on")).code, Code::ok);
  auto last = led.cluster.appender(led.second, {.client = kClient, .resume = true, .told = told});
  ASSERT_NE(last, nullptr);
  EXPECT_TRUE(last->apologies().empty()) << "noted once, taken once";
}

TEST(Apology, AnAcknowledgedBatchIsApologisedForWhole) {
  Deposed led(3, 4);
  ASSERT_NE(led.second, 0);
  const EntryIdentity told = led.appender->acknowledged();
  EXPECT_EQ(told.sequence, 2u + 3 * 4);
  auto next = led.cluster.appender(led.second, {.client = kClient, .told = told});
  ASSERT_NE(next, nullptr);
  ASSERT_EQ(next->apologies().size(), 1u);
  EXPECT_EQ(next->apologies()[0].last_sequence, told.sequence);
}

// Its own replica leads again: numbers that were acknowledged are not given to other entries.
TEST(Apology, AStreamWithALossDoesNotGoOn) {
  Deposed led(5);
  ASSERT_NE(led.second, 0);
  Code code = Code::ok;
  ASSERT_TRUE(led.cluster.until([&] {
    if (!led.cluster.log(led.first).leadership().is_self) {
      const int now = led.cluster.leader({}, {led.first});
      led.cluster.sleep(now);
      (void)led.cluster.leader({}, {now});
      led.cluster.wake(now);
    }
    code = led.appender->append(bytes_of("x"), {.timeout_ns = kSecondNs}).code;
    return code == Code::broken_stream;
  })) << name(code);
  const EntryIdentity told = led.appender->acknowledged();
  int leads = 0;
  auto next =
      led.cluster.appender_at_leader(leads, {.client = kClient, .resume = true, .told = told});
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(next->apologies().size(), 1u);
  EXPECT_EQ(next->append(bytes_of("again")).code, Code::ok);
}

TEST(Barrier, WhatIsMadeDurableIsCommittedInEveryLog) {
  Shape shape = inline_shape();
  shape.logs = {"one", "two"};
  Cluster cluster(shape);
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  std::vector<std::unique_ptr<Appender>> held;
  std::vector<Appender*> appenders;
  int leads[2] = {0, 0};
  for (size_t i = 0; i < 2; ++i) {
    leads[i] = cluster.leader(shape.logs[i]);
    ASSERT_NE(leads[i], 0);
    held.push_back(cluster.appender(leads[i], {.client = kClient}, shape.logs[i]));
    ASSERT_NE(held.back(), nullptr);
    appenders.push_back(held.back().get());
    for (uint64_t tag = 0; tag < 40; ++tag) {
      ASSERT_EQ(appenders[i]->append_async(bytes_of("x"), tag, kVolatile), Code::ok);
    }
  }
  ASSERT_EQ(barrier(appenders, kPatienceNs), Code::ok);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(appenders[i]->acknowledged().sequence, 40u);
    EXPECT_EQ(cluster.contents(leads[i], shape.logs[i]).size(), 40u) << shape.logs[i];
  }
  EXPECT_EQ(barrier({}, 0), Code::ok);
}

TEST(Barrier, ADeposedLeaderSaysThatItCannot) {
  Deposed led(5);
  ASSERT_NE(led.second, 0);
  EXPECT_EQ(led.appender->make_durable(kPatienceNs), Code::fenced);
}

TEST(Apology, AnIncarnationThatCannotBeIsRefused) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int leads = cluster.leader();
  ASSERT_NE(leads, 0);
  const auto refused = cluster.log(leads).appender(
      {.client = kClient, .told = {kClient, UINT32_MAX, 5}, .timeout_ns = kPatienceNs});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid) << refused.error().message;
}

TEST(Apology, NothingIsOwedWhereNothingIsLost) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  int leads = 0;
  auto appender = cluster.appender_at_leader(leads, {.client = kClient});
  ASSERT_NE(appender, nullptr);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(appender->append(bytes_of("kept"), kVolatile).code, Code::ok);
  }
  const EntryIdentity told = appender->acknowledged();
  EXPECT_EQ(told.sequence, 10u);
  auto next = cluster.appender_at_leader(leads, {.client = kClient, .resume = true, .told = told});
  ASSERT_NE(next, nullptr);
  EXPECT_TRUE(next->apologies().empty());
  EXPECT_EQ(next->last_identity().sequence, 10u);
}

}  // namespace
}  // namespace caisson::engine_test
