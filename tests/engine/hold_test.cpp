// SPDX-License-Identifier: BSD-3-Clause
// R8: holds of readers that have a name and expire.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/engine/reader_holds.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

using engine::ReaderHolds;

constexpr uint64_t kShortNs = 20'000'000;

class Holds : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = GetParam();
    cluster = std::make_unique<Cluster>(shape);
    ASSERT_NO_FATAL_FAILURE(cluster->start());
    appender = cluster->appender_at_leader(leader);
    ASSERT_TRUE(appender);
    for (int i = 0; i < 10; ++i) last = append(std::to_string(i));
  }
  Position append(const std::string& text) {
    const Completion done = appender->append(bytes_of(text));
    EXPECT_EQ(done.code, Code::ok);
    return done.position;
  }
  Log& log() { return cluster->log(leader); }
  // The answer to a trim once no follower is merely behind.
  Code trim(TrimHolder& holder) {
    Code code = Code::ok;
    (void)cluster->until([&] {
      code = log().trim(last, holder);
      return code != Code::held || holder.replica == ReplicaId{};
    });
    return code;
  }

  std::unique_ptr<Cluster> cluster;
  int leader = 0;
  std::unique_ptr<Appender> appender;
  Position last;
};

TEST_P(Holds, ARefusedTrimNamesTheReaderAndWhenItExpires) {
  auto hold = log().hold(last, {"auditor", 60 * kSecondNs});
  ASSERT_TRUE(hold) << hold.error().message;
  EXPECT_EQ((*hold)->from(), last);
  TrimHolder holder;
  ASSERT_EQ(trim(holder), Code::held);
  EXPECT_EQ(holder.reader, "auditor");
  EXPECT_GT(holder.expires_in_ns, 0u);
  EXPECT_LE(holder.expires_in_ns, 60 * kSecondNs);
  const auto status = nlohmann::json::parse(log().status_json());
  ASSERT_EQ(status["readers"].size(), 1u);
  EXPECT_EQ(status["readers"][0]["name"], "auditor");
  EXPECT_EQ(status["readers"][0]["from"], last.value);
  hold->reset();
  EXPECT_EQ(trim(holder), Code::ok);
  const auto late = log().hold(last);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::trimmed);
}

TEST_P(Holds, AForgottenHoldExpiresAndSaysSo) {
  auto hold = log().hold(Position{0}, {"forgotten", kShortNs});
  ASSERT_TRUE(hold) << hold.error().message;
  TrimHolder holder;
  ASSERT_TRUE(cluster->until([&] { return log().trim(last, holder) == Code::ok; }));
  EXPECT_EQ((*hold)->renew(), Code::trimmed);
  EXPECT_EQ((*hold)->advance(last + 1), Code::trimmed) << "it does not come back";
  EXPECT_EQ(nlohmann::json::parse(log().status_json())["readers"].size(), 0u);
}

TEST_P(Holds, AHoldThatIsRenewedStays) {
  auto hold = log().hold(last, {"busy", 60 * kSecondNs});
  ASSERT_TRUE(hold) << hold.error().message;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ((*hold)->renew(), Code::ok);
    cluster->turn();
  }
  TrimHolder holder;
  EXPECT_EQ(trim(holder), Code::held);
  EXPECT_EQ((*hold)->advance(Position{1}), Code::invalid) << "what was given up is gone";
  ASSERT_EQ((*hold)->advance(last + 1), Code::ok);
  EXPECT_EQ(trim(holder), Code::ok);
}

TEST_P(Holds, ASubscriptionWithALeaseEndsAsTrimmed) {
  SubscribeOptions options;
  options.name = "slow reader";
  options.hold_ttl_ns = kShortNs;
  auto subscription = log().subscribe(Position{0}, options);
  ASSERT_TRUE(subscription) << subscription.error().message;
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  TrimHolder holder;
  ASSERT_TRUE(cluster->until([&] { return log().trim(last, holder) == Code::ok; }));
  EXPECT_EQ((*subscription)->next(entry), Code::trimmed);
}

TEST_P(Holds, AHoldOnAFollowerHoldsTheTrimOfAll) {
  const int follower = leader == 1 ? 2 : 1;
  ASSERT_TRUE(cluster->until([&] { return cluster->log(follower).tail() >= last; }));
  auto hold = cluster->log(follower).hold(last + 1, {"elsewhere", 60 * kSecondNs});
  ASSERT_TRUE(hold) << hold.error().message;
  const Position next = append("held");
  TrimHolder holder;
  ASSERT_TRUE(cluster->until([&] {
    return log().trim(next, holder) == Code::held &&
           holder.replica == ReplicaId{static_cast<uint8_t>(follower)};
  }));
  EXPECT_EQ(holder.reader, "") << "that replica knows it";
  hold->reset();
  EXPECT_TRUE(cluster->until([&] { return log().trim(next, holder) == Code::ok; }));
}

INSTANTIATE_TEST_SUITE_P(Pollers, Holds, testing::Bool(), poller_kind);

TEST(ReaderHolds, SeatsAreGivenBackAndTakenAgain) {
  const auto holds = std::make_unique<ReaderHolds>();
  EXPECT_EQ(holds->lowest(1), Position{ReaderHolds::kNone});
  ReaderHolds::Seat* const first = holds->take(Position{5}, "first", 100);
  ReaderHolds::Seat* const second = holds->take(Position{7}, "second");
  EXPECT_EQ(holds->lowest(1), Position{5});
  EXPECT_EQ(holds->reader_that_holds(Position{6})->name, "first");
  EXPECT_EQ(holds->reader_that_holds(Position{8})->name, "second") << "for ever is longest";
  EXPECT_FALSE(holds->reader_that_holds(Position{5}));
  EXPECT_EQ(holds->lowest(100), Position{7}) << "expired";
  EXPECT_TRUE(first->expired());
  EXPECT_FALSE(first->renew(1000)) << "for good";
  holds->give_back(*first);
  EXPECT_EQ(holds->take(Position{9}, "third", 1), first);
  EXPECT_EQ(holds->lowest(0), Position{7});
  holds->give_back(*second);
  EXPECT_EQ(holds->lowest(0), Position{9});
}

TEST(ReaderHolds, NoMoreReadersThanSeats) {
  const auto holds = std::make_unique<ReaderHolds>();
  for (uint32_t i = 0; i < engine::kReadersMax; ++i) {
    ASSERT_NE(holds->take(Position{i}, std::string(100, 'n')), nullptr);
  }
  EXPECT_EQ(holds->take(Position{1}, "one too many"), nullptr);
  EXPECT_EQ(holds->readers().front().name.size(), 47u);
}

}  // namespace
}  // namespace caisson::engine_test
