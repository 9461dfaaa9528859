// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/mender.hpp"

#include <cstring>

namespace caisson::replication {

bool Mender::mend(const log::Cursor& at, Offset end) {
  bool mended = false;
  for_each(c_.options.peers, [&](ReplicaId peer) {
    if (mended || !fetch(peer, at, end)) return;
    store_differing(at);
    mended = log::step(c_.state.ring(), at, end).reason == log::Break::none;
  });
  return mended;
}

// An entry lies at the same offset everywhere. Which one it is, its term says (P14): an orphan of
// another term may continue the same chain.
bool Mender::fetch(ReplicaId from, const log::Cursor& at, Offset end) {
  const uint64_t room = end - at.end;
  log::EntryHeader header;
  if (room < sizeof header || !c_.endpoint.read(from, at.end, &header, sizeof header)) {
    return false;
  }
  const uint64_t bytes = log::entry_bytes(header.payload_bytes);
  if (!log::header_sound(header) || bytes > room) return false;
  fetched_.resize(bytes);
  if (!c_.endpoint.read(from, at.end, fetched_.data(), bytes)) return false;
  // What was judged is what is used.
  header = log::load_header(fetched_.data());
  const uint32_t hash = log::header_hash(header);
  const Position p = at.position + 1;
  if (!log::header_sound(header, hash) || log::entry_bytes(header.payload_bytes) != bytes ||
      Position{header.position} != p || header.offset_line != log::offset_line(at.end) ||
      Term{header.term} != c_.state.term_at(p)) {
    return false;
  }
  const uint32_t crc =
      log::crc32c(log::kCrcSeed, fetched_.data() + log::kHeaderBytes, header.payload_bytes);
  return log::chain_next(at.chain, hash, crc) == header.chain;
}

// Only what is rotten is written: a cut in the middle leaves every line that was good as it was
// (P15).
void Mender::store_differing(const log::Cursor& at) {
  for (uint64_t i = 0; i < fetched_.size(); i += kCacheLineBytes) {
    const std::byte* const line = fetched_.data() + i;
    if (std::memcmp(c_.state.ring().at(at.end + i), line, kCacheLineBytes) == 0) continue;
    c_.region.store_ring(at.end + i, line, kCacheLineBytes);
  }
  c_.region.persist_ring(at.end, fetched_.size());
}

}  // namespace caisson::replication
