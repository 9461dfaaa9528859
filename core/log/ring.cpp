// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/ring.hpp"

#include <algorithm>

namespace caisson::log {

std::string_view name(Break reason) {
  switch (reason) {
    case Break::none: return "none";
    case Break::window: return "window";
    case Break::blank: return "blank";
    case Break::header: return "header";
    case Break::position: return "position";
    case Break::term_order: return "term_order";
    case Break::chain: return "chain";
  }
  return "?";
}

namespace {

// Small entries come faster than the processor's own prefetcher follows a writer's stores.
constexpr uint64_t kAheadBytes = 1024;

void prefetch_behind(const std::byte* at, uint64_t bytes) {
  if (bytes > kAheadBytes) return;
  for (uint64_t line = 0; line < bytes; line += kCacheLineBytes) {
    __builtin_prefetch(at + kAheadBytes + line);
  }
}

bool is_blank(const std::byte* line) {
  return std::all_of(line, line + kHeaderBytes, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

Step step(const Ring& ring, const Cursor& cursor, Offset window_end) {
  Step result;
  const Offset at = cursor.end;
  if (at + kHeaderBytes > window_end) {
    result.reason = Break::window;
    return result;
  }
  result.header = load_header(ring.at(at));
  const EntryHeader& header = result.header;
  const uint32_t hash = header_hash(header);
  if (!header_sound(header, hash)) {
    result.reason = is_blank(ring.at(at)) ? Break::blank : Break::header;
    return result;
  }
  if (header.position != cursor.position.value + 1 || header.offset_line != offset_line(at)) {
    result.reason = Break::position;
    return result;
  }
  if (header.term < cursor.term.value) {
    result.reason = Break::term_order;
    return result;
  }
  const uint64_t bytes = entry_bytes(header.payload_bytes);
  if (bytes > ring.bytes() || at + bytes > window_end) {
    result.reason = Break::window;
    return result;
  }
  prefetch_behind(ring.at(at), bytes);
  result.payload_crc = crc32c(kCrcSeed, ring.at(at + kHeaderBytes), header.payload_bytes);
  if (chain_next(cursor.chain, hash, result.payload_crc) != header.chain) {
    result.reason = Break::chain;
    return result;
  }
  result.next = Cursor{Position{header.position}, at + bytes, Term{header.term}, header.chain};
  return result;
}

}  // namespace caisson::log
