// SPDX-License-Identifier: BSD-3-Clause
// Leaders that stop, in one thread: an engine that is not turned is a process that is stopped
// (SIGSTOP).
#include <array>
#include <atomic>
#include <map>
#include <thread>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

Shape inline_shape() {
  Shape shape;
  shape.runs_inline = true;
  shape.suspect_after_us = 50'000;
  return shape;
}

// Every completion so far, by tag, in order of arrival.
using Told = std::map<uint64_t, std::vector<Completion>>;

void take_all(Appender& appender, Told& told) {
  std::array<Completion, 64> batch;
  const size_t n = appender.completions(batch);
  for (size_t i = 0; i < n; ++i) told[batch[i].tag].push_back(batch[i]);
}

bool settled(const Told& told, size_t tags) {
  return told.size() == tags && std::all_of(told.begin(), told.end(), [](const auto& one) {
           return one.second.back().code != Code::indefinite;
         });
}

// `first` stops, another leads and appends "elsewhere", `first` goes on. Who leads; 0: it failed.
int depose(Cluster& cluster, int first) {
  cluster.sleep(first);
  const int second = cluster.leader({}, {first});
  auto next = second != 0 ? cluster.appender(second, {.client = 8}) : nullptr;
  if (next == nullptr || next->append(bytes_of("elsewhere")).code != Code::ok) return 0;
  cluster.wake(first);
  return second;
}

// The others stop in turn until `first` leads again and appends.
Code append_leading_again(Cluster& cluster, int first, Appender& appender, std::string_view text) {
  Completion done;
  (void)cluster.until([&] {
    if (!cluster.log(first).leadership().is_self) {
      const int now = cluster.leader({}, {first});
      cluster.sleep(now);
      (void)cluster.leader({}, {now});
      cluster.wake(now);
    }
    done = appender.append(bytes_of(text), {.timeout_ns = kSecondNs});
    return done.code == Code::ok;
  });
  return done.code;
}

TEST(Failover, AnotherLeaderServesWhenTheFirstStops) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  auto appender = cluster.appender(first, {.client = 42});
  ASSERT_NE(appender, nullptr);
  const Completion before = appender->append(bytes_of("before"));
  ASSERT_EQ(before.code, Code::ok);
  cluster.sleep(first);
  const int second = cluster.leader({}, {first});
  ASSERT_NE(second, 0);
  auto next = cluster.appender(second, {.client = 42, .resume = true});
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(next->last_identity().sequence, 1u);
  const Completion after = next->append(bytes_of("after"));
  ASSERT_EQ(after.code, Code::ok);
  EXPECT_GT(after.token(), before.token());
  cluster.wake(first);
  ASSERT_TRUE(cluster.until([&] { return cluster.log(first).tail() >= after.position; }));
  EXPECT_FALSE(cluster.log(first).leadership().is_self);
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(cluster.until([&] { return cluster.log(id).tail() >= after.position; }));
    EXPECT_EQ(cluster.contents(id), (std::vector<std::string>{"before", "after"})) << id;
  }
}

TEST(Failover, AStandbyThatAwaitsLeadershipHasItsStreamOpen) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  const int one = first % 3 + 1;
  const int other = one % 3 + 1;
  const auto refused = cluster.log(one).appender({.timeout_ns = kPatienceNs});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_leader) << "it did not ask to wait";
  const auto late = cluster.log(one).appender({.await_leadership = true, .timeout_ns = 1'000'000});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::timed_out);
  std::atomic<int> leads{0};
  std::atomic<int> ended{0};
  const auto stand_by = [&](int id) {
    auto opened = cluster.log(id).appender({.await_leadership = true, .timeout_ns = kPatienceNs});
    if (opened && (*opened)->append(bytes_of("on")).code == Code::ok) leads = id;
    ++ended;
  };
  std::thread a(stand_by, one);
  std::thread b(stand_by, other);
  cluster.close(first);
  EXPECT_TRUE(cluster.until([&] { return leads != 0 || ended == 2; }));
  EXPECT_TRUE(leads == one || leads == other);
  // Ends the other's wait.
  cluster.engine(one).close();
  cluster.engine(other).close();
  a.join();
  b.join();
}

TEST(Failover, AppendsOfADeposedLeaderAreIndefiniteThenDecided) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  auto appender = cluster.appender(first, {.client = 7, .outstanding_max = 64});
  ASSERT_NE(appender, nullptr);
  ASSERT_EQ(appender->append(bytes_of("settled")).code, Code::ok);
  Told told;
  std::map<uint64_t, std::string> sent;
  for (uint64_t tag = 1; tag <= 50; ++tag) {
    sent[tag] = "outstanding " + std::to_string(tag);
    ASSERT_EQ(appender->append_async(bytes_of(sent[tag]), tag), Code::ok);
  }
  // Taken, and never turned again until the others have gone on without it.
  const int second = depose(cluster, first);
  ASSERT_NE(second, 0);
  ASSERT_TRUE(cluster.until([&] {
    take_all(*appender, told);
    return settled(told, sent.size());
  })) << told.size();
  // Each resolves once for good, and what it says is true: the decided ones are a prefix (R4).
  const auto contents = cluster.contents(second);
  bool lost = false;
  for (const auto& [tag, completions] : told) {
    ASSERT_LE(completions.size(), 2u);
    if (completions.size() == 2) {
      EXPECT_EQ(completions[0].code, Code::indefinite);
    }
    const Completion& last = completions.back();
    const auto count = std::count(contents.begin(), contents.end(), sent[tag]);
    if (last.code == Code::ok) {
      EXPECT_FALSE(lost) << "a later append of the stream is in, an earlier one is not";
      EXPECT_EQ(count, 1) << tag;
      std::vector<std::byte> payload;
      ASSERT_EQ(cluster.log(second).read(last.position, payload), Code::ok);
      EXPECT_EQ(text_of(payload), sent[tag]);
    } else {
      EXPECT_EQ(last.code, Code::not_appended) << name(last.code);
      EXPECT_EQ(count, 0) << tag;
      lost = true;
    }
  }
  EXPECT_EQ(appender->append_async(bytes_of("x"), 99), Code::not_leader);
}

TEST(Failover, ALostBatchIsLostWholeAndItsNumbersAreUsedAgain) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  auto appender = cluster.appender(first, {.client = 7, .outstanding_max = 64});
  ASSERT_NE(appender, nullptr);
  ASSERT_EQ(appender->append(bytes_of("settled")).code, Code::ok);
  constexpr size_t kBatch = 4;
  Told told;
  std::map<uint64_t, std::vector<std::string>> sent;
  for (uint64_t tag = 1; tag <= 8; ++tag) {
    std::vector<std::span<const std::byte>> batch;
    for (size_t i = 0; i < kBatch; ++i) {
      sent[tag].push_back(std::to_string(tag) + " of " + std::to_string(i));
    }
    for (const std::string& text : sent[tag]) batch.push_back(bytes_of(text));
    ASSERT_EQ(appender->append_batch_async(batch, tag), Code::ok);
  }
  const int second = depose(cluster, first);
  ASSERT_NE(second, 0);
  ASSERT_TRUE(cluster.until([&] {
    take_all(*appender, told);
    return settled(told, sent.size());
  })) << told.size();
  const auto contents = cluster.contents(second);
  uint64_t held = 0;
  for (const auto& [tag, completions] : told) {
    const bool ok = completions.back().code == Code::ok;
    if (ok) {
      EXPECT_EQ(tag, ++held) << "what is held is a prefix";
    }
    for (const std::string& text : sent[tag]) {
      EXPECT_EQ(std::count(contents.begin(), contents.end(), text), ok ? 1 : 0) << text;
    }
  }
  ASSERT_EQ(append_leading_again(cluster, first, *appender, "again"), Code::ok);
  EXPECT_EQ(appender->last_identity().sequence, cluster.contents(first).size() - 1)
      << "numbers without a gap; one entry is the other client's";
}

TEST(Failover, AStreamGoesOnWhereTheLogEndsWhenItsReplicaLeadsAgain) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  auto appender = cluster.appender(first, {.client = 7, .outstanding_max = 64});
  ASSERT_NE(appender, nullptr);
  Told told;
  for (uint64_t tag = 1; tag <= 20; ++tag) {
    ASSERT_EQ(appender->append_async(bytes_of("a" + std::to_string(tag)), tag), Code::ok);
  }
  cluster.sleep(first);
  ASSERT_NE(cluster.leader({}, {first}), 0);
  cluster.wake(first);
  ASSERT_TRUE(cluster.until([&] {
    take_all(*appender, told);
    return settled(told, 20);
  }));
  ASSERT_EQ(append_leading_again(cluster, first, *appender, "b"), Code::ok);
  uint64_t in_log = 0;
  for (const auto& [tag, completions] : told) in_log += completions.back().code == Code::ok;
  const auto contents = cluster.contents(first);
  EXPECT_EQ(contents.back(), "b");
  EXPECT_GT(contents.size(), in_log);
  // Numbers without a gap, whatever was lost in between.
  EXPECT_EQ(appender->last_identity().sequence, contents.size());
}

TEST(Failover, AMinoritySaysThatItDoesNotLead) {
  Cluster cluster(inline_shape());
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int first = cluster.leader();
  ASSERT_NE(first, 0);
  cluster.sleep(first);
  const int second = cluster.leader({}, {first});
  ASSERT_NE(second, 0);
  cluster.sleep(second);
  const int third = 6 - first - second;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  (void)cluster.until([&] { return std::chrono::steady_clock::now() > end; });
  EXPECT_FALSE(cluster.log(third).leadership().is_self);
  const auto refused = cluster.log(third).appender({.timeout_ns = kSecondNs});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_leader);
}

// ---- With poller threads ----

TEST(Failover, ClosingTheLeaderHandsOverAndNothingAcknowledgedIsLost) {
  Cluster cluster({.suspect_after_us = 200'000});
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  std::vector<std::string> acknowledged;
  constexpr uint64_t kClient = 99;
  for (int round = 0; round < 3; ++round) {
    int leader = 0;
    auto appender = cluster.appender_at_leader(leader, {.client = kClient, .resume = true});
    ASSERT_NE(appender, nullptr);
    EXPECT_EQ(appender->last_identity().sequence, acknowledged.size());
    for (int i = 0; i < 200; ++i) {
      const std::string text = std::to_string(round) + "/" + std::to_string(i);
      const Completion done = appender->append(bytes_of(text));
      ASSERT_EQ(done.code, Code::ok) << name(done.code);
      acknowledged.push_back(text);
    }
    appender.reset();
    cluster.close(leader);
    ASSERT_NE(cluster.leader(), 0);
    cluster.open(leader);
    ASSERT_FALSE(HasFatalFailure());
  }
  for (int id = 1; id <= 3; ++id) {
    std::vector<std::string> found;
    (void)cluster.until([&] {
      found = cluster.contents(id);
      return found.size() >= acknowledged.size();
    });
    EXPECT_EQ(found, acknowledged) << "replica " << id;
  }
}

TEST(Failover, TheWholeClusterRestartsWithItsLog) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  std::vector<std::string> written;
  for (int round = 0; round < 3; ++round) {
    int leader = 0;
    auto appender = cluster.appender_at_leader(leader);
    ASSERT_NE(appender, nullptr);
    for (int i = 0; i < 100; ++i) {
      written.push_back(std::to_string(round) + "." + std::to_string(i));
      ASSERT_EQ(appender->append(bytes_of(written.back())).code, Code::ok);
    }
    appender.reset();
    for (int id = 1; id <= 3; ++id) cluster.close(id);
    for (int id = 1; id <= 3; ++id) cluster.open(id);
    ASSERT_FALSE(HasFatalFailure());
  }
  ASSERT_NE(cluster.leader(), 0);
  for (int id = 1; id <= 3; ++id) {
    std::vector<std::string> found;
    (void)cluster.until([&] {
      found = cluster.contents(id);
      return found.size() >= written.size();
    });
    EXPECT_EQ(found, written) << "replica " << id;
  }
}

}  // namespace
}  // namespace caisson::engine_test
