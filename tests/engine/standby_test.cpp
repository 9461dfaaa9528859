// SPDX-License-Identifier: BSD-3-Clause
// R14 through the API: a standby whose engine is not turned bounds the appends, which wait or are
// refused, and go on once it catches up.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr uint64_t kEntries = 40;
constexpr int kStandby = 4;

class Standby : public testing::TestWithParam<StandbyPolicy> {
 protected:
  void SetUp() override { begin({.entries = kEntries}); }
  void begin(const StandbyBounds& bounds) {
    Shape shape;
    shape.replicas = kStandby;
    shape.runs_inline = true;
    shape.adjust = [bounds](EngineOptions& options) {
      options.peers[kStandby - 1].spare = true;
      for (LogOptions& log : options.logs) {
        log.standby_lag = bounds;
        log.standby_policy = GetParam();
      }
    };
    cluster = std::make_unique<Cluster>(shape);
    ASSERT_NO_FATAL_FAILURE(cluster->start());
    appender = cluster->appender_at_leader(leader);
    ASSERT_TRUE(appender);
    const ReplicaSet it = just(ReplicaId{kStandby});
    const bool admitted = cluster->until([&] {
      const Members now = log().members();
      if (now.settled() && now.standbys == it) return true;
      (void)log().change_members(
          now.learners == it ? MemberChange{.standby = it} : MemberChange{.learn = it}, 0);
      return false;
    });
    ASSERT_TRUE(admitted) << log().status_json();
  }
  Log& log() { return cluster->log(leader); }
  // Of the standby, which is closed. Through an adapter it is noticed by the next write, which does
  // not arrive any more.
  bool await_detached() {
    return why_not_one_machine() != nullptr ||
           cluster->until([&] { return !log().standbys().at(0).attached; });
  }
  Completion append() {
    AppendOptions options;
    options.timeout_ns = 20'000'000;
    return appender->append(bytes_of("an entry"), options);
  }

  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Appender> appender;
  int leader = 0;
};

TEST_P(Standby, BoundsTheAppendsByPolicy) {
  EXPECT_EQ(log().members().standby_bounds.entries, kEntries);
  ASSERT_TRUE(cluster->until([&] { return append().code == Code::ok; }));
  ASSERT_TRUE(cluster->until([&] { return log().standbys().at(0).entries == 0; }));
  cluster->close(kStandby);
  ASSERT_TRUE(await_detached());
  const Position had = log().standbys().at(0).held;
  Completion done;
  uint64_t taken = 0;
  for (; taken <= kEntries; ++taken) {
    if ((done = append()).code != Code::ok) break;
  }
  EXPECT_LE(taken, kEntries);
  EXPECT_GE(log().tail().value, had.value + kEntries / 2);
  EXPECT_EQ(done.code, GetParam() == StandbyPolicy::error ? Code::held : Code::again);
  const auto lag = log().standbys().at(0);
  EXPECT_TRUE(lag.at_bound) << log().status_json();
  EXPECT_LE(lag.entries, kEntries);
  const auto status = nlohmann::json::parse(log().status_json());
  EXPECT_EQ(status["members"]["standby_bounds"]["entries"], kEntries);
  if (GetParam() == StandbyPolicy::error) {
    const auto another = log().appender({.timeout_ns = 100'000'000});
    ASSERT_FALSE(another);
    EXPECT_EQ(another.error().code, Code::held);
    EXPECT_NE(another.error().message.find("standby 4 lacks"), std::string::npos)
        << another.error().message;
  }
  cluster->open(kStandby);
  EXPECT_TRUE(cluster->until([&] { return append().code == Code::ok; })) << log().status_json();
  EXPECT_TRUE(cluster->until([&] { return log().standbys().at(0).entries == 0; }));
}

class LateStandby : public Standby {
 protected:
  void SetUp() override { begin({.ms = 200}); }
  // Submits a claim that was taken in time, once the standby is late. fenced: it came to nothing.
  Code submit_late() {
    if (!cluster->is_open(kStandby)) cluster->open(kStandby);
    if (!cluster->until([&] { return append().code == Code::ok; })) return Code::timed_out;
    (void)cluster->until([&] { return log().standbys().at(0).entries == 0; });
    cluster->close(kStandby);
    // Until then what is written reaches its memory, as one whose engine has ended.
    (void)await_detached();
    if (append().code != Code::ok) return Code::fenced;
    auto claim = appender->claim(4);
    if (!claim) return Code::fenced;
    std::memcpy(claim->payload().data(), "late", 4);
    (void)cluster->until([&] { return log().standbys().at(0).at_bound; }, kSecondNs);
    return appender->submit(std::move(*claim), 4, 1);
  }
};

TEST_P(LateStandby, AClaimThatIsRefusedIsUsedUpAndTheStreamGoesOn) {
  Code refused = Code::fenced;
  ASSERT_TRUE(cluster->until([&] { return (refused = submit_late()) != Code::fenced; }));
  EXPECT_EQ(refused, GetParam() == StandbyPolicy::error ? Code::held : Code::again);
  cluster->open(kStandby);
  EXPECT_TRUE(cluster->until([&] { return append().code == Code::ok; }, 5 * kSecondNs))
      << log().status_json();
  auto next = appender->claim(4);
  ASSERT_TRUE(next) << next.error().message;
  std::memcpy(next->payload().data(), "next", 4);
  EXPECT_EQ(appender->submit(std::move(*next), 4, 2), Code::ok);
  ASSERT_EQ(appender->flush(kPatienceNs), Code::ok);
  const auto contents = cluster->contents(leader);
  EXPECT_EQ(contents.back(), "next");
  EXPECT_EQ(std::count(contents.begin(), contents.end(), "late"), 0);
}

std::string name_of(const testing::TestParamInfo<StandbyPolicy>& with) {
  return with.param == StandbyPolicy::stall ? "Stall" : "Error";
}
INSTANTIATE_TEST_SUITE_P(Policies, Standby,
                         testing::Values(StandbyPolicy::stall, StandbyPolicy::error), name_of);
INSTANTIATE_TEST_SUITE_P(Policies, LateStandby,
                         testing::Values(StandbyPolicy::stall, StandbyPolicy::error), name_of);

}  // namespace
}  // namespace caisson::engine_test
