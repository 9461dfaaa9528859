// SPDX-License-Identifier: BSD-3-Clause
// What shared memory has besides what every fabric promises (tests/transport).
#include "transport/shm/shm_endpoint.hpp"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "tests/shm/endpoints.hpp"

namespace caisson::transport::shm {
namespace {

using namespace testing;  // NOLINT

class ShmEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    create_regions(directory_);
    a_ = std::make_unique<Replica>(directory_, kA);
    b_ = std::make_unique<Replica>(directory_, kB);
    c_ = std::make_unique<Replica>(directory_, kC);
  }

  // A takes up grants of B and C.
  void lead(Offset from = Offset{0}) {
    for (Replica* target : {b_.get(), c_.get()}) {
      ASSERT_EQ(target->endpoint.revoke_all(), Code::ok);
      const auto grant = target->endpoint.grant(kA, Term{1});
      ASSERT_TRUE(grant) << grant.error().message;
      ASSERT_EQ(a_->endpoint.attach(target == b_.get() ? kB : kC, *grant, from), Code::ok);
    }
  }

  std::vector<Completion> poll(Replica& replica) {
    std::vector<Completion> out(8);
    out.resize(replica.endpoint.poll(out));
    return out;
  }

  ScratchDirectory directory_;
  std::unique_ptr<Replica> a_, b_, c_;
  const ReplicaSet both_ = set_of({kB, kC});
};

// Upkeep follows what the target has re-homed: the window of a writer that does not know yet that
// it was revoked must not move to the segments its successor writes to.
TEST_F(ShmEndpointTest, ARevokedWriterThatFollowsStoresNothingBehindANewGrant) {
  lead();
  const auto old_bytes = filled(64, 22);
  a_->endpoint.fan_out(both_, Offset{0}, old_bytes.data(), 64);
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto grant = b_->endpoint.grant(kC, Term{2});
  ASSERT_TRUE(grant);
  ASSERT_EQ(c_->endpoint.attach(kB, *grant, Offset{0}), Code::ok);
  const auto new_bytes = filled(64, 23);
  c_->endpoint.fan_out(set_of({kB}), Offset{64}, new_bytes.data(), 64);
  ASSERT_EQ(a_->endpoint.maintain(), Code::ok);
  a_->endpoint.fan_out(both_, Offset{64}, old_bytes.data(), 64);
  EXPECT_EQ(std::memcmp(b_->region->ring_data() + 64, new_bytes.data(), 64), 0);
}

TEST_F(ShmEndpointTest, ARevocationMovesOnlyWhatIsAtStake) {
  lead();
  const auto bytes = filled(kSegment, 7);
  for (uint64_t at = 0; at < 5 * kSegment; at += kSegment) {
    a_->endpoint.fan_out(both_, Offset{at}, bytes.data(), kSegment);
  }
  const auto before = b_->region->manifest().slot_of_segment;
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto after = b_->region->manifest().slot_of_segment;
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i] == after[i], i != 4) << "segment " << i;
  }
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  EXPECT_EQ(b_->region->manifest().slot_of_segment, after) << "nothing more is at stake";
}

TEST_F(ShmEndpointTest, ANewGrantContinuesOnTheMovedSegments) {
  lead();
  const auto bytes = filled(4 * 64, 8);
  a_->endpoint.fan_out(both_, Offset{0}, bytes.data(), 64);
  lead(Offset{64});
  a_->endpoint.fan_out(both_, Offset{64}, bytes.data() + 64, 64);
  a_->endpoint.complete_through(both_, true, Offset{128});
  EXPECT_EQ(poll(*a_).size(), 3u);
  EXPECT_EQ(std::memcmp(b_->region->ring_data(), bytes.data(), 128), 0);
  EXPECT_EQ(std::memcmp(c_->region->ring_data(), bytes.data(), 128), 0);
}

TEST_F(ShmEndpointTest, GrantsAreNeverReusedAndOneIsOpenAtATime) {
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto first = b_->endpoint.grant(kA, Term{1});
  ASSERT_TRUE(first);
  EXPECT_FALSE(b_->endpoint.grant(kC, Term{2}));
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto second = b_->endpoint.grant(kA, Term{1});
  ASSERT_TRUE(second);
  EXPECT_GT(second->generation, first->generation);
  ASSERT_EQ(a_->endpoint.attach(kB, *first, Offset{0}), Code::ok);
  const auto completions = poll(*a_);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].code, Code::fenced) << "an old grant is fenced from the start";
}

TEST_F(ShmEndpointTest, ForeignGrantsAreRefused) {
  Grant grant;
  grant.generation = 1;
  EXPECT_EQ(a_->endpoint.attach(kB, grant, Offset{0}), Code::invalid);
  ASSERT_EQ(c_->endpoint.revoke_all(), Code::ok);
  const auto of_c = c_->endpoint.grant(kA, Term{1});
  ASSERT_TRUE(of_c);
  EXPECT_EQ(a_->endpoint.attach(kB, *of_c, Offset{0}), Code::wrong_cluster);
}

TEST_F(ShmEndpointTest, WarmingTellsWhatIsWrong) {
  const auto unnamed = a_->endpoint.warm(ReplicaId{9});
  ASSERT_FALSE(unnamed);
  EXPECT_EQ(unnamed.error().code, Code::not_found);
  c_.reset();
  std::filesystem::remove(region_path(directory_, kC));
  const auto missing = a_->endpoint.warm(kC);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::amnesia);
  EXPECT_THAT(missing.error().message, ::testing::HasSubstr("replica-3"));
  EXPECT_TRUE(a_->endpoint.warm(kB));
}

TEST_F(ShmEndpointTest, ReplicasOfUnequalGeometryAreRefused) {
  c_.reset();
  std::filesystem::remove(region_path(directory_, kC));
  ASSERT_TRUE(pmem::FileRegion::create(region_path(directory_, kC),
                                       pmem::testing::small_region(2 * kRing)));
  const auto warmed = a_->endpoint.warm(kC);
  ASSERT_FALSE(warmed);
  EXPECT_EQ(warmed.error().code, Code::invalid);
}

TEST_F(ShmEndpointTest, WhoIsNotMappedIsUnknown) {
  TargetCell cell;
  cell.validated = Position{17};
  b_->endpoint.publish(cell);
  b_->endpoint.publish_promise(Term{5}, 77);
  EXPECT_EQ(a_->endpoint.standing_of(kB).promised.value, 0u);
  EXPECT_EQ(a_->endpoint.target_cell(kB).validated.value, 0u);
  ASSERT_TRUE(a_->endpoint.warm(kB));
  EXPECT_EQ(a_->endpoint.standing_of(kB).promised.value, 5u);
  EXPECT_EQ(a_->endpoint.target_cell(kB).validated.value, 17u);
}

TEST_F(ShmEndpointTest, CommitMarksReachTheLiveTargetsOnly) {
  lead();
  ASSERT_EQ(c_->endpoint.revoke_all(), Code::ok);
  a_->endpoint.write_commit_cell(both_, {Term{1}, Position{9}, 77, Position{2}});
  EXPECT_EQ(b_->endpoint.commit_cell(kA).committed.value, 9u);
  EXPECT_EQ(c_->endpoint.commit_cell(kA).committed.value, 0u);
}

TEST_F(ShmEndpointTest, MaintenanceTakesOrphansBackOnceTheirWriterHasFollowed) {
  const auto bytes = filled(64, 11);
  for (int round = 0; round < 20; ++round) {
    lead();
    a_->endpoint.fan_out(both_, Offset{0}, bytes.data(), 64);
    ASSERT_EQ(b_->endpoint.maintain(), Code::ok);
    EXPECT_LE(b_->region->manifest().tainted.size(), 1u);
    EXPECT_EQ(b_->region->spare_slots_ready(), pmem::kSpareSlotsDefault);
  }
}

RC_GTEST_FIXTURE_PROP(ShmEndpointTest, RingsAgreeWhateverTheSizesAndAlignments,
                      (const std::vector<uint16_t>& sizes, uint8_t skew)) {
  lead();
  uint64_t at = kRing - 4096;
  const auto source = filled(70000, skew + 1ul);
  for (const uint16_t n : sizes) {
    a_->endpoint.fan_out(both_, Offset{at}, source.data() + skew, n);
    at += n;
  }
  RC_ASSERT(a_->ring() == b_->ring());
  RC_ASSERT(a_->ring() == c_->ring());
}

}  // namespace
}  // namespace caisson::transport::shm
