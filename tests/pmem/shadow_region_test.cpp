// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/shadow_region.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <string_view>

namespace caisson::pmem {
namespace {

constexpr Geometry kGeometry{65536, 4096, 8192};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string superblock_of(const ShadowRegion& region) {
  const auto read = region.read_superblock();
  if (!read) return std::string(name(read.error().code));
  return {reinterpret_cast<const char*>(read->data()), read->size()};
}

uint64_t word_at(const ShadowRegion& region, uint64_t at) {
  uint64_t word;
  std::memcpy(&word, region.ring_data() + at, sizeof word);
  return word;
}

void store_word(ShadowRegion& region, uint64_t at, uint64_t word) {
  region.store_ring(Offset{at}, &word, sizeof word);
}

TEST(ShadowRegion, RingIsMappedTwice) {
  ShadowRegion region(kGeometry);
  const std::string text(200, 'x');
  region.store_ring(Offset{3 * kGeometry.ring_bytes - 100}, text.data(), text.size());
  EXPECT_EQ(std::memcmp(region.ring_data() + kGeometry.ring_bytes - 100, text.data(), 200), 0);
  EXPECT_EQ(std::memcmp(region.ring_data(), text.data(), 100), 0);
}

TEST(ShadowRegion, PersistedBytesSurviveEveryCut) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ShadowRegion region(kGeometry);
    store_word(region, 640, 7);
    region.persist_ring(Offset{640}, 8);
    region.power_cut(seed);
    EXPECT_EQ(word_at(region, 640), 7u);
  }
}

TEST(ShadowRegion, UnpersistedBytesAreSometimesLostAndSometimesKept) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ShadowRegion region(kGeometry);
    store_word(region, 640, 7);
    region.power_cut(seed);
    seen.insert(word_at(region, 640));
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 7}));
}

TEST(ShadowRegion, LinesTearAtEightBytesNeverWithin) {
  bool torn = false;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    ShadowRegion region(kGeometry);
    uint64_t line[8];
    std::fill(std::begin(line), std::end(line), ~uint64_t{0});
    region.store_ring(Offset{128}, line, sizeof line);
    region.power_cut(seed);
    std::set<uint64_t> words;
    for (uint64_t i = 0; i < 8; ++i) words.insert(word_at(region, 128 + i * 8));
    for (const uint64_t word : words) ASSERT_TRUE(word == 0 || word == ~uint64_t{0});
    torn = torn || words.size() == 2;
  }
  EXPECT_TRUE(torn);
}

TEST(ShadowRegion, AnEarlierContentOfALineMayBeWhatSurvives) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    ShadowRegion region(kGeometry);
    for (const uint64_t word : {1ul, 2ul, 3ul}) store_word(region, 0, word);
    region.power_cut(seed);
    seen.insert(word_at(region, 0));
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1, 2, 3}));
}

TEST(ShadowRegion, RemoteStoresAreVisibleButNotPersistent) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ShadowRegion region(kGeometry);
    const uint64_t word = 9;
    region.remote_store(Offset{64}, &word, sizeof word);
    EXPECT_EQ(word_at(region, 64), 9u);
    EXPECT_EQ(region.points(), 0u) << "not this replica's doing";
    region.power_cut(seed);
    lost = lost || word_at(region, 64) == 0;
  }
  EXPECT_TRUE(lost);
}

TEST(ShadowRegion, DirectStoresAreUnpersistedToo) {
  ShadowRegion region(kGeometry);
  const uint64_t before = word_at(region, 64);
  const uint64_t word = 5;
  std::memcpy(region.ring_data() + 64, &word, sizeof word);
  region.note_direct_store(Offset{64}, &before, sizeof before);
  EXPECT_EQ(word_at(region, 64), 5u);
  EXPECT_EQ(region.unpersisted_lines(), 1u);
}

TEST(ShadowRegion, SuperblockIsOldOrNewAtEveryPointOfItsWriting) {
  for (const auto slots : {Region::Slots::one, Region::Slots::both}) {
    uint64_t points = 0;
    {
      ShadowRegion region(kGeometry);
      ASSERT_EQ(region.write_superblock(bytes_of("old"), Region::Slots::both), Code::ok);
      points = region.points();
      ASSERT_EQ(region.write_superblock(bytes_of("new"), slots), Code::ok);
      points = region.points() - points;
    }
    ASSERT_GE(points, 7u);
    std::set<std::string> seen;
    for (uint64_t at = 0; at <= points; ++at) {
      for (uint64_t seed = 0; seed < 40; ++seed) {
        ShadowRegion region(kGeometry);
        ASSERT_EQ(region.write_superblock(bytes_of("old"), Region::Slots::both), Code::ok);
        region.arm_cut(region.points() + at, seed);
        ASSERT_EQ(region.write_superblock(bytes_of("new"), slots), Code::ok);
        EXPECT_EQ(region.cut_passed(), at < points);
        region.power_cut();
        const std::string found = superblock_of(region);
        ASSERT_TRUE(found == "old" || found == "new") << found << " at " << at << " seed " << seed;
        if (at == points) {
          ASSERT_EQ(found, "new");
        }
        seen.insert(found);
      }
    }
    EXPECT_EQ(seen.size(), 2u);
  }
}

TEST(ShadowRegion, NothingAfterAnArmedCutReachesTheMedia) {
  ShadowRegion region(kGeometry);
  store_word(region, 0, 1);
  region.persist_ring(Offset{0}, 8);
  region.arm_cut(region.points(), 3);
  store_word(region, 0, 2);
  region.persist_ring(Offset{0}, 8);
  EXPECT_EQ(word_at(region, 0), 2u) << "the code runs on undisturbed";
  region.power_cut();
  EXPECT_EQ(word_at(region, 0), 1u);
}

TEST(ShadowRegion, HookSeesEveryPointBeforeItTakesEffect) {
  ShadowRegion region(kGeometry);
  std::string kinds;
  region.set_hook([&](const ShadowRegion::Point& point) {
    EXPECT_EQ(point.number, kinds.size());
    if (kinds.empty()) {
      EXPECT_EQ(word_at(region, 0), 0u);
    }
    kinds += "sfF"[static_cast<int>(point.kind)];
  });
  store_word(region, 0, 1);
  region.persist_ring(Offset{0}, 8);
  EXPECT_EQ(kinds, "sfF");
}

TEST(ShadowRegion, SalvageFollowsTheSameRules) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ShadowRegion region(kGeometry);
    region.store_salvage(0, "kept", 4);
    region.persist_salvage(0, 4);
    region.store_salvage(4096, "open", 4);
    region.power_cut(seed);
    EXPECT_EQ(std::memcmp(region.salvage().data(), "kept", 4), 0);
    lost = lost || std::memcmp(region.salvage().data() + 4096, "open", 4) != 0;
  }
  EXPECT_TRUE(lost);
}

TEST(ShadowRegion, DamageAndAmnesia) {
  ShadowRegion region(kGeometry);
  ASSERT_EQ(region.write_superblock(bytes_of("first"), Region::Slots::both), Code::ok);
  ASSERT_EQ(region.write_superblock(bytes_of("second"), Region::Slots::one), Code::ok);
  region.erase_newest_superblock();
  EXPECT_EQ(superblock_of(region), "first");
  region.flip_superblock_bit(0, 65, 3);
  region.flip_superblock_bit(1, 65, 3);
  EXPECT_EQ(superblock_of(region), "amnesia");
  store_word(region, 64, 0);
  region.persist_ring(Offset{64}, 8);
  region.flip_ring_bit(Offset{kGeometry.ring_bytes + 64}, 2);
  EXPECT_EQ(word_at(region, 64), 4u);
  region.power_cut(1);
  EXPECT_EQ(word_at(region, 64), 4u) << "rot is on the media";
  region.wipe();
  EXPECT_EQ(word_at(region, 64), 0u);
  EXPECT_EQ(superblock_of(region), "amnesia");
  EXPECT_EQ(superblock_of(ShadowRegion(kGeometry, Persistence::adr, false)), "amnesia");
}

// Any mix of stores and persists, then a cut: every word is one of the values stored to it since
// its line was last persisted, or the value it had then.
RC_GTEST_PROP(ShadowRegion, ACutLeavesOnlyWhatWasThere,
              (const std::vector<std::pair<uint8_t, bool>>& steps, uint64_t seed)) {
  constexpr uint64_t kWords = 32;
  ShadowRegion region(kGeometry);
  std::vector<std::set<uint64_t>> possible(kWords, std::set<uint64_t>{0});
  uint64_t value = 0;
  for (const auto& [where, persist] : steps) {
    const uint64_t word = where % kWords;
    if (!persist) {
      store_word(region, word * 8, ++value);
      possible[word].insert(value);
      continue;
    }
    region.persist_ring(Offset{word * 8}, 8);
    for (uint64_t i = word / 8 * 8; i < word / 8 * 8 + 8; ++i) {
      possible[i] = {word_at(region, i * 8)};
    }
    if (seed % 3 == 0) region.evict_some(seed + value);
  }
  region.power_cut(seed);
  for (uint64_t i = 0; i < kWords; ++i) RC_ASSERT(possible[i].count(word_at(region, i * 8)) == 1);
  RC_ASSERT(region.unpersisted_lines() == 0u);
}

RC_GTEST_PROP(ShadowRegion, TheSameSeedLeavesTheSameMedia,
              (const std::vector<uint8_t>& stores, uint64_t seed)) {
  ShadowRegion first(kGeometry);
  ShadowRegion second(kGeometry);
  for (ShadowRegion* region : {&first, &second}) {
    for (size_t i = 0; i < stores.size(); ++i) store_word(*region, stores[i] * 24ul, i + 1);
    region->power_cut(seed);
  }
  RC_ASSERT(std::memcmp(first.ring_data(), second.ring_data(), kGeometry.ring_bytes) == 0);
}

}  // namespace
}  // namespace caisson::pmem
