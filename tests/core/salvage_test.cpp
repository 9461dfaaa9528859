// SPDX-License-Identifier: BSD-3-Clause
// The salvage area: what is kept is kept whole or not at all, what is discarded never comes back,
// wherever the power is lost (P15, R15).
#include "core/replication/salvage.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

#include "core/replication/orphans.hpp"
#include "pmem/shadow_region.hpp"
#include "tests/core/log_fixture.hpp"

namespace caisson::replication {
namespace {

using log::Cursor;
using log::MirroredRing;
using pmem::ShadowRegion;

constexpr pmem::Geometry kGeometry{64 * 1024, 4096, 16 * 1024};
constexpr uint64_t kRoom = kGeometry.salvage_bytes - kDirectoryBytesSmall;
constexpr Term kSealer{777};

// A ring with a run of entries, and the cursors between them.
struct Suffix {
  MirroredRing ring{kGeometry.ring_bytes};
  std::vector<Cursor> cursors;

  explicit Suffix(size_t entries, uint64_t seed = 1, size_t payload_bytes = 100) {
    cursors.push_back(log::origin(log::test_identity()));
    for (uint64_t i = 1; i <= entries; ++i) {
      cursors.push_back(ring.append(cursors.back(),
                                    {.term = 1 + seed,
                                     .identity = {seed, 1, i},
                                     .payload = log::test_payload(seed * 100 + i, payload_bytes)}));
    }
  }
  Result<uint64_t> keep(SalvageArea& area, size_t from, size_t to) const {
    return area.keep(ring.ring(), cursors[from], cursors[to].end, kSealer);
  }
  std::string bytes(size_t from, size_t to) const {
    const uint64_t n = cursors[to].end - cursors[from].end;
    return log::as_string({ring.ring().at(cursors[from].end), n});
  }
};

std::vector<std::string> contents(const pmem::Region& region) {
  std::vector<std::string> all;
  for (const SalvageRecord& record : read_salvage(region.salvage())) {
    EXPECT_FALSE(record.damaged);
    all.push_back(log::as_string(record.bytes));
  }
  return all;
}

TEST(Salvage, WhatIsKeptIsListedUntilItIsDiscardedAndItsIdIsNeverUsedAgain) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(6);
  ASSERT_EQ(suffix.keep(area, 0, 2).value_or(0), suffix.bytes(0, 2).size());
  ASSERT_TRUE(suffix.keep(area, 2, 4));
  ASSERT_TRUE(suffix.keep(area, 4, 6));
  ASSERT_EQ(area.records().size(), 3u);
  EXPECT_EQ(area.find(2)->before(), suffix.cursors[2]);
  EXPECT_EQ(Term{area.find(2)->slot.sealed_by}, kSealer);
  EXPECT_EQ(area.discard(3), Code::ok);
  EXPECT_EQ(area.discard(3), Code::not_found);
  EXPECT_EQ(contents(region), (std::vector{suffix.bytes(0, 2), suffix.bytes(2, 4)}));
  ASSERT_EQ(area.discard(1), Code::ok);
  ASSERT_EQ(area.discard(2), Code::ok);
  const Suffix later(2, 2);
  ASSERT_TRUE(later.keep(area, 0, 2));
  EXPECT_EQ(area.records().front().slot.id, 4u);
  region.persist_all();
  EXPECT_EQ(SalvageArea(region).records().front().slot.id, 4u);
}

TEST(Salvage, WhatARecordHoldsIsNotKeptTwice) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(6);
  ASSERT_TRUE(suffix.keep(area, 2, 4));
  EXPECT_EQ(suffix.keep(area, 2, 4).value_or(1), 0u);
  EXPECT_EQ(suffix.keep(area, 3, 4).value_or(1), 0u);
  // Around it, only what is missing.
  ASSERT_TRUE(suffix.keep(area, 0, 6));
  EXPECT_EQ(contents(region),
            (std::vector{suffix.bytes(2, 4), suffix.bytes(0, 2), suffix.bytes(4, 6)}));
  EXPECT_EQ(area.find(3)->before(), suffix.cursors[4]);
  // Others that stood in the same place are others.
  const Suffix other(4, 9);
  ASSERT_TRUE(other.keep(area, 2, 4));
  EXPECT_EQ(contents(region).back(), other.bytes(2, 4));
}

TEST(Salvage, AFullAreaKeepsNothingAndTakesAgainWhatIsFreed) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(8, 1, 3008);  // four of them fill the area
  ASSERT_EQ(4 * suffix.bytes(0, 1).size(), kRoom);
  ASSERT_TRUE(suffix.keep(area, 0, 1));
  ASSERT_TRUE(suffix.keep(area, 1, 2));
  ASSERT_TRUE(suffix.keep(area, 2, 3));
  EXPECT_EQ(area.room_bytes(), suffix.bytes(0, 1).size());
  const auto refused = suffix.keep(area, 3, 5);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_TRUE(area.full());
  EXPECT_EQ(area.records().size(), 3u);
  ASSERT_EQ(area.discard(2), Code::ok);
  EXPECT_FALSE(area.full());
  ASSERT_TRUE(suffix.keep(area, 3, 4));
  ASSERT_TRUE(suffix.keep(area, 4, 5));
  EXPECT_EQ(area.room_bytes(), 0u);
  EXPECT_EQ(contents(region), (std::vector{suffix.bytes(0, 1), suffix.bytes(2, 3),
                                           suffix.bytes(3, 4), suffix.bytes(4, 5)}));
}

TEST(Salvage, TheDirectoryMayBeFullBeforeTheArea) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(80, 1, 0);
  size_t kept = 0;
  while (kept < 80 && suffix.keep(area, kept, kept + 1)) ++kept;
  EXPECT_EQ(kept, kDirectoryBytesSmall / sizeof(SalvageSlot) - 1);
  EXPECT_TRUE(area.full());
  EXPECT_EQ(area.discard(5), Code::ok);
  EXPECT_TRUE(suffix.keep(area, kept, kept + 1));
}

// Power is lost before each point of keeping; then it is done again, as the next seal would.
TEST(Salvage, KeepingIsWholeOrNotAtAllAtEveryPoint) {
  const Suffix old(4), suffix(7, 2);
  for (const bool reuses : {false, true}) {
    const auto prepare = [&](SalvageArea& area) {
      for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(old.keep(area, i, i + 1));
      if (reuses) {
        ASSERT_EQ(area.discard(2), Code::ok);
      }
    };
    uint64_t points = 0;
    {
      ShadowRegion region(kGeometry);
      SalvageArea area(region);
      prepare(area);
      const uint64_t before = region.points();
      ASSERT_TRUE(suffix.keep(area, 3, 7));
      points = region.points() - before;
    }
    ASSERT_GE(points, 9u);
    std::set<size_t> sizes;
    for (uint64_t at = 0; at <= points; ++at) {
      for (uint64_t seed = 0; seed < 30; ++seed) {
        ShadowRegion region(kGeometry);
        {
          SalvageArea area(region);
          prepare(area);
          region.arm_cut(region.points() + at, seed);
          ASSERT_TRUE(suffix.keep(area, 3, 7));
        }
        region.power_cut(seed);
        std::vector<std::string> wanted{old.bytes(0, 1), old.bytes(1, 2), old.bytes(2, 3)};
        if (reuses) wanted.erase(wanted.begin() + 1);
        const size_t without = wanted.size();
        std::vector<std::string> found = contents(region);
        sizes.insert(found.size() - without);
        wanted.push_back(suffix.bytes(3, 7));
        if (found.size() == without) found.push_back(wanted.back());
        ASSERT_EQ(found, wanted) << "point " << at << ", seed " << seed;
        SalvageArea again(region);
        ASSERT_TRUE(suffix.keep(again, 3, 7));
        ASSERT_EQ(contents(region), wanted);
        ASSERT_EQ(again.records().back().slot.id, 4u);
      }
    }
    EXPECT_EQ(sizes, (std::set<size_t>{0, 1}));
  }
}

TEST(Salvage, DiscardingIsDoneOrNotAtEveryPointAndNeverUndone) {
  const Suffix suffix(3);
  std::set<size_t> sizes;
  for (uint64_t at = 0; at <= 3; ++at) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      ShadowRegion region(kGeometry);
      {
        SalvageArea area(region);
        for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(suffix.keep(area, i, i + 1));
        region.arm_cut(region.points() + at, seed);
        ASSERT_EQ(area.discard(2), Code::ok);
        ASSERT_EQ(region.cut_passed(), at < 3) << "a store, a flush, a fence";
      }
      region.power_cut(seed);
      const auto found = contents(region);
      sizes.insert(found.size());
      ASSERT_EQ(found.front(), suffix.bytes(0, 1));
      ASSERT_EQ(found.back(), suffix.bytes(2, 3));
      ASSERT_TRUE(found.size() == 2 || (at < 3 && found.size() == 3)) << at << " seed " << seed;
      SalvageArea again(region);
      ASSERT_EQ(again.discard(2), found.size() == 3 ? Code::ok : Code::not_found);
      region.power_cut(seed);
      ASSERT_EQ(contents(region), (std::vector{suffix.bytes(0, 1), suffix.bytes(2, 3)}));
    }
  }
  EXPECT_EQ(sizes, (std::set<size_t>{2, 3}));
}

// Any order of keeping and discarding, with cuts of power between: the area holds what a map would.
RC_GTEST_PROP(Salvage, AgreesWithANaiveModel, (const std::vector<uint8_t>& steps, uint64_t seed)) {
  ShadowRegion region(kGeometry);
  auto area = std::make_unique<SalvageArea>(region);
  std::map<uint64_t, std::string> model;
  uint64_t last = 0, number = 0;
  for (const uint8_t step : steps) {
    if (step % 8 == 0) {
      region.power_cut(seed + number);
      area = std::make_unique<SalvageArea>(region);
    } else if (step % 8 < 4 && !model.empty()) {
      const auto victim = std::next(model.begin(), step / 8 % static_cast<long>(model.size()));
      RC_ASSERT(area->discard(victim->first) == Code::ok);
      model.erase(victim);
    } else {
      const Suffix suffix(1 + step / 64, ++number, size_t{step} * 20);
      const auto kept = suffix.keep(*area, 0, suffix.cursors.size() - 1);
      RC_ASSERT(kept.has_value() || kept.error().code == Code::no_space);
      if (kept) {
        const uint64_t id = area->records().back().slot.id;
        RC_ASSERT(id > last);
        last = id;
        model[id] = suffix.bytes(0, suffix.cursors.size() - 1);
      }
    }
    std::map<uint64_t, std::string> found;
    for (const SalvageRecord& record : area->records()) {
      found[record.slot.id] = log::as_string(record.bytes);
    }
    RC_ASSERT(found == model);
  }
}

TEST(Salvage, ArbitraryBytesNeverBreakItsReader) {
  EXPECT_TRUE(rc::check([] {
    std::vector<std::byte> bytes(8192);
    const Suffix suffix(3);
    ShadowRegion region({64 * 1024, 4096, bytes.size()});
    SalvageArea area(region);
    RC_ASSERT(suffix.keep(area, 0, 3).has_value());
    std::copy(region.salvage().begin(), region.salvage().end(), bytes.begin());
    const int changes = *rc::gen::inRange(1, 10);
    for (int i = 0; i < changes; ++i) {
      const size_t most = *rc::gen::element<size_t>(64, 640, bytes.size());
      bytes[*rc::gen::inRange<size_t>(0, most)] = std::byte{*rc::gen::arbitrary<uint8_t>()};
    }
    const log::LogState empty(log::test_identity(), suffix.ring.ring(), 16, 16);
    for (const SalvageRecord& record : read_salvage(bytes)) {
      const OrphanPage page = read_orphans(record, record.before(), {}, empty, Position{});
      RC_ASSERT(page.last);
      RC_ASSERT(page.damaged || page.entries.size() == 3);
      const Cursor hostile{Position{*rc::gen::arbitrary<uint64_t>()},
                           Offset{*rc::gen::arbitrary<uint64_t>()}, Term{},
                           *rc::gen::arbitrary<uint32_t>()};
      RC_ASSERT(read_orphans(record, hostile, {}, empty, Position{}).entries.size() <= 3);
    }
  }));
}

// ---- Its entries -------------------------------------------------------------------------------

TEST(Orphans, ArePagedAndCopied) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(9);
  ASSERT_TRUE(suffix.keep(area, 2, 9));
  const log::LogState empty(log::test_identity(), suffix.ring.ring(), 16, 16);
  const SalvageRecord& record = area.records().front();
  OrphanPageLimits limits;
  limits.entries_max = 3;
  limits.payloads = OrphanPayloads::copied;
  std::vector<OrphanEntry> all;
  OrphanPage page;
  page.next = record.before();
  for (int pages = 1; !page.last; ++pages) {
    ASSERT_LE(pages, 3);
    page = read_orphans(record, Cursor(page.next), limits, empty, Position{});
    EXPECT_FALSE(page.damaged);
    all.insert(all.end(), page.entries.begin(), page.entries.end());
  }
  ASSERT_EQ(all.size(), 7u);
  for (uint64_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].position.value, 3 + i);
    EXPECT_EQ(all[i].identity, (EntryIdentity{1, 1, 3 + i}));
    EXPECT_EQ(all[i].fate, OrphanFate::absent);
    EXPECT_EQ(log::as_string(all[i].payload), log::test_payload(103 + i, 100));
  }
}

TEST(Orphans, ARottenOneEndsItsRecordAndIsSaid) {
  ShadowRegion region(kGeometry);
  SalvageArea area(region);
  const Suffix suffix(4);
  ASSERT_TRUE(suffix.keep(area, 0, 4));
  region.flip_salvage_bit(area.records().front().slot.at + 2 * suffix.bytes(0, 1).size() + 70, 3);
  const log::LogState empty(log::test_identity(), suffix.ring.ring(), 16, 16);
  const SalvageRecord& record = area.records().front();
  const OrphanPage page = read_orphans(record, record.before(), {}, empty, Position{});
  EXPECT_TRUE(page.damaged);
  EXPECT_EQ(page.entries.size(), 2u);
  region.flip_salvage_bit(9, 1);
  ASSERT_EQ(read_salvage(region.salvage()).size(), 1u) << "a broken slot is no free one";
  EXPECT_TRUE(read_salvage(region.salvage()).front().damaged);
}

TEST(Orphans, AreResubmittedUnderOneStreamForTheirOrigin) {
  const LogIdentity identity = log::test_identity();
  const uint64_t client = resubmission_client(identity, Term{257}, Position{10});
  EXPECT_NE(client, 0u);
  EXPECT_EQ(client, resubmission_client(identity, Term{257}, Position{10}));
  EXPECT_NE(client, resubmission_client(identity, Term{258}, Position{10}));
  EXPECT_NE(client, resubmission_client(identity, Term{257}, Position{11}));
  EXPECT_NE(client, resubmission_client(log::test_identity(8), Term{257}, Position{10}));
  LogIdentity other = identity;
  other.cluster[15] ^= 1;
  EXPECT_NE(client, resubmission_client(other, Term{257}, Position{10}));
}

}  // namespace
}  // namespace caisson::replication
