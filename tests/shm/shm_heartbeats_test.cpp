// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_heartbeats.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "tests/shm/endpoints.hpp"

namespace caisson::transport::shm {
namespace {

using namespace testing;  // NOLINT
using Clock = std::chrono::steady_clock;

HeartbeatOptions node(const ScratchDirectory& directory, int self) {
  HeartbeatOptions options;
  for (int id = 1; id <= 2; ++id) {
    const std::string path = directory / ("beat-" + std::to_string(id)).c_str();
    (id == self ? options.own_path : options.peers[ReplicaId{static_cast<uint8_t>(id)}]) = path;
  }
  return options;
}

// A node that beats until it is killed; with ballast, as a busy poller does.
pid_t beating_node(const ScratchDirectory& directory, size_t ballast_bytes = 0) {
  return spawn([&] {
    if (ballast_bytes > 0) {
      void* ballast = ::mmap(nullptr, ballast_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (ballast == MAP_FAILED) return 2;
      std::memset(ballast, 1, ballast_bytes);
    }
    auto heartbeats = ShmHeartbeats::open(node(directory, 2));
    if (!heartbeats) return 1;
    while (true) {
      (*heartbeats)->beat();
      if (ballast_bytes == 0) ::usleep(10);
    }
  });
}

void stop(pid_t child) {
  ::kill(child, SIGKILL);
  exit_status(child);
}

TEST(ShmHeartbeats, APeersBeatIsSeenWithoutItsHelp) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine) << mine.error().message;
  EXPECT_FALSE((*mine)->read(kB).known) << "not there yet";
  EXPECT_EQ((*mine)->connect(), 1u);
  const pid_t peer = beating_node(directory);
  wait_until([&] { return (*mine)->connect() == 0 && (*mine)->read(kB).known; });
  const uint64_t before = (*mine)->read(kB).counter;
  wait_until([&] { return (*mine)->read(kB).counter > before + 3; });
  EXPECT_FALSE((*mine)->read(kB).dead);
  EXPECT_FALSE((*mine)->read(kC).known) << "no such node";
  stop(peer);
}

TEST(ShmHeartbeats, TheKernelTellsOfAKilledNodeLongBeforeItsMemoryIsTornDown) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine);
  std::vector<double> seen_us;
  std::vector<double> reaped_us;
  uint64_t counter = 0;
  for (int round = 0; round < 9; ++round) {
    const pid_t peer = beating_node(directory, 256 << 20);
    wait_until([&] {
      return (*mine)->connect() == 0 && !(*mine)->read(kB).dead &&
             (*mine)->read(kB).counter > counter + 2;
    });
    const auto start = Clock::now();
    ::kill(peer, SIGKILL);
    while (!(*mine)->read(kB).dead) ASSERT_LT(Clock::now() - start, std::chrono::seconds(10));
    seen_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    exit_status(peer);
    reaped_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    EXPECT_GE((*mine)->read(kB).counter, counter) << "goes on counting over restarts";
    counter = (*mine)->read(kB).counter;
  }
  std::sort(seen_us.begin(), seen_us.end());
  std::sort(reaped_us.begin(), reaped_us.end());
  std::printf(
      "kill -9 to death word: %.0f us (median), %.0f us (max); to the end of a process of "
      "256 MiB: %.0f us (median)\n",
      seen_us[4], seen_us.back(), reaped_us[4]);
  EXPECT_LT(seen_us[4], reaped_us[4]);
}

TEST(ShmHeartbeats, AStoppedNodeIsNotDeadButStuck) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine);
  const pid_t peer = beating_node(directory);
  wait_until([&] { return (*mine)->connect() == 0 && (*mine)->read(kB).counter > 2; });
  ::kill(peer, SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(peer, &status, WUNTRACED), peer);
  const Beat before = (*mine)->read(kB);
  ::usleep(20000);
  EXPECT_EQ((*mine)->read(kB).counter, before.counter);
  EXPECT_FALSE((*mine)->read(kB).dead);
  stop(peer);
}

// Its directory was removed, and it comes back empty: whoever looked at the old file sees it.
TEST(ShmHeartbeats, ANodeThatWasMadeAnewIsSeen) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine);
  const pid_t first = beating_node(directory);
  wait_until([&] { return (*mine)->connect() == 0 && (*mine)->read(kB).counter > 0; });
  stop(first);
  wait_until([&] { return (*mine)->read(kB).dead; });
  ASSERT_EQ(::unlink(node(directory, 2).own_path.c_str()), 0);
  EXPECT_EQ((*mine)->connect(), 0u);
  EXPECT_TRUE((*mine)->read(kB).dead) << "until somebody is there, the old one counts";
  const pid_t second = beating_node(directory);
  wait_until([&] {
    return (*mine)->connect() == 0 && !(*mine)->read(kB).dead && (*mine)->read(kB).counter > 0;
  });
  EXPECT_FALSE((*mine)->read(kB).dead);
  stop(second);
}

TEST(ShmHeartbeats, TheDeathOfThePollersThreadIsTheDeathOfTheNode) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  auto theirs = ShmHeartbeats::open(node(directory, 2));
  ASSERT_TRUE(mine && theirs);
  ASSERT_EQ((*mine)->connect(), 0u);
  std::thread poller([&] {
    (*theirs)->beat();
    EXPECT_TRUE((*theirs)->death_word_armed());
    EXPECT_FALSE((*mine)->read(kB).dead);
  });
  poller.join();
  EXPECT_TRUE((*mine)->read(kB).dead);
}

TEST(ShmHeartbeats, ANodeThatLeavesIsDeadAtOnceAndAliveWhenItReturns) {
  ScratchDirectory directory;
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine);
  for (int round = 0; round < 3; ++round) {
    auto theirs = ShmHeartbeats::open(node(directory, 2));
    ASSERT_TRUE(theirs) << theirs.error().message;
    (*mine)->connect();
    (*theirs)->beat();
    EXPECT_FALSE((*mine)->read(kB).dead);
    theirs->reset();
    EXPECT_TRUE((*mine)->read(kB).dead);
  }
  EXPECT_EQ((*mine)->read(kB).counter, 3u);
}

TEST(ShmHeartbeats, OneProcessBeatsForANode) {
  ScratchDirectory directory;
  const pid_t peer = beating_node(directory);
  auto mine = ShmHeartbeats::open(node(directory, 1));
  ASSERT_TRUE(mine);
  wait_until([&] { return (*mine)->connect() == 0 && (*mine)->read(kB).counter > 0; });
  const auto second = ShmHeartbeats::open(node(directory, 2));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
  stop(peer);
}

}  // namespace
}  // namespace caisson::transport::shm
