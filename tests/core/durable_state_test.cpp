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

// The cursor may have been held back while the log was trimmed, and come more than a ring later:
// only what is still held can be persisted, and all of it is.
TEST(DurableState, ATrimMayOvertakeTheCursor) {
  pmem::ShadowRegion region({kRingBytes, 4096, 8192});
  ASSERT_EQ(create_replica(region, {}, ReplicaId{1}, kThree), Code::ok);
  const auto bytes = region.read_superblock();
  ASSERT_TRUE(bytes);
  DurableState durable(region, *log::decode_superblock(*bytes));
  const log::ViewRun view{Position{1}, durable.superblock().membership};
  const log::Cursor held_back = durable.superblock().validated;
  const log::Cursor trim = at(300, 40'000 / 64 * 64);
  ASSERT_EQ(durable.save_trim(trim, view, {held_back, held_back.position, held_back.position}),
            Code::ok);
  const log::Cursor tail = at(900, trim.end.value + kRingBytes);
  const std::vector<std::byte> entries(kRingBytes, std::byte{0x5a});
  region.store_ring(trim.end, entries.data(), entries.size());
  ASSERT_EQ(durable.save_progress({tail, tail.position, tail.position}), Code::ok);
  region.power_cut();
  EXPECT_EQ(region.ring_bytes_at(trim.end, kRingBytes), entries);
  EXPECT_EQ(durable.superblock().validated.position, tail.position);
}

}  // namespace
}  // namespace caisson::replication
