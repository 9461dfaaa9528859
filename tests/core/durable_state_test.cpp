// SPDX-License-Identifier: BSD-3-Clause
// What a superblock says of its ring is true of what is persistent, whatever order its marks move
// in.
#include "core/replication/durable_state.hpp"

#include <gtest/gtest.h>

#include "core/replication/replica.hpp"
#include "pmem/shadow_region.hpp"

namespace caisson::replication {
namespace {

constexpr uint64_t kRingBytes = 64 * 1024;
constexpr ReplicaSet kThree{0b1110};

log::Cursor at(uint64_t position, uint64_t end) {
  log::Cursor cursor;
  cursor.position = Position{position};
  cursor.end = Offset{end};
  return cursor;
}

// One replica's superblock, as it is created.
class Created {
 public:
  Created() : durable_(made(region), superblock_of(region)) {}
  pmem::ShadowRegion region{{kRingBytes, 4096, 8192}};
  DurableState& operator*() { return durable_; }
  DurableState* operator->() { return &durable_; }

 private:
  static pmem::Region& made(pmem::Region& region) {
    EXPECT_EQ(create_replica(region, {}, ReplicaId{1}, kThree), Code::ok);
    return region;
  }
  static log::Superblock superblock_of(const pmem::Region& region) {
    const auto bytes = region.read_superblock();
    EXPECT_TRUE(bytes);
    return log::decode_superblock(*bytes).value_or(log::Superblock{});
  }
  DurableState durable_;
};

// A leader counts only what is committed as progress, and may hold more that was good once.
TEST(DurableState, OnlyWhatIsCutOffLowersTheCursor) {
  Created state;
  const log::Cursor tail = at(100, 12'800), committed = at(60, 7'680), kept = at(80, 10'240);
  ASSERT_EQ(state->save_progress({tail, committed.position, {}}), Code::ok);
  ASSERT_EQ(state->save_progress({committed, committed.position, committed.position}), Code::ok);
  EXPECT_EQ(state->superblock().validated, tail);
  EXPECT_EQ(state->superblock().applied, committed.position);
  ASSERT_EQ(state->save_divergence(kept, 0), Code::ok);
  EXPECT_EQ(state->superblock().validated, kept);
}

// The cursor may have been held back while the log was trimmed, and come more than a ring later:
// only what is still held can be persisted, and all of it is.
TEST(DurableState, ATrimMayOvertakeTheCursor) {
  Created state;
  const log::ViewRun view{Position{1}, state->superblock().membership};
  const log::Cursor held_back = state->superblock().validated;
  const log::Cursor trim = at(300, 40'000 / 64 * 64);
  ASSERT_EQ(state->save_trim(trim, view, {held_back, held_back.position, held_back.position}),
            Code::ok);
  const log::Cursor tail = at(900, trim.end.value + kRingBytes);
  const std::vector<std::byte> entries(kRingBytes, std::byte{0x5a});
  state.region.store_ring(trim.end, entries.data(), entries.size());
  ASSERT_EQ(state->save_progress({tail, tail.position, tail.position}), Code::ok);
  state.region.power_cut();
  EXPECT_EQ(state.region.ring_bytes_at(trim.end, kRingBytes), entries);
  EXPECT_EQ(state->superblock().validated.position, tail.position);
}

}  // namespace
}  // namespace caisson::replication
