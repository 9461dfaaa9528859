// SPDX-License-Identifier: BSD-3-Clause
#include "bench/allocations.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAISSON_COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define CAISSON_COUNT_ALLOCATIONS 0
#endif
#endif
#ifndef CAISSON_COUNT_ALLOCATIONS
#define CAISSON_COUNT_ALLOCATIONS 1
#endif

namespace {

// Plain integers: they must work before any constructor has run.
thread_local uint64_t thread_allocations = 0;
std::atomic<uint64_t> process_allocations{0};

#if CAISSON_COUNT_ALLOCATIONS
void count() {
  ++thread_allocations;
  process_allocations.fetch_add(1, std::memory_order_relaxed);
}
#endif

}  // namespace

#if CAISSON_COUNT_ALLOCATIONS
// glibc's own allocator behind its public names; everything that free() gets comes from it.
extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* at, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}

void* calloc(size_t items, size_t bytes) {
  count();
  return __libc_calloc(items, bytes);
}

void* realloc(void* at, size_t bytes) {
  count();
  return __libc_realloc(at, bytes);
}

void* memalign(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** out, size_t alignment, size_t bytes) {
  if (alignment % sizeof(void*) != 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  count();
  void* const at = __libc_memalign(alignment, bytes);
  if (at == nullptr) return ENOMEM;
  *out = at;
  return 0;
}

}  // extern "C"
#endif

namespace caisson::bench {

bool allocations_counted() { return CAISSON_COUNT_ALLOCATIONS != 0; }
uint64_t allocations_of_this_thread() { return thread_allocations; }
uint64_t allocations_of_this_process() {
  return process_allocations.load(std::memory_order_relaxed);
}

}  // namespace caisson::bench
