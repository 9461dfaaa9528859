// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a ring: step() reads nothing outside of its window, always ends, and what it
// accepts is consistent. Input: a cursor's term and chain, a mode, then the ring's bytes.
#include <bit>
#include <cstring>
#include <memory>

#include "core/log/ring.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace caisson;
using caisson::fuzz::require;

// Seals what the input says about headers, so that the walk gets behind the first checksum.
void seal_all(std::byte* bytes, uint64_t size, log::Cursor cursor) {
  while (cursor.end.value + log::kHeaderBytes <= size) {
    log::EntryHeader header = log::load_header(bytes + cursor.end.value);
    header.position = cursor.position.value + 1;
    header.offset_line = log::offset_line(cursor.end);
    header.format = log::kEntryFormat;
    const uint64_t entry_bytes = log::entry_bytes(header.payload_bytes);
    if (entry_bytes > size - cursor.end.value) return;
    const std::byte* payload = bytes + cursor.end.value + log::kHeaderBytes;
    const uint32_t crc = log::crc32c(log::kCrcSeed, payload, header.payload_bytes);
    const uint32_t chain = log::seal_header(header, cursor.chain, crc);
    std::memcpy(bytes + cursor.end.value, &header, sizeof header);
    cursor = {cursor.position + 1, cursor.end + entry_bytes, Term{header.term}, chain};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kPrefixBytes = 16;
  if (size < kPrefixBytes) return 0;
  fuzz::Reader reader(data, size);
  log::Cursor cursor;
  cursor.term = Term{reader.take<uint64_t>()};
  cursor.chain = reader.take<uint32_t>();
  const bool sealed = (reader.take<uint32_t>() & 1) != 0;

  // A copy of exactly the window: a byte read behind it is found by the address sanitizer.
  const uint64_t window_bytes = size - kPrefixBytes;
  const auto bytes = std::make_unique<std::byte[]>(window_bytes);
  std::memcpy(bytes.get(), data + kPrefixBytes, window_bytes);
  if (sealed) seal_all(bytes.get(), window_bytes, cursor);

  const log::Ring ring(bytes.get(), std::bit_ceil(window_bytes + 1));
  const Offset window_end{window_bytes};
  for (;;) {
    const log::Step step = log::step(ring, cursor, window_end);
    if (step.reason != log::Break::none) {
      require(log::name(step.reason) != "?", "every break has a name");
      break;
    }
    require(step.next.position == cursor.position + 1, "positions are contiguous");
    require(step.next.end > cursor.end && step.next.end <= window_end, "the walk goes forward");
    require(step.next.end.value % log::kEntryAlignBytes == 0, "entries are aligned");
    require(step.next.term >= cursor.term, "terms do not go back");
    require(step.header.kind >= log::kKindFirst && step.header.kind <= log::kKindLast,
            "only known kinds are accepted");
    require(log::payload(ring, cursor.end, step.header).size() == step.header.payload_bytes,
            "the payload is the header's");
    cursor = step.next;
  }
  return 0;
}
