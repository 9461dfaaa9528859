// SPDX-License-Identifier: BSD-3-Clause
// R31: linearizable reads three ways, session reads, and who must answer none.
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr ReadPath kPaths[] = {ReadPath::log, ReadPath::leader, ReadPath::proof};

class ReadPoints : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = GetParam();
    cluster = std::make_unique<Cluster>(shape);
    cluster->start();
    if (HasFatalFailure()) return;
    leader = cluster->leader();
    ASSERT_NE(leader, 0);
    appender = cluster->appender(leader);
    ASSERT_NE(appender, nullptr);
  }
  Position append(std::string_view text) {
    const Completion done = appender->append(bytes_of(text));
    EXPECT_EQ(done.code, Code::ok) << name(done.code);
    return done.position;
  }
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Appender> appender;
  int leader = 0;
};
INSTANTIATE_TEST_SUITE_P(Pollers, ReadPoints, testing::Bool(), poller_kind);

TEST_P(ReadPoints, OnTheLeaderHoldEverythingAcknowledged) {
  for (const ReadPath path : kPaths) {
    const Position last = append(name(path));
    const auto point = cluster->log(leader).read_point(path, kPatienceNs);
    ASSERT_TRUE(point) << name(path) << ": " << point.error().message;
    EXPECT_GE(*point, last) << name(path);
    EXPECT_GE(cluster->log(leader).tail(), *point);
  }
}

// With pollers of its own everybody answers; inline, only whoever is turned does.
TEST_P(ReadPoints, OnFollowersHoldEverythingAcknowledged) {
  for (int id = 1; id <= 3; ++id) {
    for (const ReadPath path : kPaths) {
      if (cluster->shape().runs_inline && path != ReadPath::proof && id != leader) continue;
      const Position last = append("entry");
      ASSERT_TRUE(cluster->until([&] { return cluster->log(id).tail() >= last; }));
      const auto point = cluster->log(id).read_point(path, kPatienceNs);
      ASSERT_TRUE(point) << "replica " << id << ", " << name(path) << ": " << point.error().message;
      EXPECT_GE(*point, last);
      std::vector<std::byte> payload;
      EXPECT_EQ(cluster->log(id).read(last, payload), Code::ok);
    }
  }
}

TEST_P(ReadPoints, ASessionReadWaitsForItsPosition) {
  const Position last = append("mine");
  const int follower = leader == 1 ? 2 : 1;
  ASSERT_TRUE(cluster->until([&] { return cluster->log(follower).tail() >= last; }));
  std::vector<std::byte> payload;
  EXPECT_EQ(cluster->log(follower).read(last, {last, kPatienceNs}, payload), Code::ok);
  EXPECT_EQ(text_of(payload), "mine");
  EXPECT_EQ(cluster->log(follower).read(last, {last + 1, 1'000'000}, payload), Code::not_yet);
  Log& log = cluster->log(follower);
  cluster->engine(follower).close();
  EXPECT_EQ(log.read(last, {last + 1, kPatienceNs}, payload), Code::closed);
  const auto closed = log.read_point(ReadPath::leader, kPatienceNs);
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, Code::closed);
}

TEST_P(ReadPoints, AMinorityAnswersNoneAndSaysSo) {
  append("before");
  for (int id = 1; id <= 3; ++id) {
    if (id == leader) continue;
    cluster->close(id);
    std::filesystem::remove_all(cluster->home(id));
  }
  // What was still mapped may have taken an entry. From now on there is nobody to ask.
  ASSERT_TRUE(cluster->until([&] { return !cluster->log(leader).leadership().is_self; }));
  const auto point = cluster->log(leader).read_point(ReadPath::log, 300'000'000);
  ASSERT_FALSE(point);
  EXPECT_TRUE(point.error().code == Code::no_quorum || point.error().code == Code::timed_out ||
              point.error().code == Code::again)
      << name(point.error().code);
  EXPECT_NE(point.error().message.find("main"), std::string::npos) << point.error().message;
}

// No processor but the reader's takes part: everybody else stands still.
TEST(ReadProof, NeedsNoProcessorOfAnother) {
  Shape shape;
  shape.runs_inline = true;
  Cluster cluster(shape);
  cluster.start();
  const int leader = cluster.leader();
  ASSERT_NE(leader, 0);
  auto appender = cluster.appender(leader);
  const Position last = appender->append(bytes_of("one")).position;
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(cluster.until([&] { return cluster.log(id).tail() >= last; }));
    const auto point = cluster.log(id).read_point(ReadPath::proof, 0);
    const auto again = point ? point : cluster.log(id).read_point(ReadPath::proof, kPatienceNs);
    ASSERT_TRUE(again) << "replica " << id << ": " << again.error().message;
    EXPECT_GE(*again, last);
  }
}

// S20: deposed while it stood still, and asked before it has looked at anything.
TEST(ReadProof, ADeposedLeaderAnswersNoRead) {
  Shape shape;
  shape.runs_inline = true;
  shape.suspect_after_us = 100'000;
  Cluster cluster(shape);
  cluster.start();
  const int old = cluster.leader();
  ASSERT_NE(old, 0);
  cluster.sleep(old);
  const int next = cluster.leader({}, {old});
  ASSERT_NE(next, 0);
  auto appender = cluster.appender(next);
  ASSERT_NE(appender, nullptr);
  const Position last = appender->append(bytes_of("by the next one")).position;
  ASSERT_NE(last, Position{});
  EXPECT_TRUE(cluster.log(old).leadership().is_self) << "it has heard of nothing";
  for (const ReadPath path : {ReadPath::leader, ReadPath::proof}) {
    const auto point = cluster.log(old).read_point(path, 0);
    ASSERT_FALSE(point) << point->value;
    EXPECT_EQ(point.error().code, Code::no_quorum) << name(path);
  }
}

}  // namespace
}  // namespace caisson::engine_test
