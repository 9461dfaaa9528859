// SPDX-License-Identifier: BSD-3-Clause
// Going on after a quorum, or a primary, is lost for good (R43, R14): what is no ground to build
// upon is refused with its reason, and left as it was.
#include "core/replication/recovery.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "core/log/view_entry.hpp"
#include "core/replication/context.hpp"
#include "core/replication/replica.hpp"
#include "core/replication/salvage.hpp"
#include "pmem/shadow_region.hpp"
#include "tests/core/log_fixture.hpp"

namespace caisson::replication {
namespace {

using log::Cursor;
using pmem::ShadowRegion;

constexpr pmem::Geometry kGeometry{64 * 1024, 4096, 8192};
constexpr ReplicaId kSelf{1};
constexpr ReplicaSet kThree{0b1110};
constexpr uint64_t kBirth = 77;
constexpr uint64_t kNonce = 99;
constexpr StandbyBounds kBounds{4096, 10, 0};

Term term_of(uint64_t round) { return term_above(Term{(round - 1) * 256 + 255}, kSelf); }

// A stopped replica, whose ring and superblock a test writes by hand.
class Stopped {
 public:
  explicit Stopped(const pmem::Geometry& geometry = kGeometry)
      : region(geometry), mirror_(geometry.ring_bytes) {
    EXPECT_EQ(create_replica(region, identity, kSelf, kThree), Code::ok);
    tail = superblock().validated;
    mirror_.store(Offset{0}, region.ring_data(), tail.end.value);
  }
  log::Superblock superblock() const {
    const auto bytes = region.read_superblock();
    EXPECT_TRUE(bytes);
    return log::decode_superblock(*bytes).value_or(log::Superblock{});
  }
  void change(const std::function<void(log::Superblock&)>& how) {
    log::Superblock next = superblock();
    how(next);
    EXPECT_EQ(region.write_superblock(log::encode(next), pmem::Region::Slots::both), Code::ok);
  }
  void append(log::EntrySpec spec) {
    const Cursor behind = mirror_.append(tail, spec);
    put(mirror_.ring().at(tail.end), behind);
  }
  void append(uint64_t count, uint64_t round = 2, size_t payload_bytes = 100) {
    for (uint64_t i = 0; i < count; ++i) {
      append({.term = term_of(round).value, .payload = log::test_payload(i, payload_bytes)});
    }
  }
  void append(const log::Membership& view, uint64_t round = 2) {
    const log::ViewEntry entry = log::view_entry(tail, view, term_of(round));
    mirror_.store(tail.end, entry.bytes.data(), entry.bytes.size());
    put(entry.bytes.data(), entry.behind);
  }
  // As it is after a scan: everything held is known to be good, and committed.
  void settle() {
    change([&](log::Superblock& s) {
      s.validated = tail;
      s.committed = s.applied = tail.position;
    });
  }
  void make_standby() {
    log::Membership view = superblock().membership;
    view.view = View{view.view.value + 1};
    view.voters = kThree - just(kSelf);
    view.learners = view.standbys = just(kSelf);
    view.standby_bounds = kBounds;
    append(view);
    settle();
  }
  std::string ring_through(const Cursor& end) const {
    return log::as_string(region.ring_bytes_at(Offset{0}, end.end.value));
  }

  const LogIdentity identity = log::test_identity();
  ShadowRegion region;
  Cursor tail;

 private:
  void put(const std::byte* bytes, const Cursor& behind) {
    region.store_ring(tail.end, bytes, behind.end - tail.end);
    region.persist_ring(tail.end, behind.end - tail.end);
    tail = behind;
  }
  log::MirroredRing mirror_;
};

// Whatever refuses must leave everything as it is.
template <class Call>
void expect_refused(Stopped& stopped, Code code, const std::string& words, Call&& call) {
  stopped.region.persist_all();
  const std::vector<std::byte> before(stopped.region.media().begin(), stopped.region.media().end());
  const auto refused = call(stopped.region);
  ASSERT_FALSE(refused) << words;
  EXPECT_EQ(refused.error().code, code) << refused.error().message;
  EXPECT_NE(refused.error().message.find(words), std::string::npos) << refused.error().message;
  EXPECT_EQ(stopped.region.unpersisted_lines(), 0u);
  EXPECT_TRUE(std::ranges::equal(before, stopped.region.media())) << "it was changed";
}

auto alone(const Stopped& stopped, uint64_t birth = kBirth) {
  return [&stopped, birth](pmem::Region& region) {
    return recover_alone(region, stopped.identity, kSelf, birth, kNonce);
  };
}
auto promoted(const Stopped& stopped, uint64_t birth = kBirth) {
  return [&stopped, birth](pmem::Region& region) {
    return promote_standby(region, stopped.identity, kSelf, birth, kNonce);
  };
}
auto left_behind(const Stopped& stopped, Position through, uint64_t birth = kBirth) {
  return [&stopped, through, birth](pmem::Region& region) {
    return leave_behind(region, stopped.identity, kSelf, through, term_of(9), birth);
  };
}

TEST(RecoverAlone, GoesOnInAViewOfItsOwnAndDoesTheSameOnceMore) {
  Stopped stopped;
  stopped.append(10);
  stopped.settle();
  const std::string held = stopped.ring_through(stopped.tail);
  const View last = stopped.superblock().membership.view;
  const auto recovered = alone(stopped)(stopped.region);
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->view, decreed_after(last));
  EXPECT_EQ(recovered->loss_from, stopped.tail.position + 1);
  EXPECT_EQ(recovered->position, stopped.tail.position + 1);
  EXPECT_EQ(stopped.ring_through(stopped.tail), held);
  const auto view = last_view(stopped.region);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->membership.voters, just(kSelf));
  EXPECT_EQ(view->membership.births[kSelf.value], kBirth);
  const log::Superblock after = stopped.superblock();
  EXPECT_EQ(after.recovered, *recovered);
  EXPECT_EQ(after.birth, kBirth);
  EXPECT_GT(after.promised, term_of(2));
  EXPECT_EQ(after.committed, recovered->position);

  const auto again = recover_alone(stopped.region, stopped.identity, kSelf, kBirth + 1, kNonce);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->position, recovered->position) << "the others part from it where they did";
  EXPECT_EQ(again->loss_from, recovered->loss_from);
  EXPECT_GT(again->view, recovered->view);
}

TEST(RecoverAlone, HalfABatchIsNotAdoptedAndWhatWasNotKnownToBeCommittedMayBeLost) {
  Stopped stopped;
  stopped.append(4);
  stopped.settle();
  const Cursor known = stopped.tail;
  stopped.append(3);
  const Cursor whole = stopped.tail;
  stopped.append({.term = term_of(2).value, .payload = "half", .batch_end = false});
  const auto recovered = alone(stopped)(stopped.region);
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->position, whole.position + 1);
  EXPECT_EQ(recovered->loss_from, known.position + 1);
}

TEST(RecoverAlone, AnothersRegionIsLeftAlone) {
  Stopped stopped;
  stopped.append(3);
  stopped.settle();
  expect_refused(stopped, Code::wrong_cluster, "another", [&](pmem::Region& region) {
    return recover_alone(region, log::test_identity(8), kSelf, kBirth, kNonce);
  });
  expect_refused(stopped, Code::wrong_cluster, "another", [&](pmem::Region& region) {
    return recover_alone(region, stopped.identity, ReplicaId{2}, kBirth, kNonce);
  });
}

TEST(RecoverAlone, DamageIsNoGroundToBuildUpon) {
  Stopped rotten;
  rotten.append(10);
  rotten.settle();
  const Cursor middle = rotten.superblock().trim;
  rotten.region.flip_ring_bit(middle.end + 600, 3);
  expect_refused(rotten, Code::damaged, "another survivor", alone(rotten));

  Stopped known;
  known.append(3);
  known.settle();
  known.change([&](log::Superblock& s) { s.damaged_through = known.tail.position + 5; });
  expect_refused(known, Code::damaged, "another survivor", alone(known));

  Stopped poisoned;
  poisoned.append(3);
  poisoned.settle();
  poisoned.change([](log::Superblock& s) { s.damaged_through = log::kDamagedForGood; });
  expect_refused(poisoned, Code::damaged, "poisoned", alone(poisoned));
  EXPECT_EQ(last_view(poisoned.region).error().code, Code::damaged);

  Stopped gone;
  gone.append(3);
  gone.settle();
  gone.region.poison_ring_page(Offset{8192});
  expect_refused(gone, Code::damaged, "poisoned", alone(gone));
}

TEST(RecoverAlone, AHoleBehindWhichSomethingWasCommittedIsDamage) {
  Stopped stopped;
  stopped.append(5);
  stopped.settle();
  const Cursor hole = stopped.tail;
  stopped.append(1);
  stopped.append({.term = term_of(2).value, .payload = "later", .commit_lag = 0});
  stopped.region.flip_ring_bit(hole.end + 70, 1);
  expect_refused(stopped, Code::damaged, "was good up to", alone(stopped));
}

TEST(RecoverAlone, WithoutAVoteThereIsNothingToGoOnWith) {
  Stopped nobody;
  nobody.append(3);
  nobody.settle();
  expect_refused(nobody, Code::denied, "no vote", alone(nobody, 0));
  nobody.change([](log::Superblock& s) { s.birth = 5; });
  expect_refused(nobody, Code::denied, "no vote", alone(nobody));

  Stopped learner;
  log::Membership view = learner.superblock().membership;
  view.view = View{2};
  view.voters = kThree - just(kSelf);
  view.learners = just(kSelf);
  learner.append(view);
  learner.settle();
  expect_refused(learner, Code::denied, "no vote", alone(learner));
}

TEST(RecoverAlone, ARingThatIsFullToTheLastByteTakesNoView) {
  Stopped stopped;
  while (stopped.tail.end.value < kGeometry.ring_bytes) stopped.append(1, 2, 0);
  stopped.settle();
  expect_refused(stopped, Code::no_space, "full", alone(stopped));
}

TEST(RecoverAlone, ASuperblockThatIsNoneIsNamed) {
  Stopped stopped;
  stopped.append(3);
  stopped.settle();
  EXPECT_EQ(stopped.region.write_superblock({}, pmem::Region::Slots::both), Code::ok);
  expect_refused(stopped, Code::invalid, "superblock", alone(stopped));
  expect_refused(stopped, Code::invalid, "superblock", promoted(stopped));
  expect_refused(stopped, Code::invalid, "superblock", left_behind(stopped, Position{1}));
  stopped.region.erase_superblock(0);
  stopped.region.erase_superblock(1);
  expect_refused(stopped, Code::amnesia, "", alone(stopped));
  expect_refused(stopped, Code::amnesia, "", last_view);
}

TEST(PromoteStandby, SaysWhatItHasAndWhatBoundsTheLoss) {
  Stopped stopped;
  stopped.make_standby();
  stopped.append(5);
  const Cursor had = stopped.tail;
  const auto taken = promoted(stopped)(stopped.region);
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(taken->last, (Token{had.term, had.position}));
  EXPECT_EQ(taken->bounds, kBounds);
  EXPECT_EQ(taken->beyond, Position{});
  EXPECT_EQ(taken->recovered.position, had.position + 1);
  EXPECT_EQ(last_view(stopped.region)->membership.voters, just(kSelf));
  // Cut short behind its last step, it is repeated: it names the same place.
  const auto again = promoted(stopped, kBirth + 1)(stopped.region);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->last, taken->last);
  EXPECT_EQ(again->recovered.position, taken->recovered.position);
}

TEST(PromoteStandby, WhatAnOlderLeaderMayHaveLeftIsPutAsideFirst) {
  Stopped stopped;
  stopped.make_standby();
  stopped.append(2);
  stopped.settle();
  const Cursor sure = stopped.tail;
  stopped.append(3);
  const uint64_t doubtful = stopped.tail.end - sure.end;
  stopped.change([&](log::Superblock& s) { s.granted = {term_of(7), sure.position}; });
  const auto taken = promoted(stopped)(stopped.region);
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(taken->last, (Token{sure.term, sure.position}));
  EXPECT_EQ(taken->recovered.position, sure.position + 1);
  const auto records = read_salvage(stopped.region.salvage());
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].before(), sure);
  EXPECT_EQ(records[0].bytes.size(), doubtful);
  EXPECT_EQ(stopped.superblock().salvage_bytes, doubtful);
}

TEST(PromoteStandby, NothingIsTakenOverIfWhatIsDisplacedHasNoPlace) {
  Stopped stopped;
  stopped.make_standby();
  const Cursor sure = stopped.tail;
  stopped.append(6, 2, 1000);
  stopped.change([&](log::Superblock& s) { s.granted = {term_of(7), sure.position}; });
  expect_refused(stopped, Code::no_space, "", promoted(stopped));
  EXPECT_TRUE(read_salvage(stopped.region.salvage()).empty());
}

TEST(PromoteStandby, IsRefusedToWhoIsNone) {
  Stopped voter;
  voter.append(3);
  voter.settle();
  expect_refused(voter, Code::denied, "is no standby", promoted(voter));
  Stopped standby;
  standby.make_standby();
  expect_refused(standby, Code::denied, "is no standby", promoted(standby, 0));
  expect_refused(standby, Code::wrong_cluster, "another", [&](pmem::Region& region) {
    return promote_standby(region, log::test_identity(8), kSelf, kBirth, kNonce);
  });
  standby.change([](log::Superblock& s) { s.birth = 5; });
  expect_refused(standby, Code::denied, "is no standby", promoted(standby));
  standby.change([&](log::Superblock& s) {
    s.birth = 0;
    s.damaged_through = standby.tail.position + 1;
  });
  expect_refused(standby, Code::damaged, "another survivor", promoted(standby));
}

TEST(PromoteStandby, ItsLossIsCountedInEntriesOfTheLeastSize) {
  EXPECT_EQ(entries_at_most({.bytes = 64'000, .entries = 0}), 64'000 / log::entry_bytes(0));
  EXPECT_EQ(entries_at_most({.bytes = 64'000, .entries = 7}), 7u);
  EXPECT_EQ(entries_at_most({.bytes = 64, .entries = 7}), 64 / log::entry_bytes(0));
}

TEST(LeaveBehind, WhatTheOthersWentOnWithoutIsPutAsideOnce) {
  Stopped stopped;
  stopped.append(4);
  stopped.settle();
  const Cursor agreed = stopped.tail;
  stopped.append(3);
  stopped.settle();
  const uint64_t displaced = stopped.tail.end - agreed.end;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto through = left_behind(stopped, agreed.position)(stopped.region);
    ASSERT_TRUE(through) << through.error().message;
    EXPECT_EQ(*through, agreed.position);
    const auto records = read_salvage(stopped.region.salvage());
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records[0].bytes.size(), displaced);
    EXPECT_EQ(Term{records[0].slot.sealed_by}, term_of(9));
  }
  const log::Superblock after = stopped.superblock();
  EXPECT_EQ(after.birth, kBirth);
  EXPECT_EQ(after.validated, agreed);
  EXPECT_EQ(after.committed, agreed.position);
  EXPECT_EQ(after.applied, agreed.position);
  EXPECT_EQ(after.salvage_bytes, displaced);
}

TEST(LeaveBehind, IsRefusedWhereItWouldLoseWhatOnlyThisReplicaHolds) {
  Stopped stopped;
  stopped.append(4, 2, 1000);
  stopped.settle();
  const Cursor early = stopped.tail;
  stopped.append(5, 2, 1000);
  stopped.settle();
  expect_refused(stopped, Code::invalid, "birth", left_behind(stopped, early.position, 0));
  expect_refused(stopped, Code::wrong_cluster, "another", [&](pmem::Region& region) {
    return leave_behind(region, stopped.identity, ReplicaId{3}, early.position, term_of(9), kBirth);
  });
  expect_refused(stopped, Code::no_space, "", left_behind(stopped, early.position));
  stopped.change([&](log::Superblock& s) { s.trim = early; });
  expect_refused(stopped, Code::trimmed, "trimmed beyond", left_behind(stopped, Position{2}));
  stopped.region.flip_ring_bit(early.end + 70, 2);
  expect_refused(stopped, Code::damaged, "come back empty", left_behind(stopped, early.position));
}

}  // namespace
}  // namespace caisson::replication
