// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/core/log_fixture.hpp"

namespace caisson::log {
namespace {

TEST(Crc32c, HasTheCheckValueOfCastagnoli) {
  EXPECT_EQ(~crc32c(kCrcSeed, "123456789", 9), 0xe3069283u);
}

TEST(Crc32c, BulkAndInlineFormsContinueEachOther) {
  RC_ASSERT(rc::check([](const std::string& head, uint16_t n) {
    const std::string bytes = head + test_payload(n, n % 2000);
    const size_t cut = bytes.empty() ? 0 : n % bytes.size();
    const uint32_t whole = crc32c_bulk(kCrcSeed, bytes.data(), bytes.size());
    const uint32_t first = crc32c(kCrcSeed, bytes.data(), cut);
    RC_ASSERT(crc32c(first, bytes.data() + cut, bytes.size() - cut) == whole);
    RC_ASSERT(crc32c(kCrcSeed, bytes.data(), bytes.size()) == whole);
  }));
}

EntrySpec arbitrary_spec() {
  EntrySpec spec;
  spec.term = *rc::gen::inRange<uint64_t>(1, 1u << 20);
  spec.identity = {*rc::gen::inRange<uint64_t>(0, 9), *rc::gen::inRange<uint32_t>(0, 5),
                   *rc::gen::arbitrary<uint64_t>()};
  spec.payload = test_payload(*rc::gen::arbitrary<uint64_t>(), *rc::gen::inRange<size_t>(0, 700));
  spec.batch_end = *rc::gen::arbitrary<bool>();
  return spec;
}

TEST(EntryFormat, WhatIsSealedIsReadBack) {
  EXPECT_TRUE(rc::check([] {
    MirroredRing ring(4096);
    const Cursor before{Position{*rc::gen::inRange<uint64_t>(0, 1u << 30)},
                        Offset{64 * *rc::gen::inRange<uint64_t>(0, 1u << 30)}, Term{1},
                        *rc::gen::arbitrary<uint32_t>()};
    const EntrySpec spec = arbitrary_spec();
    const Cursor after = ring.append(before, spec);
    const Step got = step(ring.ring(), before, before.end + ring.bytes());
    RC_ASSERT(got.reason == Break::none);
    RC_ASSERT(got.next == after);
    RC_ASSERT(as_string(payload(ring.ring(), before.end, got.header)) == spec.payload);
    RC_ASSERT(got.header.sequence == spec.identity.sequence);
  }));
}

TEST(EntryFormat, AnySingleFlippedBitBreaksTheEntry) {
  const EntrySpec spec{.term = 3, .identity = {5, 1, 9}, .payload = test_payload(1, 100)};
  MirroredRing ring(4096);
  const Cursor before = origin(test_identity());
  ring.append(before, spec);
  // The padding behind the payload belongs to no entry's meaning.
  for (uint64_t bit = 0; bit < (kHeaderBytes + spec.payload.size()) * 8; ++bit) {
    ring.flip(bit);
    EXPECT_NE(step(ring.ring(), before, Offset{4096}).reason, Break::none) << "bit " << bit;
    ring.flip(bit);
  }
  EXPECT_EQ(step(ring.ring(), before, Offset{4096}).reason, Break::none);
}

TEST(EntryFormat, EveryBrokenPlaceIsNamed) {
  MirroredRing ring(4096);
  const Cursor start = origin(test_identity());
  EXPECT_EQ(step(ring.ring(), start, Offset{4096}).reason, Break::blank);
  const Cursor one = ring.append(start, {.term = 4, .payload = "one"});
  EXPECT_EQ(step(ring.ring(), start, Offset{64}).reason, Break::window);
  EXPECT_EQ(step(ring.ring(), start, Offset{127}).reason, Break::window);
  EXPECT_EQ(step(ring.ring(), start, Offset{128}).reason, Break::none);

  Cursor other = start;
  other.position = Position{8};
  EXPECT_EQ(step(ring.ring(), other, Offset{4096}).reason, Break::position);
  other = start;
  other.end = Offset{4096};  // H5: the same bytes, seen one lap later
  EXPECT_EQ(step(ring.ring(), other, Offset{8192}).reason, Break::position);
  other = start;
  other.term = Term{5};
  EXPECT_EQ(step(ring.ring(), other, Offset{4096}).reason, Break::term_order);
  EXPECT_EQ(step(ring.ring(), origin(test_identity(8)), Offset{4096}).reason, Break::chain);

  ring.flip(64 * 8);
  EXPECT_EQ(step(ring.ring(), start, Offset{4096}).reason, Break::chain);
  ring.flip(64 * 8);
  ring.flip(20 * 8);
  EXPECT_EQ(step(ring.ring(), start, Offset{4096}).reason, Break::header);
  EXPECT_EQ(step(ring.ring(), one, Offset{4096}).reason, Break::blank);
}

TEST(EntryFormat, AnEntryLargerThanTheRingIsRefused) {
  MirroredRing ring(4096);
  const Cursor start = origin(test_identity());
  EntryHeader header{};
  header.position = 1;
  header.term = 1;
  header.kind = static_cast<uint8_t>(Kind::data);
  header.format = kEntryFormat;
  header.payload_bytes = 0xffffffffu;
  seal_header(header, start.chain, kCrcSeed);
  ring.store(start.end, &header, sizeof header);
  EXPECT_EQ(step(ring.ring(), start, Offset{uint64_t{1} << 40}).reason, Break::window);
}

// H4: a new leader's torn entry, then valid old entries behind it.
TEST(EntryFormat, ALeftoverTailDoesNotContinueANewChain) {
  EXPECT_TRUE(rc::check([] {
    MirroredRing ring(1u << 16);
    Cursor cursor = origin(test_identity());
    std::vector<Cursor> old{cursor};
    const int count = *rc::gen::inRange(3, 20);
    for (int i = 0; i < count; ++i) {
      cursor =
          ring.append(cursor, {.term = 1, .payload = test_payload(static_cast<uint64_t>(i), 100)});
      old.push_back(cursor);
    }
    const auto from = *rc::gen::inRange<size_t>(0, old.size() - 1);
    cursor = old[from];
    const auto fresh = *rc::gen::inRange<size_t>(1, old.size() - from);
    for (size_t i = 0; i < fresh; ++i) {
      cursor = ring.append(cursor, {.term = 2, .payload = test_payload(1000 + i, 100)});
    }
    RC_ASSERT(step(ring.ring(), cursor, Offset{1u << 16}).reason != Break::none);
  }));
}

}  // namespace
}  // namespace caisson::log
