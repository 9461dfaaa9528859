// SPDX-License-Identifier: BSD-3-Clause
// H7: the store that raced a revocation, as two processors see it. No sanitizer sees this race, and
// no single-threaded model does (R47).
#include <gtest/gtest.h>
#include <sched.h>
#include <x86intrin.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "pmem/persist.hpp"
#include "transport/shm/asymmetric_fence.hpp"

namespace caisson::transport::shm {
namespace {

struct alignas(128) Line {
  uint64_t words[16] = {};
};

struct Rounds {
  uint64_t played = 0;
  uint64_t counted = 0;
  uint64_t counted_but_not_copied = 0;
};

using Clock = std::chrono::steady_clock;

// Both sides meet within these many cycles, so that either may come first.
constexpr uint64_t kSpreadCycles = 1500;

void idle_cycles(uint64_t cycles) {
  const uint64_t until = __rdtsc() + cycles;
  while (__rdtsc() < until) pmem::light_fence();
}

// Each round: the writer stores a line as an append does, fences lightly, reads the mark and counts
// if it is open; the revoker closes the mark, runs its half of the fence, and copies the line.
enum class WriterFence : uint8_t { light, full };
template <WriterFence kWriterFence = WriterFence::light, class RevokerFence>
Rounds race(RevokerFence revoker_fence, uint64_t rounds_max, std::chrono::seconds time_max,
            bool stop_at_first) {
  const pmem::Kernels kernels = pmem::choose_kernels(Persistence::emulated);
  Line bytes;
  Line mark;
  alignas(128) std::atomic<uint64_t> started{0};
  alignas(128) std::atomic<uint64_t> finished{0};
  alignas(128) std::atomic<bool> over{false};
  std::atomic<bool> counted{false};

  std::thread writer([&] {
    Line source;
    for (uint64_t round = 1;; ++round) {
      while (started.load(std::memory_order_acquire) < round) {
        if (over.load(std::memory_order_relaxed)) return;
      }
      idle_cycles(round * 7919 % kSpreadCycles / 2);
      source.words[0] = round;
      kernels.copy(reinterpret_cast<std::byte*>(bytes.words), source.words, 64);
      pmem::store_fence();
      if constexpr (kWriterFence == WriterFence::full) {
        pmem::full_fence();
      } else {
        pmem::light_fence();
      }
      const bool open = std::atomic_ref(mark.words[0]).load(std::memory_order_acquire) < round;
      counted.store(open, std::memory_order_relaxed);
      finished.store(round, std::memory_order_release);
    }
  });

  Rounds result;
  const auto end = Clock::now() + time_max;
  for (uint64_t round = 1; round <= rounds_max && Clock::now() < end; ++round) {
    started.store(round, std::memory_order_release);
    // Where both share a processor, one of them would always be first.
    if (round % 16 == 0) ::sched_yield();
    idle_cycles(round * 104729 % kSpreadCycles);
    std::atomic_ref(mark.words[0]).store(round, std::memory_order_release);
    revoker_fence();
    const uint64_t copied = std::atomic_ref(bytes.words[0]).load(std::memory_order_acquire);
    while (finished.load(std::memory_order_acquire) < round) pmem::light_fence();
    ++result.played;
    if (!counted.load(std::memory_order_relaxed)) continue;
    ++result.counted;
    if (copied == round) continue;
    ++result.counted_but_not_copied;
    if (stop_at_first) break;
  }
  over = true;
  writer.join();
  return result;
}

TEST(FenceLitmus, WhatIsCountedIsInTheCopy) {
  if (!register_light_half() || !heavy_half_available()) {
    GTEST_SKIP() << "this kernel has no membarrier; writers fence themselves instead";
  }
  const Rounds rounds =
      race([] { ASSERT_TRUE(heavy_half()); }, 300000, std::chrono::seconds(8), false);
  std::printf("%lu rounds, %lu counted, %lu lost\n", rounds.played, rounds.counted,
              rounds.counted_but_not_copied);
  EXPECT_EQ(rounds.counted_but_not_copied, 0u);
  EXPECT_GT(rounds.counted, 0u) << "the writer was never first: nothing was put to the test";
  EXPECT_LT(rounds.counted, rounds.played) << "the revoker was never first";
}

// The mutant: the same race without the revoker's half must lose bytes, or the test above proves
// nothing.
TEST(FenceLitmus, WithoutTheRevokersHalfBytesAreCountedAndNotCopied) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two processors to race";
  const Rounds rounds = race([] { pmem::light_fence(); }, 20000000, std::chrono::seconds(15), true);
  std::printf("%lu rounds until the first loss\n", rounds.played);
  if (rounds.counted_but_not_copied == 0) {
    GTEST_SKIP() << "this processor did not show the race in " << rounds.played << " rounds";
  }
  EXPECT_EQ(rounds.counted_but_not_copied, 1u);
}

// Where the kernel has no membarrier, fence_stores() puts a full fence on the writer's side, too.
TEST(FenceLitmus, TheFallbackOfTwoFullFencesHoldsToo) {
  const Rounds rounds =
      race<WriterFence::full>([] { pmem::full_fence(); }, 1000000, std::chrono::seconds(4), false);
  EXPECT_EQ(rounds.counted_but_not_copied, 0u);
  EXPECT_GT(rounds.counted, 0u);
  EXPECT_LT(rounds.counted, rounds.played);
}

}  // namespace
}  // namespace caisson::transport::shm
