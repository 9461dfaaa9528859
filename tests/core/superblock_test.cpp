// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/log/superblock_format.hpp"

namespace caisson::log {
namespace {

Superblock arbitrary_superblock() {
  const auto below = [](uint64_t limit) { return *rc::gen::inRange<uint64_t>(0, limit + 1); };
  Superblock s;
  s.identity.log = *rc::gen::arbitrary<uint64_t>();
  for (uint8_t& b : s.identity.cluster) b = *rc::gen::arbitrary<uint8_t>();
  s.replica = ReplicaId{*rc::gen::inRange<uint8_t>(1, kReplicaIdMax + 1)};
  s.ring_bytes = uint64_t{1} << *rc::gen::inRange(12, 40);
  s.incarnation = Incarnation{below(1000)};
  s.promised = Term{below(1u << 30)};
  s.promise_nonce = *rc::gen::arbitrary<uint64_t>();
  s.membership.view = View{below(9)};
  s.view_position = Position{below(100)};
  // Every replica has one part, or none; one votes for sure.
  const uint64_t voters = (*rc::gen::arbitrary<uint64_t>() | 2) & ~uint64_t{1};
  const uint64_t rest = *rc::gen::arbitrary<uint64_t>() & ~voters & ~uint64_t{1};
  const uint64_t learners = rest & *rc::gen::arbitrary<uint64_t>();
  s.membership.voters = {voters};
  s.membership.learners = {learners};
  if (*rc::gen::arbitrary<bool>()) {
    s.membership.outgoing = {*rc::gen::arbitrary<uint64_t>() & ~learners & ~uint64_t{1}};
  } else {
    s.membership.joining = {rest & ~learners};
    s.membership.leaving = {voters & *rc::gen::arbitrary<uint64_t>()};
  }
  s.membership.standbys = {learners & *rc::gen::arbitrary<uint64_t>()};
  if (!s.membership.standbys.empty()) {
    s.membership.standby_bounds = {1 + below(1u << 20), below(1000), below(1000)};
  }
  for (size_t id = 1; id <= kReplicaIdMax; ++id) {
    s.membership.births[id] = *rc::gen::arbitrary<uint64_t>();
  }
  s.birth = *rc::gen::arbitrary<uint64_t>();
  s.validated = {Position{below(1u << 20)}, Offset{64 * below(1u << 20)}, Term{below(99)}, 5};
  s.committed = Position{below(s.validated.position.value)};
  s.applied = Position{below(s.committed.value)};
  s.trim.position = Position{below(s.applied.value)};
  s.trim.end = s.validated.end.value > s.ring_bytes ? Offset{s.validated.end.value - s.ring_bytes}
                                                    : Offset{0};
  s.trim.chain = *rc::gen::arbitrary<uint32_t>();
  s.damaged_through = Position{below(50)};
  s.salvage_bytes = below(1u << 20);
  s.recovered = {View{below(9)}, Position{below(9)}, Position{below(9)}};
  s.granted = {Term{below(999)}, Position{below(99)}};
  return s;
}

TEST(Superblock, WhatIsEncodedIsDecoded) {
  EXPECT_TRUE(rc::check([] {
    const Superblock s = arbitrary_superblock();
    const auto back = decode_superblock(encode(s));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == s);
  }));
}

TEST(Superblock, ForeignShortNewerAndContradictingOnesAreRefused) {
  Superblock s;
  s.replica = ReplicaId{1};
  s.ring_bytes = 4096;
  SuperblockBytes bytes = encode(s);
  ASSERT_TRUE(decode_superblock(bytes));
  EXPECT_EQ(decode_superblock(std::span(bytes).first(100)).error().code, Code::invalid);
  bytes[4] = std::byte{kSuperblockVersion + 1};
  EXPECT_EQ(decode_superblock(bytes).error().code, Code::wrong_version);
  bytes[4] = std::byte{0};
  EXPECT_EQ(decode_superblock(bytes).error().code, Code::invalid);
  bytes = encode(s);
  bytes[0] ^= std::byte{1};
  EXPECT_EQ(decode_superblock(bytes).error().code, Code::invalid);

  const auto refused = [](Superblock bad) {
    const auto got = decode_superblock(encode(bad));
    return !got && got.error().code == Code::invalid;
  };
  Superblock bad = s;
  bad.ring_bytes = 4095;
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.replica = ReplicaId{0};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.replica = ReplicaId{64};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.committed = Position{1};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.validated.end = Offset{32};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.validated.end = Offset{8192};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.membership.voters = {1};
  EXPECT_TRUE(refused(bad));
  bad = s;
  bad.membership.voters = {2};
  bad.membership.learners = {4};
  EXPECT_FALSE(refused(bad));
  bad.membership.standbys = {4};
  EXPECT_TRUE(refused(bad)) << "nothing bounds it";
  bad.membership.standby_bounds.bytes = 1;
  EXPECT_FALSE(refused(bad));
  bad.membership.learners = {};
  EXPECT_TRUE(refused(bad)) << "it does not learn";
}

TEST(Superblock, OneWithoutWhatConcernsStandbysIsRead) {
  Superblock s;
  s.replica = ReplicaId{1};
  s.ring_bytes = 4096;
  s.membership.voters = {2};
  s.recovered = {View{1}, Position{2}, Position{3}};
  const SuperblockBytes bytes = encode(s);
  const auto back = decode_superblock(std::span(bytes).first(kSuperblockBytesV2));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, s);
  EXPECT_FALSE(decode_superblock(std::span(bytes).first(kSuperblockBytesV2 - 1)));
}

TEST(Superblock, ArbitraryBytesNeverBreakTheDecoder) {
  EXPECT_TRUE(rc::check([] {
    SuperblockBytes bytes = encode(arbitrary_superblock());
    const int changes = *rc::gen::inRange(1, 6);
    for (int i = 0; i < changes; ++i) {
      bytes[*rc::gen::inRange<size_t>(6, bytes.size())] = std::byte{*rc::gen::arbitrary<uint8_t>()};
    }
    const auto got = decode_superblock(bytes);
    if (!got) return;
    // Whatever is believed can be scanned from.
    RC_ASSERT(std::has_single_bit(got->ring_bytes));
    RC_ASSERT(got->validated.end - got->trim.end <= got->ring_bytes);
    RC_ASSERT(got->trim.position <= got->applied);
    RC_ASSERT(got->applied <= got->committed);
    RC_ASSERT(got->committed <= got->validated.position);
  }));
}

}  // namespace
}  // namespace caisson::log
