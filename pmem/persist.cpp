// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/persist.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

namespace caisson::pmem {
namespace {

constexpr size_t kLine = kCacheLineBytes;

// Destinations whose addresses are kept in registers; more are walked line by line.
constexpr size_t kFanUnrolledMax = 5;

struct Sse2 {
  template <size_t N>
  static void lines(std::byte* const* to, size_t, const std::byte* from, size_t n) {
    for (size_t at = 0; at < n; at += 16) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
      for (size_t i = 0; i < N; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(to[i] + at), v);
    }
  }
  static void many(std::byte* const* to, size_t count, const std::byte* from, size_t n) {
    for (size_t at = 0; at < n; at += kLine) {
      for (size_t i = 0; i < count; ++i) {
        for (size_t part = at; part < at + kLine; part += 16) {
          const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + part));
          _mm_stream_si128(reinterpret_cast<__m128i*>(to[i] + part), v);
        }
      }
    }
  }
};

struct Avx2 {
  template <size_t N>
  [[gnu::target("avx2")]] static void lines(std::byte* const* to, size_t, const std::byte* from,
                                            size_t n) {
    std::byte* out[N];
    for (size_t i = 0; i < N; ++i) out[i] = to[i];
    for (size_t at = 0; at < n; at += kLine) {
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at + 32));
      for (size_t i = 0; i < N; ++i) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(out[i] + at), low);
        _mm256_stream_si256(reinterpret_cast<__m256i*>(out[i] + at + 32), high);
      }
    }
  }
  [[gnu::target("avx2")]] static void many(std::byte* const* to, size_t count,
                                           const std::byte* from, size_t n) {
    for (size_t at = 0; at < n; at += kLine) {
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at + 32));
      for (size_t i = 0; i < count; ++i) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to[i] + at), low);
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to[i] + at + 32), high);
      }
    }
  }
};

struct Avx512 {
  template <size_t N>
  [[gnu::target("avx512f")]] static void lines(std::byte* const* to, size_t, const std::byte* from,
                                               size_t n) {
    std::byte* out[N];
    for (size_t i = 0; i < N; ++i) out[i] = to[i];
    for (size_t at = 0; at < n; at += kLine) {
      const __m512i v = _mm512_loadu_si512(from + at);
      for (size_t i = 0; i < N; ++i) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(out[i] + at), v);
      }
    }
  }
  [[gnu::target("avx512f")]] static void many(std::byte* const* to, size_t count,
                                              const std::byte* from, size_t n) {
    for (size_t at = 0; at < n; at += kLine) {
      const __m512i v = _mm512_loadu_si512(from + at);
      for (size_t i = 0; i < count; ++i) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to[i] + at), v);
      }
    }
  }
};

void flush_nothing(const void*, size_t) {}

const std::byte* line_of(const void* at) {
  return reinterpret_cast<const std::byte*>(reinterpret_cast<uintptr_t>(at) & ~(kLine - 1));
}

void flush_clflush(const void* at, size_t n) {
  const auto* end = static_cast<const std::byte*>(at) + n;
  for (const std::byte* line = line_of(at); line < end; line += kLine) _mm_clflush(line);
}

[[gnu::target("clflushopt")]] void flush_clflushopt(const void* at, size_t n) {
  const auto* end = static_cast<const std::byte*>(at) + n;
  for (const std::byte* line = line_of(at); line < end; line += kLine) {
    _mm_clflushopt(const_cast<std::byte*>(line));
  }
}

[[gnu::target("clwb")]] void flush_clwb(const void* at, size_t n) {
  const auto* end = static_cast<const std::byte*>(at) + n;
  for (const std::byte* line = line_of(at); line < end; line += kLine) {
    _mm_clwb(const_cast<std::byte*>(line));
  }
}

using Flush = void (*)(const void*, size_t);

// Bytes of lines that are touched in part: stored ordinarily, then written back.
template <Flush kFlush>
void partial(std::byte* const* to, size_t count, size_t at, const std::byte* from, size_t n) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(to[i] + at, from + at, n);
    kFlush(to[i] + at, n);
  }
}

template <class Isa>
void whole_lines(std::byte* const* to, size_t count, const std::byte* from, size_t n) {
  switch (count) {
    case 0: return;
    case 1: return Isa::template lines<1>(to, count, from, n);
    case 2: return Isa::template lines<2>(to, count, from, n);
    case 3: return Isa::template lines<3>(to, count, from, n);
    case 4: return Isa::template lines<4>(to, count, from, n);
    case kFanUnrolledMax: return Isa::template lines<kFanUnrolledMax>(to, count, from, n);
    default: return Isa::many(to, count, from, n);
  }
}

constexpr size_t kFanMax = 64;
static_assert(kFanMax > kReplicaIdMax);

template <class Isa, Flush kFlush>
void unaligned_fan(std::byte* const* to, size_t count, const std::byte* from, size_t n) {
  const size_t misaligned = reinterpret_cast<uintptr_t>(to[0]) % kLine;
  const size_t head = misaligned == 0 ? 0 : std::min(n, kLine - misaligned);
  if (head > 0) partial<kFlush>(to, count, 0, from, head);
  const size_t whole = (n - head) & ~(kLine - 1);
  if (whole > 0) {
    std::byte* shifted[kFanMax];
    for (size_t i = 0; i < count; ++i) shifted[i] = to[i] + head;
    whole_lines<Isa>(shifted, count, from + head, whole);
  }
  const size_t done = head + whole;
  if (done < n) partial<kFlush>(to, count, done, from, n - done);
}

template <class Isa, Flush kFlush>
void fan_copy(std::byte* const* to, size_t count, const void* from, size_t n) {
  if (count == 0 || n == 0) return;
  const auto* source = static_cast<const std::byte*>(from);
  if ((reinterpret_cast<uintptr_t>(to[0]) | n) % kLine == 0) {
    return whole_lines<Isa>(to, count, source, n);
  }
  unaligned_fan<Isa, kFlush>(to, count, source, n);
}

template <class Isa, Flush kFlush>
void copy(std::byte* to, const void* from, size_t n) {
  fan_copy<Isa, kFlush>(&to, 1, from, n);
}

template <Flush kFlush>
Kernels kernels_for(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512:
      return {copy<Avx512, kFlush>, fan_copy<Avx512, kFlush>, kFlush, "avx512"};
    case InstructionSet::avx2: return {copy<Avx2, kFlush>, fan_copy<Avx2, kFlush>, kFlush, "avx2"};
    case InstructionSet::sse2: break;
  }
  return {copy<Sse2, kFlush>, fan_copy<Sse2, kFlush>, kFlush, "sse2"};
}

// CPUID leaf 7: the compilers' builtins do not name these two bits alike.
constexpr unsigned kCpuidClflushopt = 1u << 23;
constexpr unsigned kCpuidClwb = 1u << 24;

unsigned cpuid_leaf7_ebx() {
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return ebx;
}

}  // namespace

InstructionSet widest_instruction_set() {
  if (__builtin_cpu_supports("avx512f")) return InstructionSet::avx512;
  if (__builtin_cpu_supports("avx2")) return InstructionSet::avx2;
  return InstructionSet::sse2;
}

Kernels choose_kernels(Persistence persistence, InstructionSet set) {
  if (persistence != Persistence::adr) return kernels_for<flush_nothing>(set);
  const unsigned features = cpuid_leaf7_ebx();
  if (features & kCpuidClwb) return kernels_for<flush_clwb>(set);
  if (features & kCpuidClflushopt) return kernels_for<flush_clflushopt>(set);
  return kernels_for<flush_clflush>(set);
}

}  // namespace caisson::pmem
