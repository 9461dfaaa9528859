// SPDX-License-Identifier: BSD-3-Clause
// R27, R9: a replica whose engine is turned now and then only is called slow, and by policy loses
// its vote until it is made a voter again.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr uint64_t kSlowTurnNs = 50'000'000;

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

class Slow : public testing::TestWithParam<SlowPolicy> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = true;
    shape.ring_bytes = 1 << 20;
    shape.suspect_after_us = 30'000'000;
    shape.adjust = [](EngineOptions& options) {
      for (LogOptions& log : options.logs) {
        log.slow = GetParam();
        log.slow_patience_ms = 1;
      }
    };
    cluster = std::make_unique<Cluster>(shape);
    ASSERT_NO_FATAL_FAILURE(cluster->start());
    appender = cluster->appender_at_leader(leader);
    ASSERT_TRUE(appender);
    slow = leader == 1 ? 2 : 1;
  }
  Log& log() { return cluster->log(leader); }
  ReplicaSet slow_set() const { return just(ReplicaId{static_cast<uint8_t>(slow)}); }

  // As fast as it goes; what lies far behind is forgotten where nobody needs it.
  void append_some() {
    for (int i = 0; i < 64; ++i) {
      if (appender->append_async(bytes_of("sixteen bytes of"), 0) != Code::ok) break;
    }
    std::array<Completion, 64> done;
    const size_t count = appender->completions(done);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(done[i].code, Code::ok);
      last = done[i].position;
    }
    if (last.value > 1000) (void)log().trim(Position{last.value - 1000});
  }
  void turn_the_slow_one() {
    if (now_ns() < slow_turn_ns) return;
    slow_turn_ns = now_ns() + kSlowTurnNs;
    cluster->engine(slow).poll();
  }
  bool called_slow() {
    const auto status = nlohmann::json::parse(log().status_json());
    for (const auto& member : status["members"]["members"]) {
      if (member["replica"] == slow) return member.value("slow", false);
    }
    return false;
  }

  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Appender> appender;
  int leader = 0;
  int slow = 0;
  uint64_t slow_turn_ns = 0;
  Position last;
};

TEST_P(Slow, IsReportedAndTreatedByPolicy) {
  cluster->sleep(slow);
  const bool told = cluster->until([&] {
    append_some();
    turn_the_slow_one();
    return called_slow() || log().members().learners == slow_set();
  });
  EXPECT_TRUE(told) << log().status_json();
  if (GetParam() == SlowPolicy::back_pressure) {
    EXPECT_EQ(log().members().voters.count(), 3);
    cluster->wake(slow);
    EXPECT_TRUE(cluster->until([&] { return !called_slow(); })) << log().status_json();
    return;
  }
  const auto demoted = [&] {
    append_some();
    turn_the_slow_one();
    return log().members().settled() && log().members().learners == slow_set();
  };
  ASSERT_TRUE(cluster->until(demoted)) << log().status_json();
  EXPECT_EQ(log().members().voters.count(), 2);
  const Position before = last;
  EXPECT_TRUE(cluster->until([&] {
    append_some();
    return last.value > before.value + 50'000;
  })) << "it is in nobody's way: six laps of the ring";
  cluster->wake(slow);
  MemberChange back;
  back.add = slow_set();
  EXPECT_TRUE(cluster->until([&] {
    (void)log().change_members(back, 0);
    return log().members().settled() && log().members().voters.count() == 3;
  })) << log().status_json();
}

INSTANTIATE_TEST_SUITE_P(Policies, Slow,
                         testing::Values(SlowPolicy::back_pressure, SlowPolicy::demote),
                         [](const testing::TestParamInfo<SlowPolicy>& with) {
                           return with.param == SlowPolicy::demote ? "Demote" : "BackPressure";
                         });

}  // namespace
}  // namespace caisson::engine_test
