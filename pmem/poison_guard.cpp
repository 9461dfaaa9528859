// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/poison_guard.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

namespace caisson::pmem {
namespace {

constexpr uintptr_t kPageBytes = 4096;
// devdax splits its mappings at these only.
constexpr uintptr_t kLargePageBytes = 2 * 1024 * 1024;

struct Range {
  std::atomic<uintptr_t> begin{0};  // 0: free. Stored last when it is taken, first when it is given
  std::atomic<uintptr_t> end{0};
  std::atomic<PoisonMark*> mark{nullptr};
};

// One for the process, as the handler of a signal is. The handler reads it without a lock.
struct Registry {
  std::array<Range, kGuardedRangesMax> ranges;
  std::atomic<uint32_t> used{0};  // slots at or above were never taken
  // Slots below are not taken: whoever had them before this process was forked may give them yet.
  uint32_t first = 0;
  std::mutex mutex;            // of those who take and give slots
  bool installed = false;      // guarded by mutex
  struct sigaction before {};  // constant once installed
};

Registry& registry() {
  static Registry* const all = new Registry;  // for good: a fault may come while the process ends
  return *all;
}
// What the handler reads: a function's static is not for handlers.
std::atomic<Registry*> g_registry{nullptr};

bool stand_in(uintptr_t page, uintptr_t page_bytes, uintptr_t low, uintptr_t high) {
  const uintptr_t begin = std::max(page & ~(page_bytes - 1), low);
  const uintptr_t end = std::min((page & ~(page_bytes - 1)) + page_bytes, high);
  // The system call itself: to ThreadSanitizer the library's mmap is a store of this thread to all
  // of the page, which races with whoever reads there.
  return ::syscall(SYS_mmap, begin, end - begin, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != -1;
}

// True if the access may be repeated.
bool cover(uintptr_t address) {
  Registry* const all = g_registry.load(std::memory_order_acquire);
  if (all == nullptr || address == 0) return false;
  const uint32_t used = all->used.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    Range& range = all->ranges[i];
    const uintptr_t begin = range.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin) continue;
    const uintptr_t end = range.end.load(std::memory_order_acquire);
    PoisonMark* const mark = range.mark.load(std::memory_order_acquire);
    if (address >= end || range.begin.load(std::memory_order_acquire) != begin) continue;
    // The mark first: what is stored to a page that is not the region's is never counted.
    mark->set(reinterpret_cast<const void*>(address & ~(kPageBytes - 1)));
    return stand_in(address, kPageBytes, begin, end) ||
           stand_in(address, kLargePageBytes, begin, end);
  }
  return false;
}

void pass_on(int number, siginfo_t* info, void* context) {
  const struct sigaction& before = g_registry.load(std::memory_order_acquire)->before;
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(number, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    return before.sa_handler(number);
  }
  // Ignoring a fault would only repeat it. Raised again it ends the process, once this returns.
  (void)::signal(number, SIG_DFL);
  (void)::raise(number);
}

void on_bus_error(int number, siginfo_t* info, void* context) {
  const int error = errno;
  const bool of_a_page = info->si_code == BUS_ADRERR || info->si_code == BUS_OBJERR ||
                         info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO;
  if (!of_a_page || !cover(reinterpret_cast<uintptr_t>(info->si_addr))) {
    pass_on(number, info, context);
  }
  errno = error;
}

// Regions are not inherited: in a child their addresses are free for other mappings, which are not
// to be guarded.
void follow_forks() {
  (void)::pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                         [] {
                           Registry& all = registry();
                           for (Range& range : all.ranges) {
                             range.begin.store(0, std::memory_order_release);
                           }
                           all.first = all.used.load(std::memory_order_relaxed);
                           all.mutex.unlock();
                         });
}

// With the mutex held.
void install(Registry& all) {
  if (all.installed) return;
  g_registry.store(&all, std::memory_order_release);
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  (void)::sigaction(SIGBUS, nullptr, &all.before);
  all.installed = ::sigaction(SIGBUS, &action, nullptr) == 0;
  follow_forks();
}

}  // namespace

GuardedRange::GuardedRange(GuardedRange&& other) noexcept : slot_(std::exchange(other.slot_, 0)) {}

GuardedRange& GuardedRange::operator=(GuardedRange&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

Code GuardedRange::guard(const void* begin, uint64_t n, PoisonMark& mark) {
  release();
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  install(all);
  uint32_t slot = all.first;
  const uint32_t used = all.used.load(std::memory_order_relaxed);
  while (slot < used && all.ranges[slot].begin.load(std::memory_order_relaxed) != 0) ++slot;
  if (slot == kGuardedRangesMax) return Code::too_large;
  Range& range = all.ranges[slot];
  const auto address = reinterpret_cast<uintptr_t>(begin);
  range.end.store(address + n, std::memory_order_relaxed);
  range.mark.store(&mark, std::memory_order_relaxed);
  range.begin.store(address, std::memory_order_release);
  if (slot == used) all.used.store(used + 1, std::memory_order_release);
  slot_ = slot + 1;
  return Code::ok;
}

void GuardedRange::release() {
  if (slot_ == 0) return;
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.ranges[slot_ - 1].begin.store(0, std::memory_order_release);
  slot_ = 0;
}

bool page_is_lost(int error) { return error == EFAULT || error == EHWPOISON; }

}  // namespace caisson::pmem
