// SPDX-License-Identifier: BSD-3-Clause
// What sealing an entry costs the leader, and judging it a follower.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "core/log/entry_format.hpp"
#include "core/log/ring.hpp"

namespace caisson::log {
namespace {

EntryHeader header_at(const Cursor& cursor, uint32_t payload_bytes) {
  EntryHeader header{};
  header.position = cursor.position.value + 1;
  header.term = 257;
  header.offset_line = offset_line(cursor.end);
  header.payload_bytes = payload_bytes;
  header.kind = static_cast<uint8_t>(Kind::data);
  header.flags = kFlagBatchEnd;
  header.format = kEntryFormat;
  header.client = 7;
  header.sequence = header.position;
  header.incarnation = 1;
  return header;
}

void seal(benchmark::State& state) {
  const auto payload_bytes = static_cast<uint32_t>(state.range(0));
  const std::vector<std::byte> payload(payload_bytes, std::byte{3});
  Cursor cursor = origin(LogIdentity{{1}, 1});
  for (auto _ : state) {
    EntryHeader header = header_at(cursor, payload_bytes);
    const uint32_t crc = crc32c(kCrcSeed, payload.data(), payload.size());
    cursor.chain = seal_header(header, cursor.chain, crc);
    cursor.position = Position{header.position};
    benchmark::DoNotOptimize(header);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// A ring in cache, judged over and over: the processor's work alone.
void judge(benchmark::State& state) {
  constexpr uint64_t kRingBytes = 1 << 20;
  const auto payload_bytes = static_cast<uint32_t>(state.range(0));
  std::vector<std::byte> ring_bytes(2 * kRingBytes);
  const std::vector<std::byte> payload(payload_bytes, std::byte{3});
  const Cursor start = origin(LogIdentity{{1}, 1});
  Cursor cursor = start;
  while (cursor.end.value + entry_bytes(payload_bytes) <= kRingBytes) {
    EntryHeader header = header_at(cursor, payload_bytes);
    const uint32_t chain =
        seal_header(header, cursor.chain, crc32c(kCrcSeed, payload.data(), payload.size()));
    std::memcpy(ring_bytes.data() + cursor.end.value, &header, sizeof header);
    std::memcpy(ring_bytes.data() + cursor.end.value + kHeaderBytes, payload.data(),
                payload.size());
    cursor = {Position{header.position}, cursor.end + entry_bytes(payload_bytes), Term{257}, chain};
  }
  const Cursor end = cursor;
  const Ring ring(ring_bytes.data(), kRingBytes);
  cursor = start;
  for (auto _ : state) {
    if (cursor.end == end.end) cursor = start;
    const Step judged = step(ring, cursor, end.end);
    if (judged.reason != Break::none) {
      state.SkipWithError("the chain breaks");
      break;
    }
    cursor = judged.next;
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(seal)->Arg(0)->Arg(64)->Arg(256)->Arg(1024)->Arg(4096)->Arg(65536);
BENCHMARK(judge)->Arg(0)->Arg(64)->Arg(256)->Arg(1024)->Arg(4096)->Arg(65536);

}  // namespace
}  // namespace caisson::log

BENCHMARK_MAIN();
