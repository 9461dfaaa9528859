// SPDX-License-Identifier: BSD-3-Clause
// H7: the store that raced a revocation, as two processors see it. No sanitizer sees this race, and
// no single-threaded model does (R47).
#include <gtest/gtest.h>

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

// Each round: the writer stores a line as an append does, fences lightly, reads the mark and counts
// if it is open; the revoker closes the mark, runs its half of the fence, and copies the line.
template <class RevokerFence>
Rounds race(RevokerFence revoker_fence, uint64_t rounds_max, bool stop_at_first) {
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
      for (uint64_t spin = round % 61; spin > 0; --spin) pmem::light_fence();
      source.words[0] = round;
      kernels.copy(reinterpret_cast<std::byte*>(bytes.words), source.words, 64);
      pmem::store_fence();
      pmem::light_fence();
      const bool open = std::atomic_ref(mark.words[0]).load(std::memory_order_acquire) < round;
      counted.store(open, std::memory_order_relaxed);
      finished.store(round, std::memory_order_release);
    }
  });

  Rounds result;
  for (uint64_t round = 1; round <= rounds_max; ++round) {
    started.store(round, std::memory_order_release);
    for (uint64_t spin = round % 67; spin > 0; --spin) pmem::light_fence();
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
  const Rounds rounds = race([] { ASSERT_TRUE(heavy_half()); }, 200000, false);
  std::printf("%lu rounds, %lu counted, %lu lost\n", rounds.played, rounds.counted,
              rounds.counted_but_not_copied);
  EXPECT_EQ(rounds.counted_but_not_copied, 0u);
}

// The mutant: the same race without the revoker's half must lose bytes, or the test above proves
// nothing.
TEST(FenceLitmus, WithoutTheRevokersHalfBytesAreCountedAndNotCopied) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two processors to race";
  const Rounds rounds = race([] { pmem::light_fence(); }, 5000000, true);
  std::printf("%lu rounds until the first loss\n", rounds.played);
  if (rounds.counted_but_not_copied == 0) {
    GTEST_SKIP() << "this processor did not show the race in " << rounds.played << " rounds";
  }
  EXPECT_EQ(rounds.counted_but_not_copied, 1u);
}

TEST(FenceLitmus, TheFallbackOfTwoFullFencesHoldsToo) {
  // A writer's full fence is what fence_stores() adds where the revoker cannot fence it; here the
  // kernel's fence of the writer is replaced by a broadcast that needs no registration.
  const pmem::Kernels kernels = pmem::choose_kernels(Persistence::emulated);
  Line bytes;
  Line mark;
  std::atomic<uint64_t> started{0}, finished{0};
  std::atomic<bool> counted{false};
  constexpr uint64_t kRounds = 200000;
  std::thread writer([&] {
    Line source;
    for (uint64_t round = 1; round <= kRounds; ++round) {
      while (started.load(std::memory_order_acquire) < round) pmem::light_fence();
      source.words[0] = round;
      kernels.copy(reinterpret_cast<std::byte*>(bytes.words), source.words, 64);
      pmem::store_fence();
      pmem::full_fence();
      counted = std::atomic_ref(mark.words[0]).load(std::memory_order_acquire) < round;
      finished.store(round, std::memory_order_release);
    }
  });
  uint64_t lost = 0;
  for (uint64_t round = 1; round <= kRounds; ++round) {
    started.store(round, std::memory_order_release);
    std::atomic_ref(mark.words[0]).store(round, std::memory_order_release);
    pmem::full_fence();
    const uint64_t copied = std::atomic_ref(bytes.words[0]).load(std::memory_order_acquire);
    while (finished.load(std::memory_order_acquire) < round) pmem::light_fence();
    if (counted && copied != round) ++lost;
  }
  writer.join();
  EXPECT_EQ(lost, 0u);
}

}  // namespace
}  // namespace caisson::transport::shm
