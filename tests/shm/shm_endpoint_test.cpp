// SPDX-License-Identifier: BSD-3-Clause
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

TEST_F(ShmEndpointTest, FanOutPlacesTheSameBytesAtTheSameOffsetEverywhere) {
  lead();
  const auto bytes = filled(3 * kSegment, 1);
  uint64_t at = 0;
  for (const size_t n : {64ul, 128ul, 4096ul, kSegment - 64, 2 * kSegment - 64ul * 1024}) {
    a_->endpoint.fan_out(both_, Offset{at}, bytes.data() + at, n);
    at += n;
  }
  a_->endpoint.complete_through(both_, true, Offset{at});
  const auto completions = poll(*a_);
  ASSERT_EQ(completions.size(), 3u);
  for (const Completion& completion : completions) {
    EXPECT_EQ(completion.code, Code::ok);
    EXPECT_EQ(completion.placed_through.value, at);
    EXPECT_EQ(completion.persisted_through.value, at);
  }
  EXPECT_EQ(completions.back().target, kA) << "the own ring completes as self";
  for (const Replica* replica : {a_.get(), b_.get(), c_.get()}) {
    EXPECT_EQ(std::memcmp(replica->region->ring_data(), bytes.data(), at), 0);
  }
  EXPECT_TRUE(poll(*a_).empty()) << "each completion is reported once";
}

TEST_F(ShmEndpointTest, FanOutCrossesTheWrap) {
  lead(Offset{5 * kRing - 128});
  const auto bytes = filled(256, 2);
  a_->endpoint.fan_out(both_, Offset{5 * kRing - 128}, bytes.data(), 256);
  for (const Replica* replica : {a_.get(), b_.get(), c_.get()}) {
    EXPECT_EQ(std::memcmp(replica->region->ring_data() + kRing - 128, bytes.data(), 256), 0);
    EXPECT_EQ(std::memcmp(replica->region->ring_data(), bytes.data() + 128, 128), 0);
  }
}

TEST_F(ShmEndpointTest, OnlyNamedTargetsReceive) {
  lead();
  const auto bytes = filled(64, 3);
  a_->endpoint.fan_out(set_of({kC}), Offset{0}, bytes.data(), 64);
  EXPECT_NE(std::memcmp(b_->region->ring_data(), bytes.data(), 64), 0);
  EXPECT_EQ(std::memcmp(c_->region->ring_data(), bytes.data(), 64), 0);
}

TEST_F(ShmEndpointTest, ClaimsAreFannedOutFromTheOwnRing) {
  lead();
  std::byte* claim = a_->endpoint.claim(Offset{kSegment - 64}, 128);
  ASSERT_NE(claim, nullptr);
  EXPECT_NE(claim, a_->region->ring_data() + kSegment - 64);
  const auto bytes = filled(128, 4);
  std::memcpy(claim, bytes.data(), 128);
  a_->endpoint.fan_out_own(both_, Offset{kSegment - 64}, 128);
  for (const Replica* replica : {a_.get(), b_.get(), c_.get()}) {
    EXPECT_EQ(std::memcmp(replica->region->ring_data() + kSegment - 64, bytes.data(), 128), 0);
  }
}

TEST_F(ShmEndpointTest, RepairAndReadReachOneTarget) {
  lead();
  const auto bytes = filled(5 * kSegment, 5);
  a_->region->store_ring(Offset{kRing - kSegment}, bytes.data(), bytes.size());
  a_->endpoint.write(kB, Offset{kRing - kSegment}, bytes.size());
  a_->endpoint.complete_through(set_of({kB}), false, Offset{kRing + 4 * kSegment});
  EXPECT_EQ(poll(*a_).size(), 1u);
  std::vector<std::byte> back(bytes.size());
  ASSERT_TRUE(a_->endpoint.read(kB, Offset{kRing - kSegment}, back.data(), back.size()));
  EXPECT_EQ(back, bytes);
  EXPECT_FALSE(a_->endpoint.read(ReplicaId{9}, Offset{0}, back.data(), 64));
}

TEST_F(ShmEndpointTest, AfterARevocationNothingIsCountedAndNothingArrives) {
  lead();
  const auto bytes = filled(128, 6);
  a_->endpoint.fan_out(both_, Offset{0}, bytes.data(), 64);
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto sealed = b_->ring();
  EXPECT_EQ(std::memcmp(sealed.data(), bytes.data(), 64), 0) << "what was stored before is kept";
  a_->endpoint.fan_out(both_, Offset{64}, bytes.data() + 64, 64);
  a_->endpoint.complete_through(both_, true, Offset{128});
  bool fenced = false;
  for (const Completion& completion : poll(*a_)) {
    if (completion.target == kB) {
      EXPECT_EQ(completion.code, Code::fenced);
      EXPECT_EQ(completion.placed_through.value, 0u);
      fenced = true;
    } else {
      EXPECT_EQ(completion.code, Code::ok);
    }
  }
  EXPECT_TRUE(fenced);
  EXPECT_EQ(b_->ring(), sealed);
  a_->endpoint.fan_out(both_, Offset{4 * kSegment}, bytes.data(), 64);
  EXPECT_EQ(b_->ring(), sealed);
  EXPECT_TRUE(poll(*a_).empty()) << "a fence is reported once";
}

TEST_F(ShmEndpointTest, ARevocationForgetsWhatOfItsOwnWasNotReported) {
  const auto bytes = filled(64, 21);
  a_->endpoint.fan_out({}, Offset{0}, bytes.data(), 64);
  a_->endpoint.complete_through({}, true, Offset{64});
  ASSERT_EQ(a_->endpoint.revoke_all(), Code::ok);
  std::array<Completion, 4> completions;
  EXPECT_EQ(a_->endpoint.poll(completions), 0u) << "a later term would count it";
}

// Upkeep follows what the target has re-homed: the window of a writer that does not know yet that
// it was revoked must not move to the segments its successor writes to.
// A leader that was deposed and leads again may end its first entry where its last term ended.
TEST_F(ShmEndpointTest, AnEndThatAnEarlierTermReachedIsReportedAgain) {
  for (int term = 0; term < 3; ++term) {
    const auto bytes = filled(128, static_cast<uint8_t>(term));
    a_->endpoint.fan_out({}, Offset{0}, bytes.data(), bytes.size());
    a_->endpoint.complete_through({}, true, Offset{128});
    if (term == 1) {
      ASSERT_EQ(a_->endpoint.revoke_all(), Code::ok);
      EXPECT_TRUE(poll(*a_).empty());
      continue;
    }
    const auto completions = poll(*a_);
    ASSERT_EQ(completions.size(), 1u) << "term " << term;
    EXPECT_EQ(completions[0].persisted_through.value, 128u);
  }
}

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

TEST_F(ShmEndpointTest, CellsAreReadOneSidedly) {
  ASSERT_TRUE(a_->endpoint.warm(kB));
  EXPECT_EQ(a_->endpoint.target_cell(kB).validated.value, 0u);
  TargetCell cell;
  cell.term = Term{3};
  cell.validated = Position{17};
  b_->endpoint.publish(cell);
  b_->endpoint.publish_promise(Term{5}, 77);
  EXPECT_EQ(a_->endpoint.target_cell(kB).validated.value, 17u);
  const Standing said = a_->endpoint.standing_of(kB);
  EXPECT_EQ(said.promised.value, 5u);
  EXPECT_EQ(said.birth, 77u);
  EXPECT_EQ(a_->endpoint.standing_of(kC).promised.value, 0u) << "not mapped: unknown";
}

TEST_F(ShmEndpointTest, CommitMarksReachTheLiveTargetsOnly) {
  lead();
  ASSERT_EQ(c_->endpoint.revoke_all(), Code::ok);
  a_->endpoint.write_commit_cell(both_, {Term{1}, Position{9}, 77, Position{2}});
  EXPECT_EQ(b_->endpoint.commit_cell(kA).committed.value, 9u);
  EXPECT_EQ(b_->endpoint.commit_cell(kA).chain, 77u);
  EXPECT_EQ(b_->endpoint.commit_cell(kA).trim_to.value, 2u);
  EXPECT_EQ(c_->endpoint.commit_cell(kA).committed.value, 0u);
  EXPECT_EQ(b_->endpoint.commit_cell(kC).committed.value, 0u);
}

TEST_F(ShmEndpointTest, PollReportsWhatFitsAndKeepsTheRest) {
  lead();
  const auto bytes = filled(64, 9);
  a_->endpoint.fan_out(both_, Offset{0}, bytes.data(), 64);
  a_->endpoint.complete_through(both_, true, Offset{64});
  std::array<Completion, 1> one;
  size_t reported = 0;
  while (a_->endpoint.poll(one) == 1) ++reported;
  EXPECT_EQ(reported, 3u);
}

// H12: the application finishes its copy after the node has been sealed and a newer leader has
// written.
TEST_F(ShmEndpointTest, ALateStoreOfAnApplicationTouchesNothingThatANewLeaderFills) {
  std::byte* claim = a_->endpoint.claim(Offset{0}, 64);
  std::memset(claim, 1, 32);
  ASSERT_EQ(a_->endpoint.revoke_all(), Code::ok);
  const auto grant = a_->endpoint.grant(kB, Term{2});
  ASSERT_TRUE(grant);
  ASSERT_EQ(b_->endpoint.attach(kA, *grant, Offset{0}), Code::ok);
  const auto bytes = filled(64, 10);
  b_->endpoint.fan_out(set_of({kA}), Offset{0}, bytes.data(), 64);
  std::memset(claim, 0xff, 64);
  EXPECT_EQ(std::memcmp(a_->region->ring_data(), bytes.data(), 64), 0);
  std::byte* next = a_->endpoint.claim(Offset{0}, 64);
  EXPECT_NE(next, claim) << "each term's claims are at a fresh address";
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

// H9: the owner dies, its ring goes on being written; the next process re-homes before it answers.
TEST_F(ShmEndpointTest, ARestartedOwnerEndsTheGrantsOfItsPredecessor) {
  lead();
  const auto bytes = filled(192, 12);
  a_->endpoint.fan_out(both_, Offset{0}, bytes.data(), 64);
  b_.reset();
  a_->endpoint.fan_out(both_, Offset{64}, bytes.data() + 64, 64);
  a_->endpoint.complete_through(both_, false, Offset{128});
  EXPECT_EQ(poll(*a_).size(), 2u) << "a grant outlives the process that gave it";
  b_ = std::make_unique<Replica>(directory_, kB);
  ASSERT_EQ(b_->endpoint.revoke_all(), Code::ok);
  const auto sealed = b_->ring();
  EXPECT_EQ(std::memcmp(sealed.data(), bytes.data(), 128), 0);
  a_->endpoint.fan_out(both_, Offset{128}, bytes.data() + 128, 64);
  a_->endpoint.complete_through(both_, false, Offset{192});
  bool fenced = false;
  for (const Completion& completion : poll(*a_)) {
    if (completion.target == kB) fenced = completion.code == Code::fenced;
  }
  EXPECT_TRUE(fenced);
  EXPECT_EQ(b_->ring(), sealed);
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
