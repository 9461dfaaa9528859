// SPDX-License-Identifier: BSD-3-Clause
// Regions on a devdax device, which holds whatever it held. Needs one that may be overwritten:
// CAISSON_TEST_DEVICE names it (scripts/guest/run --nvdimms 1 has /dev/dax0.0).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "pmem/file_region.hpp"
#include "pmem/region_format.hpp"
#include "tests/pmem/scratch.hpp"

namespace caisson::pmem {
namespace {

constexpr uint64_t kRingBytes = 16 << 20;
constexpr auto kMayGo = [](std::span<const std::byte>) { return true; };
constexpr auto kMayNot = [](std::span<const std::byte>) { return false; };

class DeviceRegion : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const named = std::getenv("CAISSON_TEST_DEVICE");
    if (named == nullptr) {
      GTEST_SKIP() << "needs a devdax device that may be overwritten: CAISSON_TEST_DEVICE";
    }
    device = named;
    fill(std::byte{0x5a});
  }
  // All of it, as far as it matters here.
  void fill(std::byte with) {
    const int fd = ::open(device.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    void* const at = ::mmap(nullptr, kFilled, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    ASSERT_NE(at, MAP_FAILED);
    std::memset(at, static_cast<int>(with), kFilled);
    ::munmap(at, kFilled);
  }
  Result<std::unique_ptr<FileRegion>> create(std::span<const std::byte> superblock = {}) {
    CreateOptions options;
    options.geometry = {kRingBytes, kDeviceAlignBytes, 4 << 20};
    options.persistence = PersistenceChoice::real;
    options.spare_slots = 0;
    options.superblock = superblock;
    return FileRegion::create(device, options);
  }

  static constexpr size_t kFilled = 64 << 20;
  std::string device;
};

TEST_F(DeviceRegion, NothingOfWhatWasThereIsInIt) {
  ASSERT_TRUE(FileRegion::expect_blank(device));
  const auto region = create();
  ASSERT_TRUE(region) << region.error().message;
  const std::byte* const ring = (*region)->ring_data();
  EXPECT_TRUE(std::all_of(ring, ring + kRingBytes, [](std::byte b) { return b == std::byte{0}; }));
  const auto salvage = (*region)->salvage();
  EXPECT_TRUE(
      std::all_of(salvage.begin(), salvage.end(), [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE((*region)->persistence() == Persistence::adr ||
              (*region)->persistence() == Persistence::eadr);
}

TEST_F(DeviceRegion, IsNeverOverwrittenAndErasedOnlyWhereItMayBe) {
  const std::byte payload[] = {std::byte{7}};
  {
    const auto region = create(payload);
    ASSERT_TRUE(region) << region.error().message;
    const auto busy = FileRegion::erase(device, kMayGo);
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().code, Code::busy) << "its owner lives";
  }
  EXPECT_EQ(FileRegion::expect_blank(device).error().code, Code::exists);
  EXPECT_EQ(create().error().code, Code::exists);
  EXPECT_EQ(FileRegion::erase(device, kMayNot).error().code, Code::exists);
  EXPECT_TRUE(FileRegion::open(device, PersistenceChoice::real)) << "it is as it was";
  bool asked = false;
  EXPECT_TRUE(FileRegion::erase(device, [&](std::span<const std::byte> superblock) {
    asked = superblock.size() == 1 && superblock[0] == std::byte{7};
    return true;
  }));
  EXPECT_TRUE(asked);
  EXPECT_TRUE(FileRegion::expect_blank(device));
  EXPECT_EQ(FileRegion::open(device, PersistenceChoice::real).error().code, Code::amnesia);
}

TEST(DeviceRegions, WhatIsNoDeviceIsRefused) {
  EXPECT_EQ(FileRegion::expect_blank("/dev/dax99.9").error().code, Code::not_found);
  EXPECT_EQ(FileRegion::expect_blank("/dev/null").error().code, Code::invalid);
  const testing::ScratchDirectory directory;
  const std::string file = directory / "file";
  ::close(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(FileRegion::erase(file, kMayGo).error().code, Code::invalid);
}

}  // namespace
}  // namespace caisson::pmem
