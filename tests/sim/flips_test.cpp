// SPDX-License-Identifier: BSD-3-Clause
// S17, without chance: every bit of an entry of 4 KiB, every two bits of its header, and every bit
// of both superblocks, one after the other. The real recovery shows nothing that was never written,
// and gives up its vote where it lacks what it once had; a peer repairs it.
#include <gtest/gtest.h>

#include <iostream>

#include "core/log/superblock_format.hpp"
#include "tests/sim/script.hpp"
#include "tests/sim/workbench.hpp"

namespace caisson::simtest {
namespace {

// A sanitizer looks for other things.
constexpr size_t kStep = kSanitized ? 61 : 1;

constexpr size_t kPayloadBytes = 4096 - log::kHeaderBytes;
constexpr size_t kHeaderBits = log::kHeaderBytes * 8;
constexpr size_t kEntryBits = (log::kHeaderBytes + kPayloadBytes) * 8;

WorldOptions flip_world(uint64_t cursor_idle_ns) {
  WorldOptions o = quiet_world(1);
  o.ring_bytes = 128 * 1024;
  o.salvage_bytes = 16 * 1024;
  o.entry_bytes_max = kPayloadBytes;
  o.trims = false;
  o.cursor_persist_idle_ns = cursor_idle_ns;
  return o;
}

// A log whose middle entry is the victim, everywhere, and one replica of it on the bench.
class Scene {
 public:
  explicit Scene(uint64_t cursor_idle_ns) : world_(flip_world(cursor_idle_ns)), script_(world_) {
    const uint8_t leader = script_.await_leader();
    replica_ = script_.others(leader)[0];
    for (int i = 0; i < 3; ++i) built_ = built_ && script_.append_acknowledged(leader);
    at_ = script_.tail(leader);
    victim_ = script_.tail_position(leader) + 1;
    built_ = built_ && script_.append_acknowledged(leader, kPayloadBytes);
    for (int i = 0; i < 3; ++i) built_ = built_ && script_.append_acknowledged(leader);
    world_.run_for(2 * kMs);
    const Machine& m = world_.machine(replica_);
    bench_ = std::make_unique<Workbench>(world_, m);
    base_.assign(m.region->media().begin(), m.region->media().end());
    bench_->region().load(base_);
    whole_ = bench_->open();
    built_ = built_ && whole_.refused == Code::ok && whole_.tail.position >= victim_ + 3;
  }

  bool built() const { return built_; }
  Position victim() const { return victim_; }
  Offset at() const { return at_; }
  World& world() { return world_; }
  uint8_t replica() const { return replica_; }
  const Workbench::Found& whole() const { return whole_; }

  // Spoils a copy of the memory, and recovers it.
  template <typename Spoil>
  Workbench::Found after(Spoil spoil) {
    bench_->region().reload(base_);
    spoil(bench_->region());
    return bench_->open();
  }
  Workbench::Found after_flips(size_t one, size_t two) {
    return after([&](pmem::ShadowRegion& region) {
      flip(region, one);
      if (two != one) flip(region, two);
    });
  }
  void flip(pmem::ShadowRegion& region, size_t bit) const {
    region.flip_ring_bit(at_ + bit / 8, static_cast<unsigned>(bit % 8));
  }

  // It ends before the victim, and knows that it should not.
  bool detected(const Workbench::Found& found) const {
    return found.refused == Code::ok && found.tail.position + 1 == victim_ &&
           found.status.role == replication::Role::damaged &&
           found.status.promised == whole_.status.promised;
  }

 private:
  World world_;
  Script script_;
  uint8_t replica_ = 0;
  bool built_ = true;
  Offset at_;
  Position victim_;
  std::unique_ptr<Workbench> bench_;
  std::vector<std::byte> base_;
  Workbench::Found whole_;
};

void every_bit_is_missed(Scene& scene) {
  ASSERT_TRUE(scene.built());
  size_t tried = 0;
  for (size_t bit = 0; bit < kEntryBits; bit += kStep, ++tried) {
    ASSERT_TRUE(scene.detected(scene.after_flips(bit, bit))) << "bit " << bit;
  }
  std::cout << tried << " single bits" << std::endl;
  EXPECT_GE(tried, kEntryBits / kStep);
}

// Its cursor says that it was good through the end once.
TEST(Flips, OfEveryBitOfAnEntry) {
  Scene scene(kMs / 2);
  every_bit_is_missed(scene);
}

// No cursor does: entries behind it say that it was committed.
TEST(Flips, OfEveryBitOfAnEntryThatNoCursorCovers) {
  Scene scene(1'000 * kMs);
  every_bit_is_missed(scene);
}

TEST(Flips, OfEveryTwoBitsOfAHeader) {
  Scene scene(kMs / 2);
  ASSERT_TRUE(scene.built());
  size_t tried = 0;
  for (size_t one = 0; one < kHeaderBits; ++one) {
    for (size_t two = one + 1; two < kHeaderBits; two += kStep, ++tried) {
      ASSERT_TRUE(scene.detected(scene.after_flips(one, two))) << "bits " << one << ", " << two;
    }
  }
  std::cout << tried << " pairs of bits" << std::endl;
  EXPECT_GE(tried, kHeaderBits * (kHeaderBits - 1) / 2 / kStep);
}

// Of one slot: the other one goes on; what it knows less is found anew. Of both: refused.
TEST(Flips, OfEveryBitOfBothSuperblocks) {
  Scene scene(kMs / 2);
  ASSERT_TRUE(scene.built());
  const Workbench::Found& whole = scene.whole();
  constexpr size_t kSlotBits = (sizeof(pmem::SlotHeader) + log::kSuperblockBytes) * 8;
  size_t tried = 0;
  for (size_t bit = 0; bit < kSlotBits; bit += kStep) {
    const auto flip = [&](pmem::ShadowRegion& region, unsigned slot) {
      region.flip_superblock_bit(slot, bit / 8, static_cast<unsigned>(bit % 8));
    };
    for (const unsigned slot : {0u, 1u}) {
      const Workbench::Found found = scene.after([&](auto& region) { flip(region, slot); });
      ++tried;
      ASSERT_EQ(found.refused, Code::ok) << "slot " << slot << ", bit " << bit;
      ASSERT_EQ(found.status.promised, whole.status.promised) << "slot " << slot << ", bit " << bit;
      ASSERT_EQ(found.tail, whole.tail) << "slot " << slot << ", bit " << bit;
      ASSERT_EQ(found.status.role, whole.status.role) << "slot " << slot << ", bit " << bit;
    }
    const Workbench::Found neither = scene.after([&](auto& region) {
      flip(region, 0);
      flip(region, 1);
    });
    ASSERT_TRUE(neither.refused == Code::damaged || neither.refused == Code::amnesia)
        << "bit " << bit << ": " << name(neither.refused);
  }
  std::cout << tried << " single bits" << std::endl;
}

// While all is up: found, and copied anew from a peer, before anybody else is told.
TEST(Flips, ARunningReplicaIsRepaired) {
  Scene scene(kMs / 2);
  ASSERT_TRUE(scene.built());
  Machine& m = scene.world().machine(scene.replica());
  uint64_t repaired = 0;
  for (size_t bit = 0; bit < kEntryBits; bit += bit < kHeaderBits ? 1 : 509) {
    // Whoever reads it meanwhile is told so.
    scene.world().record({.what = What::damage, .replica = scene.replica()});
    scene.flip(*m.region, bit);
    ++repaired;
    const bool done = scene.world().run_until(
        [&] { return m.replica->status().scrub.repaired >= repaired; }, 100 * kMs);
    ASSERT_TRUE(done) << "bit " << bit;
    EXPECT_EQ(m.replica->status().scrub.rotten, Position{}) << "bit " << bit;
  }
  expect_sound(conclude(scene.world()), 1);
}

}  // namespace
}  // namespace caisson::simtest
