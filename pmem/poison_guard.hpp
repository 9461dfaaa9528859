// SPDX-License-Identifier: BSD-3-Clause
// Pages that cannot be had any more: memory poison of a persistent page, or a file that was cut
// short under its mapping (R44). Unguarded, the SIGBUS of whoever touches one ends the process.
//
// In a guarded range the process goes on: a private page of zeros stands in for the lost one, and
// the range's mark says so from before the access returns. Zeros are no data: whoever owns the mark
// must not believe, nor count, anything of the region from then on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "caisson/types.hpp"

namespace caisson::pmem {

// Of one region, shared by all of its mappings. Constant addresses: a signal handler writes it.
class PoisonMark {
 public:
  PoisonMark() = default;
  PoisonMark(const PoisonMark&) = delete;
  PoisonMark& operator=(const PoisonMark&) = delete;

  // [any thread] True behind every access that met a lost page, on the thread that made it at once.
  bool found() const { return pages_.load(std::memory_order_acquire) != 0; }
  uint64_t pages() const { return pages_.load(std::memory_order_acquire); }
  // Where the first one was met; null if it was not met by an access.
  const std::byte* first() const {
    return reinterpret_cast<const std::byte*>(first_.load(std::memory_order_acquire));
  }
  // Async-signal-safe.
  void set(const void* page) {
    uintptr_t none = 0;
    first_.compare_exchange_strong(none, reinterpret_cast<uintptr_t>(page));
    pages_.fetch_add(1, std::memory_order_release);
  }

 private:
  std::atomic<uint64_t> pages_{0};
  std::atomic<uintptr_t> first_{0};
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "a signal handler uses it");

// Addresses under guard while the object lives. The first one of a process installs the handler of
// SIGBUS; faults at other addresses go to whoever handled it before.
class GuardedRange {
 public:
  GuardedRange() = default;
  ~GuardedRange() { release(); }
  GuardedRange(GuardedRange&& other) noexcept;
  GuardedRange& operator=(GuardedRange&& other) noexcept;

  // Takes the place of what was guarded before. [begin, begin + n) is mapped, in whole pages;
  // `mark` outlives the guard. too_large: more ranges than kGuardedRangesMax in this process.
  [[nodiscard]] Code guard(const void* begin, uint64_t n, PoisonMark& mark);
  // Before the addresses are unmapped.
  void release();

 private:
  uint32_t slot_ = 0;  // + 1; 0: none
};

inline constexpr uint32_t kGuardedRangesMax = 16384;

// True if errno says that a page could not be had when it was asked for without an access
// (madvise).
bool page_is_lost(int error);

}  // namespace caisson::pmem
