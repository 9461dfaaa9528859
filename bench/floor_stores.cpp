// SPDX-License-Identifier: BSD-3-Clause
#include "bench/floor_stores.hpp"

#include <immintrin.h>

#include <cstring>
#include <utility>

namespace caisson::bench {

namespace {

// Every line is read once and streamed to all targets in turn.
template <size_t N>
__attribute__((target("avx512f"))) void stream512_by_line(std::byte* const* targets,
                                                          const std::byte* source, uint64_t n) {
  std::byte* to[N];
  for (size_t i = 0; i < N; ++i) to[i] = targets[i];
  for (uint64_t at = 0; at < n; at += kFloorLineBytes) {
    const __m512i line = _mm512_load_si512(source + at);
    for (size_t i = 0; i < N; ++i) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to[i] + at), line);
    }
  }
}

// Target after target: longer runs of consecutive lines for the write-combining buffers.
template <size_t N>
__attribute__((target("avx512f"))) void stream512_by_target(std::byte* const* targets,
                                                            const std::byte* source, uint64_t n) {
  for (size_t i = 0; i < N; ++i) {
    std::byte* const to = targets[i];
    for (uint64_t at = 0; at < n; at += kFloorLineBytes) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), _mm512_load_si512(source + at));
    }
  }
}

template <size_t N>
__attribute__((target("avx2"))) void stream256_by_line(std::byte* const* targets,
                                                       const std::byte* source, uint64_t n) {
  for (uint64_t at = 0; at < n; at += kFloorLineBytes) {
    const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(source + at));
    const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(source + at + 32));
    for (size_t i = 0; i < N; ++i) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(targets[i] + at), low);
      _mm256_stream_si256(reinterpret_cast<__m256i*>(targets[i] + at + 32), high);
    }
  }
}

template <size_t N>
__attribute__((target("avx512f,clwb"))) void copy512_clwb(std::byte* const* targets,
                                                          const std::byte* source, uint64_t n) {
  for (size_t i = 0; i < N; ++i) {
    std::byte* const to = targets[i];
    for (uint64_t at = 0; at < n; at += kFloorLineBytes) {
      _mm512_store_si512(to + at, _mm512_load_si512(source + at));
      _mm_clwb(to + at);
    }
  }
}

template <size_t N>
__attribute__((target("clwb"))) void memcpy_clwb(std::byte* const* targets, const std::byte* source,
                                                 uint64_t n) {
  for (size_t i = 0; i < N; ++i) {
    std::memcpy(targets[i], source, n);
    for (uint64_t at = 0; at < n; at += kFloorLineBytes) _mm_clwb(targets[i] + at);
  }
}

template <size_t N>
__attribute__((target("clflushopt"))) void memcpy_clflushopt(std::byte* const* targets,
                                                             const std::byte* source, uint64_t n) {
  for (size_t i = 0; i < N; ++i) {
    std::memcpy(targets[i], source, n);
    for (uint64_t at = 0; at < n; at += kFloorLineBytes) _mm_clflushopt(targets[i] + at);
  }
}

// clang 14 has no __builtin_cpu_supports("clwb"): CPUID leaf 7, EBX bits 23 and 24.
struct Flushes {
  bool clflushopt = false;
  bool clwb = false;
};
Flushes flushes() {
  uint32_t eax = 7, ebx = 0, ecx = 0, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return {(ebx >> 23 & 1) != 0, (ebx >> 24 & 1) != 0};
}

template <size_t N>
std::vector<NamedStore> stores() {
  std::vector<NamedStore> found;
  const Flushes flush = flushes();
  if (__builtin_cpu_supports("avx512f")) {
    found.push_back({"non-temporal-512-by-line", stream512_by_line<N>});
    found.push_back({"non-temporal-512-by-target", stream512_by_target<N>});
    if (flush.clwb) found.push_back({"copy-512-clwb", copy512_clwb<N>});
  }
  if (__builtin_cpu_supports("avx2")) {
    found.push_back({"non-temporal-256-by-line", stream256_by_line<N>});
  }
  if (flush.clwb) found.push_back({"memcpy-clwb", memcpy_clwb<N>});
  if (!flush.clwb && flush.clflushopt) found.push_back({"memcpy-clflushopt", memcpy_clflushopt<N>});
  return found;
}

}  // namespace

std::vector<NamedStore> stores_for(size_t regions) {
  switch (regions) {
    case 1: return stores<1>();
    case 2: return stores<2>();
    case 3: return stores<3>();
    case 4: return stores<4>();
    case 5: return stores<5>();
    case 6: return stores<6>();
    case 7: return stores<7>();
    default: return {};
  }
}

}  // namespace caisson::bench
