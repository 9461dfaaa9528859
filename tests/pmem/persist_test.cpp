// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/persist.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace caisson::pmem {
namespace {

constexpr size_t kRoom = 1024;

std::vector<InstructionSet> available_sets() {
  std::vector<InstructionSet> sets{InstructionSet::sse2};
  if (widest_instruction_set() >= InstructionSet::avx2) sets.push_back(InstructionSet::avx2);
  if (widest_instruction_set() >= InstructionSet::avx512) sets.push_back(InstructionSet::avx512);
  return sets;
}

struct alignas(64) Buffer {
  std::byte bytes[kRoom];
};

std::byte pattern(size_t i) { return static_cast<std::byte>(i * 7 + 13); }

void expect_exact(const Buffer& buffer, size_t at, size_t n, const std::string& what) {
  for (size_t i = 0; i < kRoom; ++i) {
    const std::byte expected = i >= at && i < at + n ? pattern(i - at) : std::byte{0xee};
    ASSERT_EQ(buffer.bytes[i], expected) << what << ", byte " << i;
  }
}

// Every kernel, every misalignment class, one to seven destinations: the bytes arrive, and no
// neighbour is touched.
TEST(Persist, CopiesExactlyTheBytesAsked) {
  std::vector<std::byte> source(kRoom);
  for (const Persistence persistence : {Persistence::emulated, Persistence::adr}) {
    for (const InstructionSet set : available_sets()) {
      const Kernels kernels = choose_kernels(persistence, set);
      for (const size_t count : {1ul, 2ul, 3ul, 4ul, 5ul, 6ul, 7ul}) {
        for (const size_t at : {0ul, 1ul, 8ul, 63ul, 64ul}) {
          for (const size_t n :
               {0ul, 1ul, 7ul, 63ul, 64ul, 65ul, 127ul, 128ul, 192ul, 640ul, 700ul}) {
            for (const size_t skew : {0ul, 3ul}) {
              for (size_t i = 0; i < n; ++i) source[skew + i] = pattern(i);
              std::vector<Buffer> out(count);
              std::byte* to[7] = {};
              for (size_t i = 0; i < count; ++i) {
                std::memset(out[i].bytes, 0xee, kRoom);
                to[i] = out[i].bytes + at;
              }
              kernels.fan_copy(to, count, source.data() + skew, n);
              store_fence();
              const std::string what = std::string(kernels.name) + " x" + std::to_string(count) +
                                       " at " + std::to_string(at) + " n " + std::to_string(n);
              for (const Buffer& buffer : out) expect_exact(buffer, at, n, what);
            }
          }
        }
      }
    }
  }
}

TEST(Persist, SingleCopyAgreesWithFanCopy) {
  const Kernels kernels = choose_kernels(Persistence::adr);
  std::vector<std::byte> source(kRoom);
  for (size_t i = 0; i < kRoom; ++i) source[i] = pattern(i);
  Buffer out;
  std::memset(out.bytes, 0xee, kRoom);
  kernels.copy(out.bytes + 5, source.data(), 333);
  kernels.flush_lines(out.bytes + 5, 333);
  store_fence();
  expect_exact(out, 5, 333, "copy");
}

}  // namespace
}  // namespace caisson::pmem
