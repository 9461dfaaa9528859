// SPDX-License-Identifier: BSD-3-Clause
// From how many bytes on does ISA-L beat the CRC32 instruction? (kCrcBulkBytes)
#include <benchmark/benchmark.h>

#include <vector>

#include "core/log/crc32c.hpp"

namespace caisson::log {
namespace {

uint32_t by_instruction(uint32_t crc, const std::byte* data, size_t n) {
  for (size_t i = 0; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    crc = crc32c_u64(crc, word);
  }
  return crc;
}

template <class Checksum>
void measure(benchmark::State& state, Checksum checksum) {
  const std::vector<std::byte> data(static_cast<size_t>(state.range(0)), std::byte{7});
  uint32_t crc = kCrcSeed;
  for (auto _ : state) benchmark::DoNotOptimize(crc = checksum(crc, data.data(), data.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void instruction(benchmark::State& state) { measure(state, by_instruction); }
void bulk(benchmark::State& state) { measure(state, crc32c_bulk); }
void chosen(benchmark::State& state) {
  measure(state, [](uint32_t crc, const void* data, size_t n) { return crc32c(crc, data, n); });
}

BENCHMARK(instruction)->RangeMultiplier(2)->Range(64, 64 << 10);
BENCHMARK(bulk)->RangeMultiplier(2)->Range(64, 64 << 10);
BENCHMARK(chosen)->RangeMultiplier(2)->Range(64, 64 << 10);

}  // namespace
}  // namespace caisson::log

BENCHMARK_MAIN();
