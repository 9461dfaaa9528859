// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/file_region.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <string_view>
#include <thread>

#include "pmem/checksum.hpp"
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

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Overwrites bytes of a region file behind its owner's back.
void overwrite(const std::string& path, uint64_t at, const void* source, size_t n) {
  const int fd = ::open(path.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::pwrite(fd, source, n, static_cast<off_t>(at)), static_cast<ssize_t>(n));
  ::close(fd);
}

TEST(FileRegion, KeepsRingSuperblockAndSalvageOverReopening) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  const std::string superblock = "promised term 7";
  {
    auto options = small_region();
    options.superblock = bytes_of("created");
    auto region = FileRegion::create(path, options);
    ASSERT_TRUE(region) << region.error().message;
    EXPECT_EQ(text_of(*(*region)->read_superblock()), "created");
    (*region)->store_ring(Offset{128}, "ring", 4);
    (*region)->persist_ring(Offset{128}, 4);
    (*region)->store_salvage(64, "saved", 5);
    (*region)->persist_salvage(64, 5);
    ASSERT_EQ((*region)->write_superblock(bytes_of(superblock), Region::Slots::both), Code::ok);
  }
  auto region = FileRegion::open(path, kEmulated);
  ASSERT_TRUE(region) << region.error().message;
  EXPECT_EQ((*region)->geometry(), small_region().geometry);
  EXPECT_EQ((*region)->persistence(), Persistence::emulated);
  EXPECT_EQ(text_of(*(*region)->read_superblock()), superblock);
  EXPECT_EQ(std::memcmp((*region)->ring_data() + 128, "ring", 4), 0);
  EXPECT_EQ(std::memcmp((*region)->salvage().data() + 64, "saved", 5), 0);
}

TEST(FileRegion, RingIsMappedTwiceSoThatTheWrapIsContiguous) {
  ScratchDirectory directory;
  auto region = FileRegion::create(directory / "log", small_region());
  ASSERT_TRUE(region);
  const uint64_t ring = (*region)->geometry().ring_bytes;
  std::byte* data = (*region)->ring_data();
  std::vector<std::byte> written(256);
  for (size_t i = 0; i < written.size(); ++i) written[i] = static_cast<std::byte>(i);
  (*region)->store_ring(Offset{5 * ring - 128}, written.data(), written.size());
  (*region)->persist_ring(Offset{5 * ring - 128}, written.size());
  EXPECT_EQ(std::memcmp(data + ring - 128, written.data(), 256), 0);
  EXPECT_EQ(std::memcmp(data + ring - 128, written.data(), 128), 0);
  EXPECT_EQ(std::memcmp(data, written.data() + 128, 128), 0);
}

TEST(FileRegion, CreationNeverOverwrites) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  { ASSERT_TRUE(FileRegion::create(path, small_region())); }
  const auto again = FileRegion::create(path, small_region());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_THAT(again.error().message, HasSubstr(path));
  EXPECT_TRUE(FileRegion::open(path, kEmulated));
}

TEST(FileRegion, FailedCreationLeavesNothing) {
  ScratchDirectory directory;
  auto options = small_region();
  options.persistence = PersistenceChoice::real;
  ASSERT_FALSE(FileRegion::create(directory / "log", options));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(FileRegion, BadGeometryIsRefused) {
  ScratchDirectory directory;
  for (const Geometry bad : {Geometry{}, Geometry{1000000, 65536, 0}, Geometry{65536, 131072, 0},
                             Geometry{65536, 4096, 0}, Geometry{65536, 65536, 100}}) {
    CreateOptions options;
    options.geometry = bad;
    const auto region = FileRegion::create(directory / "log", options);
    ASSERT_FALSE(region);
    EXPECT_EQ(region.error().code, Code::invalid);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(FileRegion, RealPersistenceIsRefusedWhereItIsNotTrue) {
  ScratchDirectory directory;
  auto options = small_region();
  options.persistence = PersistenceChoice::real;
  const auto region = FileRegion::create(directory / "log", options);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::unsupported);
  EXPECT_THAT(region.error().message, HasSubstr("emulated"));
}

TEST(FileRegion, RealPersistenceIsRefusedEvenIfLibpmem2IsToldToBelieveIt) {
  ScratchDirectory directory;
  ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
  auto options = small_region();
  options.persistence = PersistenceChoice::real;
  const auto region = FileRegion::create(directory / "log", options);
  ::unsetenv("PMEM2_FORCE_GRANULARITY");
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::unsupported);
}

TEST(FileRegion, MissingFileIsAmnesia) {
  ScratchDirectory directory;
  const auto region = FileRegion::open(directory / "log", kEmulated);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::amnesia);
  EXPECT_THAT(region.error().message, HasSubstr("may not take part"));
}

TEST(FileRegion, LossOfBothSlotsIsAmnesiaOfEitherIsNot) {
  for (const uint64_t at : {kSuperblockAt, kIdentityAt, kManifestAt}) {
    ScratchDirectory directory;
    const std::string path = directory / "log";
    uint64_t slot_bytes = kSuperblockSlotBytes;
    {
      auto options = small_region();
      options.superblock = bytes_of("kept");
      auto region = FileRegion::create(path, options);
      ASSERT_TRUE(region);
      if (at == kManifestAt) slot_bytes = RegionLayout((*region)->geometry()).manifest_slot_bytes;
    }
    const std::string zeros(slot_bytes, '\0');
    overwrite(path, at, zeros.data(), zeros.size());
    {
      auto region = FileRegion::open(path, kEmulated);
      ASSERT_TRUE(region) << region.error().message;
      EXPECT_EQ(text_of(*(*region)->read_superblock()), "kept");
    }
    overwrite(path, at + slot_bytes, zeros.data(), zeros.size());
    const auto region = FileRegion::open(path, kEmulated);
    ASSERT_FALSE(region);
    EXPECT_EQ(region.error().code, Code::amnesia) << region.error().message;
  }
}

TEST(FileRegion, NewerFormatIsRefusedByName) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  SlotHeader header{};
  RegionIdentity identity{};
  { ASSERT_TRUE(FileRegion::create(path, small_region())); }
  header.generation = 99;
  header.magic = kSlotMagic;
  header.format = kRegionFormat + 1;
  header.kind = static_cast<uint32_t>(SlotKind::identity);
  header.payload_bytes = sizeof identity;
  header.crc =
      checksum(checksum(kChecksumSeed, &header, sizeof header), &identity, sizeof identity);
  overwrite(path, kIdentityAt, &header, sizeof header);
  overwrite(path, kIdentityAt + sizeof header, &identity, sizeof identity);
  const auto region = FileRegion::open(path, kEmulated);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::wrong_version);
  EXPECT_THAT(region.error().message, HasSubstr(path));
}

TEST(FileRegion, ShortenedFileIsDamaged) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  { ASSERT_TRUE(FileRegion::create(path, small_region())); }
  std::filesystem::resize_file(path, 512 * 1024);
  const auto region = FileRegion::open(path, kEmulated);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::damaged);
  EXPECT_FALSE(PeerMapping::open(path, Persistence::emulated));
}

TEST(FileRegion, SecondOwnerIsRefusedAndToldWhoTheFirstIs) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = spawn([&] {
    auto region = FileRegion::create(path, small_region());
    if (!region || ::write(ready[1], "x", 1) != 1) return 1;
    ::pause();
    return 0;
  });
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  for (const Error& error :
       {FileRegion::open(path, kEmulated).error(), FileRegion::open_read_only(path).error()}) {
    EXPECT_EQ(error.code, Code::busy);
    EXPECT_THAT(error.message, HasSubstr(std::to_string(child)));
  }
  ::kill(child, SIGKILL);
  exit_status(child);
  EXPECT_TRUE(FileRegion::open(path, kEmulated)) << "the lock dies with its holder";
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(FileRegion, ReadOnlyKeepsOwnersOutAndChangesNothing) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  { ASSERT_TRUE(FileRegion::create(path, small_region())); }
  std::ifstream before_file(path, std::ios::binary);
  const std::string before((std::istreambuf_iterator<char>(before_file)), {});
  {
    const auto reader = FileRegion::open_read_only(path);
    ASSERT_TRUE(reader) << reader.error().message;
    EXPECT_EQ((*reader)->persistence(), Persistence::none);
    EXPECT_TRUE((*reader)->read_superblock());
    const auto owner = FileRegion::open(path, kEmulated);
    ASSERT_FALSE(owner);
    EXPECT_EQ(owner.error().code, Code::busy);
    EXPECT_TRUE(FileRegion::open_read_only(path)) << "two readers do not disturb each other";
  }
  std::ifstream after_file(path, std::ios::binary);
  const std::string after((std::istreambuf_iterator<char>(after_file)), {});
  EXPECT_TRUE(before == after);
}

TEST(FileRegion, MissingRightsAreNamed) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  { ASSERT_TRUE(FileRegion::create(path, small_region())); }
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to step down to another user";
  const pid_t child = spawn([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 10;
    const auto opened = FileRegion::open(path, kEmulated);
    if (opened || opened.error().code != Code::denied) return 11;
    if (opened.error().message.find(path) == std::string::npos) return 12;
    const auto created = FileRegion::create(directory / "new", small_region());
    return created || created.error().code != Code::denied ? 13 : 0;
  });
  EXPECT_EQ(exit_status(child), 0);
}

TEST(FileRegion, MissingDirectoryIsNamed) {
  ScratchDirectory directory;
  const auto region = FileRegion::create(directory / "no/such/log", small_region());
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::not_found);
  EXPECT_THAT(region.error().message, HasSubstr("no/such/log"));
}

TEST(FileRegion, FullFileSystemIsFoundAtCreation) {
  ScratchDirectory directory;
  if (::mount("caisson-test", directory.path().c_str(), "tmpfs", 0, "size=512k") != 0) {
    GTEST_SKIP() << "needs the right to mount a small tmpfs";
  }
  const auto region = FileRegion::create(directory / "log", small_region());
  const bool nothing_left = std::filesystem::is_empty(directory.path());
  ::umount2(directory.path().c_str(), MNT_DETACH);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, Code::no_space);
  EXPECT_TRUE(nothing_left);
}

TEST(FileRegion, FileSizeLimitIsAnErrorNotASignal) {
  ScratchDirectory directory;
  const pid_t child = spawn([&] {
    const rlimit limit{128 * 1024, 128 * 1024};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
    const auto region = FileRegion::create(directory / "log", small_region());
    return !region && region.error().code == Code::no_space ? 0 : 11;
  });
  EXPECT_EQ(exit_status(child), 0);
}

TEST(FileRegion, ControlCellsSurviveTheOwnerButNotTheBoot) {
  ScratchDirectory directory;
  const std::string path = directory / "log";
  {
    auto region = FileRegion::create(path, small_region());
    ASSERT_TRUE(region);
    (*region)->control()[100] = std::byte{42};
  }
  {
    auto region = FileRegion::open(path, kEmulated);
    ASSERT_TRUE(region);
    EXPECT_EQ((*region)->control()[100], std::byte{42});
  }
  OwnerRecord record{};
  overwrite(path, kOwnerAt, &record, sizeof record);
  {
    auto region = FileRegion::open(path, kEmulated);
    ASSERT_TRUE(region);
    EXPECT_EQ((*region)->control()[100], std::byte{42}) << "a torn record proves nothing";
  }
  record.process = this_process();
  record.process.boot[0] ^= 1;
  record.crc = checksum(kChecksumSeed, &record.process, sizeof record.process);
  overwrite(path, kOwnerAt, &record, sizeof record);
  auto region = FileRegion::open(path, kEmulated);
  ASSERT_TRUE(region);
  EXPECT_EQ((*region)->control()[100], std::byte{0});
}

// How much of this process's mappings of `path` lies in large pages.
uint64_t in_large_pages_kib(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t sum = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" kB") == std::string::npos && line.find('-') < 20) {
      ours = line.ends_with(path);
    } else if (ours && line.starts_with("ShmemPmdMapped:")) {
      sum += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return sum;
}

TEST(FileRegion, ARingLiesInLargePagesWhereThereAreSome) {
  const std::string path = "/dev/shm/caisson-large-" + std::to_string(getpid());
  constexpr uint64_t kRingBytes = uint64_t{16} << 20;
  {
    ASSERT_TRUE(FileRegion::create(path, small_region(kRingBytes)));
    const auto region = FileRegion::open(path, kEmulated);
    ASSERT_TRUE(region) << region.error().message;
    const uint64_t kib = in_large_pages_kib(path);
    auto peer = PeerMapping::open(path, Persistence::emulated);
    ASSERT_TRUE(peer);
    EXPECT_EQ(in_large_pages_kib(path), 2 * kib) << "a peer's mapping is as its owner's";
    if (kib == 0) {
      ::unlink(path.c_str());
      GTEST_SKIP() << "this kernel gathers no pages of /dev/shm";
    }
    EXPECT_GE(kib, 2 * (kRingBytes - (uint64_t{4} << 20)) / 1024) << "both of its mappings";
  }
  ::unlink(path.c_str());
}

TEST(ProcessIdentity, AThreadIsGoneOnceTheKernelSaysSo) {
  const ProcessIdentity self = this_process();
  std::atomic<uint64_t> number{0};
  std::atomic<bool> over{false};
  std::thread thread([&] {
    number = static_cast<uint64_t>(::gettid());
    while (!over) ::usleep(100);
  });
  while (number == 0) ::usleep(100);
  const auto gone = [&](const ProcessIdentity& process) {
    return thread_gone(process, number, self);
  };
  EXPECT_FALSE(gone(self));
  EXPECT_FALSE(gone(ProcessIdentity{})) << "nobody knows whose";
  EXPECT_FALSE(thread_gone(self, 0, self)) << "nobody said which";
  EXPECT_FALSE(thread_gone(self, static_cast<uint64_t>(::getpid()), self));
  ProcessIdentity elsewhere = self;
  elsewhere.boot[0] ^= 1;
  EXPECT_TRUE(gone(elsewhere)) << "nothing survives a restart of the machine";
  over = true;
  thread.join();
  while (!gone(self)) ::usleep(100);  // joined a moment before it is gone
  elsewhere = self;
  elsewhere.pid_namespace += 1;
  EXPECT_FALSE(gone(elsewhere)) << "a number of another namespace says nothing";
}

TEST(ProcessIdentity, LivingProcessIsNotProvenDeadAndAKilledOneIsEvenBeforeItIsReaped) {
  EXPECT_FALSE(proven_dead(this_process()));
  EXPECT_FALSE(proven_dead(ProcessIdentity{}));
  int identity[2];
  ASSERT_EQ(::pipe(identity), 0);
  const pid_t child = spawn([&] {
    const ProcessIdentity self = this_process();
    if (::write(identity[1], &self, sizeof self) != sizeof self) return 1;
    ::pause();
    return 0;
  });
  ProcessIdentity other;
  ASSERT_EQ(::read(identity[0], &other, sizeof other), static_cast<ssize_t>(sizeof other));
  EXPECT_EQ(other.pid, static_cast<uint64_t>(child));
  EXPECT_FALSE(proven_dead(other));
  ::kill(child, SIGSTOP);
  EXPECT_FALSE(proven_dead(other)) << "a stopped process will store again";
  ::kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(proven_dead(other));
  exit_status(child);
  EXPECT_TRUE(proven_dead(other));
  other = this_process();
  other.start_ticks += 1;
  EXPECT_TRUE(proven_dead(other)) << "the number was reused";
  other = this_process();
  other.pid = 0x7ffffff0;
  other.pid_namespace += 1;
  EXPECT_FALSE(proven_dead(other)) << "a number of another namespace says nothing";
  ::close(identity[0]);
  ::close(identity[1]);
}

}  // namespace
}  // namespace caisson::pmem
