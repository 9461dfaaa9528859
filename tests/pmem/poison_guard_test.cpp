// SPDX-License-Identifier: BSD-3-Clause
// R44: pages that cannot be had any more. A file that is cut short under its mapping raises the
// same signal as a media error.
#include "pmem/poison_guard.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "pmem/peer_mapping.hpp"
#include "tests/pmem/scratch.hpp"

namespace caisson::pmem {
namespace {

using testing::exit_status;
using ::testing::HasSubstr;
using testing::ScratchDirectory;
using testing::small_region;
using testing::spawn;

constexpr auto kEmulated = PersistenceChoice::emulated;
constexpr uint64_t kRing = 1 << 20;

uint64_t ring_at(const FileRegion& region) { return RegionLayout(region.geometry()).slots_at; }

class PoisonGuard : public ::testing::Test {
 protected:
  void SetUp() override {
    auto region = FileRegion::create(path_, small_region(kRing));
    ASSERT_TRUE(region) << region.error().message;
    region_ = std::move(*region);
  }
  void cut_at(uint64_t bytes) {
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(bytes)), 0);
  }

  ScratchDirectory directory_;
  const std::string path_ = directory_ / "log";
  std::unique_ptr<FileRegion> region_;
};

TEST_F(PoisonGuard, ARegionWhoseFileIsDeletedIsAsGoodAsPoisoned) {
  const uint32_t segment = 0;
  ASSERT_EQ(region_->rehome(std::span(&segment, 1), {}), Code::ok);
  region_->look_at_name();
  EXPECT_FALSE(region_->deleted()) << "segments move within the file";
  ASSERT_EQ(::rename(path_.c_str(), (path_ + ".elsewhere").c_str()), 0);
  region_->look_at_name();
  EXPECT_FALSE(region_->deleted()) << "it can be brought back";
  EXPECT_FALSE(region_->poisoned());
  ASSERT_EQ(::unlink((path_ + ".elsewhere").c_str()), 0);
  EXPECT_FALSE(region_->poisoned()) << "nobody has looked";
  region_->look_at_name();
  EXPECT_TRUE(region_->deleted());
  EXPECT_TRUE(region_->poisoned());
  const uint64_t pages = region_->poison().pages;
  region_->look_at_name();
  EXPECT_EQ(region_->poison().pages, pages) << "once is enough";
}

TEST_F(PoisonGuard, TheProcessGoesOnAndTheRegionSaysWhichPageIsGone) {
  region_->store_ring(Offset{0}, "kept", 4);
  region_->store_ring(Offset{kRing - 4096}, "gone", 4);
  cut_at(ring_at(*region_) + kRing - 8192);
  EXPECT_FALSE(region_->poisoned()) << "nobody has met it";
  EXPECT_EQ(std::memcmp(region_->ring_data(), "kept", 4), 0);
  EXPECT_FALSE(region_->poisoned());
  EXPECT_EQ(region_->ring_data()[kRing - 4096], std::byte{0}) << "zeros stand in for it";
  EXPECT_TRUE(region_->poisoned());
  EXPECT_EQ(region_->poison().pages, 1u);
  EXPECT_EQ(region_->poison().at, ring_at(*region_) + kRing - 4096);
  // Its other mapping, and a store.
  EXPECT_EQ(region_->ring_data()[2 * kRing - 4096], std::byte{0});
  region_->store_ring(Offset{kRing - 8192}, "lost", 4);
  EXPECT_EQ(region_->poison().pages, 3u);
  EXPECT_EQ(region_->poison().at, ring_at(*region_) + kRing - 4096) << "the first one";
  EXPECT_EQ(std::memcmp(region_->ring_data(), "kept", 4), 0);
}

TEST_F(PoisonGuard, EveryPartOfARegionIsGuarded) {
  RingMapping lent;
  ASSERT_EQ(region_->map_again(lent), Code::ok);
  cut_at(0);
  EXPECT_FALSE(region_->read_superblock());
  EXPECT_TRUE(region_->poisoned());
  EXPECT_EQ(region_->poison().at, 0u);
  EXPECT_EQ(region_->salvage()[0], std::byte{0});
  EXPECT_EQ(region_->control()[0], std::byte{0});
  lent.data()[0] = std::byte{1};
  constexpr std::array<uint32_t, 2> kSegments{0, 3};
  (void)region_->rehome(kSegments, {});
  EXPECT_GE(region_->poison().pages, 5u);
}

TEST_F(PoisonGuard, APeersMappingHasAMarkOfItsOwn) {
  const auto peer = PeerMapping::open(path_, Persistence::emulated);
  ASSERT_TRUE(peer) << peer.error().message;
  cut_at(ring_at(*region_));
  (*peer)->ring_data()[4096] = std::byte{7};
  EXPECT_TRUE((*peer)->poisoned());
  EXPECT_FALSE(region_->poisoned()) << "its owner has not met it";
}

TEST_F(PoisonGuard, AFileThatWasCutIsNotGrownAgainOverWhatIsGone) {
  cut_at(ring_at(*region_) + kRing / 2);
  // Wants more spare slots than there are.
  constexpr std::array<uint32_t, 8> kSegments{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(region_->rehome(kSegments, {}), Code::damaged);
  EXPECT_TRUE(region_->poisoned());
}

TEST_F(PoisonGuard, WhatWasCutIsRefusedAtOpenNamingTheCure) {
  cut_at(ring_at(*region_) + kRing / 2);
  region_.reset();
  const auto region = FileRegion::open(path_, kEmulated);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::damaged);
  EXPECT_THAT(region.error().message, HasSubstr("caisson member replace"));
  EXPECT_THAT(region.error().message, HasSubstr(path_));
}

TEST_F(PoisonGuard, ThreadsMayMeetThePageTogether) {
  cut_at(ring_at(*region_));
  std::vector<std::thread> threads;
  std::atomic<uint64_t> sum{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (uint64_t at = 0; at < kRing; at += 4096) {
        sum += static_cast<uint64_t>(region_->ring_data()[at]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 0u);
  EXPECT_GE(region_->poison().pages, kRing / 4096);
}

TEST(PoisonGuardLargePages, OnePageOfALargeOneIsReplacedAndTheRestIsKept) {
  constexpr uint64_t kLargeRing = uint64_t{16} << 20;
  ScratchDirectory directory;
  const std::string path = directory / "log";
  const auto region = FileRegion::create(path, small_region(kLargeRing));
  ASSERT_TRUE(region) << region.error().message;
  (*region)->store_ring(Offset{0}, "kept", 4);
  const uint64_t kept_bytes = (uint64_t{7} << 20) + 4096;  // within a large page, if there is one
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(ring_at(**region) + kept_bytes)), 0);
  (*region)->store_ring(Offset{kept_bytes - 64}, "also", 4);
  EXPECT_FALSE((*region)->poisoned());
  (*region)->store_ring(Offset{kept_bytes}, "lost", 4);
  EXPECT_EQ((*region)->poison().pages, 1u);
  EXPECT_EQ((*region)->poison().at, ring_at(**region) + kept_bytes);
  EXPECT_EQ(std::memcmp((*region)->ring_data(), "kept", 4), 0);
  EXPECT_EQ(std::memcmp((*region)->ring_data() + kept_bytes - 64, "also", 4), 0);
}

// A page behind the end of a file that nobody guards.
std::byte* unguarded(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
  void* const at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return static_cast<std::byte*>(at);
}

TEST_F(PoisonGuard, AFaultElsewhereStillEndsTheProcess) {
  const pid_t child = spawn([&] {
    *const_cast<volatile std::byte*>(unguarded(directory_ / "other")) = std::byte{1};
    return 0;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(PoisonGuardHandler, AFaultElsewhereGoesToWhoHandledItBefore) {
  ScratchDirectory directory;
  const pid_t child = spawn([&] {
    struct sigaction action {};
    action.sa_handler = [](int) { ::_exit(7); };
    ::sigaction(SIGBUS, &action, nullptr);
    // In a process that has guarded nothing so far, the handler above is the one before.
    GuardedRange range;
    PoisonMark mark;
    std::byte* const ours = unguarded(directory / "ours");
    if (range.guard(ours, 4096, mark) != Code::ok) return 1;
    *const_cast<volatile std::byte*>(ours) = std::byte{1};
    if (!mark.found() || mark.first() != ours) return 2;
    std::byte* const other = unguarded(directory / "other");
    *const_cast<volatile std::byte*>(other) = std::byte{1};
    return 3;
  });
  EXPECT_EQ(exit_status(child), 7);
}

TEST(PoisonGuardHandler, ARangeThatIsReleasedIsGuardedNoMore) {
  ScratchDirectory directory;
  PoisonMark mark;
  GuardedRange range;
  std::byte* const at = unguarded(directory / "file");
  ASSERT_EQ(range.guard(at, 4096, mark), Code::ok);
  range.release();
  const pid_t child = spawn([&] {
    *const_cast<volatile std::byte*>(at) = std::byte{1};
    return 0;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_FALSE(mark.found());
}

}  // namespace
}  // namespace caisson::pmem
