// SPDX-License-Identifier: BSD-3-Clause
// R43, R14 through the engine: who may go on alone, who takes over, and how those who were given up
// are refused and admitted again.
#include <gmock/gmock.h>

#include "core/engine/engine_recovery.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string text(int number) { return std::to_string(number); }

class Recovery : public testing::Test {
 protected:
  void SetUp() override {
    cluster_.start();
    if (HasFatalFailure()) return;
    int leader = 0;
    const auto appender = cluster_.appender_at_leader(leader);
    ASSERT_NE(appender, nullptr);
    for (const std::string& entry : entries_) {
      ASSERT_EQ(appender->append(bytes_of(entry)).code, Code::ok);
    }
    for (int id = 1; id <= 3; ++id) {
      ASSERT_TRUE(cluster_.until([&] { return cluster_.contents(id) == entries_; }));
    }
  }
  void stop() {
    for (int id = 1; id <= 3; ++id) cluster_.close(id);
  }
  // 2 and 3 are gone; their directories may come back.
  void lose_two() {
    stop();
    for (const int id : {2, 3}) fs::rename(cluster_.home(id), attic(id));
  }
  std::string attic(int id) const { return cluster_.directory() + "/attic-" + text(id); }
  auto recover(int id) {
    const EngineOptions options = cluster_.options(id);
    return engine::recover_log(options, options.logs[0]);
  }
  auto readmit(int id) {
    const EngineOptions options = cluster_.options(id);
    return engine::readmit_log(options, options.logs[0]);
  }

  const std::vector<std::string> entries_{"one", "two", "three"};
  Cluster cluster_;
};

TEST_F(Recovery, IsRefusedWhileTheReplicaRunsOrAQuorumIsThere) {
  EXPECT_EQ(recover(1).error().code, Code::busy);
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  stop();
  const auto needless = recover(1);
  ASSERT_FALSE(needless);
  EXPECT_EQ(needless.error().code, Code::exists);
  EXPECT_THAT(needless.error().message, HasSubstr("replicas 2, 3 are there"));
  for (int id = 1; id <= 3; ++id) cluster_.open(id);
  ASSERT_FALSE(HasFatalFailure());
  const int leader = cluster_.leader();
  ASSERT_NE(leader, 0);
  EXPECT_EQ(cluster_.contents(leader), entries_);
  EXPECT_EQ(cluster_.log(leader).members().voters.count(), 3) << "nobody was given up";
}

TEST_F(Recovery, WithoutItsRegionOrItsRulesThereIsNothingToBuildUpon) {
  lose_two();
  EngineOptions wrong = cluster_.options(1);
  wrong.directory = cluster_.directory() + "/nowhere";
  wrong.peers[0].directory = wrong.directory;
  EXPECT_EQ(engine::recover_log(wrong, wrong.logs[0]).error().code, Code::not_found);
  wrong.cluster = {};
  EXPECT_EQ(engine::recover_log(wrong, wrong.logs[0]).error().code, Code::invalid);
  const std::string region = cluster_.home(1) + "/logs/main/region";
  fs::rename(region, region + ".aside");
  EXPECT_EQ(recover(1).error().code, Code::amnesia);
  EXPECT_FALSE(fs::exists(region));
  fs::rename(region + ".aside", region);
  EXPECT_TRUE(recover(1));
}

TEST_F(Recovery, WhoWasGivenUpIsRefusedUntilItIsReadmitted) {
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  EXPECT_EQ(readmit(2).error().code, Code::busy);
  lose_two();
  const auto recovered = recover(1);
  ASSERT_TRUE(recovered) << recovered.error().message;
  cluster_.open(1);
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(cluster_.until([&] { return cluster_.log(1).leadership().is_self; }));
  EXPECT_EQ(cluster_.contents(1), entries_);
  EXPECT_EQ(cluster_.log(1).members().voters, just(ReplicaId{1}));

  fs::rename(attic(2), cluster_.home(2));
  const auto refused = Engine::open(cluster_.options(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::wrong_view);
  EXPECT_THAT(refused.error().message, HasSubstr("replica 1 went on alone"));
  const auto agreed = readmit(2);
  ASSERT_TRUE(agreed) << agreed.error().message;
  EXPECT_LT(*agreed, recovered->position);
  cluster_.open(2);
  ASSERT_FALSE(HasFatalFailure());
  Code added = Code::not_found;
  ASSERT_TRUE(cluster_.until([&] {
    added = cluster_.log(1).change_members({.add = just(ReplicaId{2})}, 20 * kSecondNs);
    return added != Code::not_found;
  }));
  EXPECT_EQ(added, Code::ok);
  const auto appender = cluster_.appender(1);
  ASSERT_NE(appender, nullptr);
  EXPECT_EQ(appender->append(bytes_of("whole again")).code, Code::ok);
  ASSERT_TRUE(cluster_.until([&] { return cluster_.contents(2).size() == 4; }));
  EXPECT_EQ(cluster_.contents(2), cluster_.contents(1));
}

TEST_F(Recovery, WhomNobodyGaveUpIsNotReadmitted) {
  stop();
  const auto refused = readmit(2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("given up"));
  cluster_.open(2);
  EXPECT_FALSE(HasFatalFailure()) << "it is as it was";
}

TEST_F(Recovery, AVoterIsNoStandby) {
  stop();
  const EngineOptions options = cluster_.options(2);
  const auto refused = engine::promote_log(options, options.logs[0]);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied);
  EXPECT_THAT(refused.error().message, HasSubstr(cluster_.home(2)));
}

TEST(Takeover, AStandbyTakesOverOnceItsPrimaryIsGoneForSure) {
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  constexpr int kStandby = 4;
  Shape shape;
  shape.replicas = kStandby;
  shape.runs_inline = true;
  shape.adjust = [](EngineOptions& options) { options.peers[kStandby - 1].spare = true; };
  Cluster cluster(shape);
  ASSERT_NO_FATAL_FAILURE(cluster.start());
  int leader = 0;
  auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  const ReplicaSet it = just(ReplicaId{kStandby});
  ASSERT_TRUE(cluster.until([&] {
    const Members now = cluster.log(leader).members();
    if (now.settled() && now.standbys == it) return true;
    (void)cluster.log(leader).change_members(
        now.learners == it ? MemberChange{.standby = it} : MemberChange{.learn = it}, 0);
    return false;
  }));
  ASSERT_EQ(appender->append(bytes_of("kept")).code, Code::ok);
  ASSERT_TRUE(cluster.until([&] { return cluster.contents(kStandby).size() == 1; }));
  appender.reset();
  const EngineOptions options = cluster.options(kStandby);
  EXPECT_EQ(engine::promote_log(options, options.logs[0]).error().code, Code::busy) << "it runs";
  cluster.close(kStandby);
  const auto primary_runs = engine::promote_log(options, options.logs[0]);
  ASSERT_FALSE(primary_runs);
  EXPECT_EQ(primary_runs.error().code, Code::busy);
  EXPECT_THAT(primary_runs.error().message, HasSubstr("of the primary runs"));
  for (int id = 1; id < kStandby; ++id) cluster.close(id);

  const auto taken = engine::promote_log(options, options.logs[0]);
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(taken->recovered.position, taken->last.position + 1);
  EXPECT_GT(taken->bounds.bytes, 0u);
  cluster.open(kStandby);
  ASSERT_FALSE(testing::Test::HasFatalFailure());
  ASSERT_TRUE(cluster.until([&] { return cluster.log(kStandby).leadership().is_self; }));
  EXPECT_EQ(cluster.contents(kStandby), std::vector<std::string>{"kept"});
  // The primary comes back too late.
  EXPECT_EQ(Engine::open(cluster.options(1)).error().code, Code::wrong_view);
}

}  // namespace
}  // namespace caisson::engine_test
