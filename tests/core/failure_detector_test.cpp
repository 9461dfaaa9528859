// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/failure_detector.hpp"

#include <gtest/gtest.h>

#include <array>

namespace caisson::control {
namespace {

class FakeHeartbeats : public transport::Heartbeats {
 public:
  void beat() override { ++own; }
  transport::Beat read(ReplicaId peer) const override { return beats[peer.value]; }
  uint64_t own = 0;
  std::array<transport::Beat, 8> beats{};
};

constexpr uint64_t kMs = 1'000'000;

class FailureDetectorTest : public ::testing::Test {
 protected:
  FailureDetectorTest() {
    peers_.add(ReplicaId{2});
    peers_.add(ReplicaId{3});
    for (transport::Beat& beat : heartbeats_.beats) beat.known = true;
  }
  // Polls every millisecond; peers in `alive` advance their counters.
  void run(uint64_t ms, transport::ReplicaSet alive) {
    for (uint64_t i = 0; i < ms; ++i) {
      now_ += kMs;
      for (uint8_t id = 2; id <= 3; ++id) {
        if (alive.has(ReplicaId{id})) ++heartbeats_.beats[id].counter;
      }
      changes_ += detector_.poll(now_);
    }
  }
  FakeHeartbeats heartbeats_;
  transport::ReplicaSet peers_;
  FailureDetector detector_{
      {.suspect_after_ns = 20 * kMs, .link_hint_ns = 2 * kMs}, heartbeats_, [] {
        transport::ReplicaSet set;
        set.add(ReplicaId{2});
        set.add(ReplicaId{3});
        return set;
      }()};
  uint64_t now_ = 1000 * kMs;
  uint32_t changes_ = 0;
};

TEST_F(FailureDetectorTest, SilenceIsSuspectedInTimeAndRecoveryReported) {
  run(50, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
  EXPECT_EQ(heartbeats_.own, 50u);
  transport::ReplicaSet only3;
  only3.add(ReplicaId{3});
  run(19, only3);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
  run(2, only3);
  EXPECT_TRUE(detector_.suspected(ReplicaId{2}));
  EXPECT_EQ(detector_.evidence(ReplicaId{2}), Evidence::silence);
  EXPECT_FALSE(detector_.suspected(ReplicaId{3}));
  EXPECT_EQ(changes_, 1u);
  run(1, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
  EXPECT_EQ(changes_, 2u);
}

TEST_F(FailureDetectorTest, ADroppedLinkShortensTheSilenceThatSuffices) {
  run(10, peers_);
  detector_.on_link(ReplicaId{2}, false);
  run(10, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2})) << "a dropped link alone proves nothing";
  transport::ReplicaSet none;
  run(3, none);
  EXPECT_TRUE(detector_.suspected(ReplicaId{2}));
  EXPECT_EQ(detector_.evidence(ReplicaId{2}), Evidence::link_dropped);
  EXPECT_FALSE(detector_.suspected(ReplicaId{3}));
}

TEST_F(FailureDetectorTest, TheKernelsWordIsBelievedAtOnce) {
  run(10, peers_);
  heartbeats_.beats[3].dead = true;
  run(1, peers_);
  EXPECT_TRUE(detector_.suspected(ReplicaId{3}));
  EXPECT_EQ(detector_.evidence(ReplicaId{3}), Evidence::death_notice);
}

TEST_F(FailureDetectorTest, OurOwnPauseProvesNothingAboutOthers) {
  run(10, peers_);
  now_ += 60'000 * kMs;
  detector_.poll(now_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
  run(5, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
}

// S16: a clock that jumps back, too, must not make every peer dead for good.
TEST_F(FailureDetectorTest, AClockThatJumpsBackSuspectsNobody) {
  run(10, peers_);
  now_ -= 500 * kMs;
  detector_.poll(now_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
  run(50, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
}

TEST_F(FailureDetectorTest, UnknownPeersInHintsAreIgnored) {
  detector_.on_link(ReplicaId{200}, false);
  run(5, peers_);
  EXPECT_FALSE(detector_.suspected(ReplicaId{2}));
}

}  // namespace
}  // namespace caisson::control
