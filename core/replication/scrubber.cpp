// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/scrubber.hpp"

#include <algorithm>
#include <cstring>

namespace caisson::replication {

Scrubber::Scrubber(Context& context)
    : c_(context),
      bytes_per_s_(context.options.scrub_bytes_per_s),
      at_(context.state.trim_cursor()) {
  if (bytes_per_s_ == 0) due_ns_ = overdue_ns_ = UINT64_MAX;
}

void Scrubber::rest(uint64_t now_ns, uint64_t wait_ns) {
  due_ns_ = now_ns + std::max(wait_ns, kPauseNs);
  overdue_ns_ = due_ns_ + kPatienceNs;
}

void Scrubber::piece(uint64_t now_ns) {
  const log::LogState& state = c_.state;
  // Trimmed beneath us, or the log has begun anew behind a base.
  if (at_.position < state.trimmed()) {
    at_ = state.trim_cursor();
    rotten_ = status_.rotten = Position{};
  }
  uint64_t spent = 0;
  while (spent < kPieceBytes) {
    if (at_.position >= state.committed()) {
      if (at_.position > state.trimmed()) ++status_.rounds;
      at_ = state.trim_cursor();
      break;
    }
    const log::Step next = log::step(state.ring(), at_, state.committed_end());
    if (next.reason != log::Break::none) {
      if (!mend()) return rest(now_ns, kRetryNs);
      continue;
    }
    spent += next.next.end - at_.end;
    at_ = next.next;
    status_.through = at_.position;
  }
  rest(now_ns, spent * 1'000'000'000 / bytes_per_s_);
}

// The entry behind at_ does not hold. True if now it does.
bool Scrubber::mend() {
  const Position p = at_.position + 1;
  if (p != rotten_) ++status_.findings;
  rotten_ = status_.rotten = p;
  bool mended = false;
  for_each(c_.options.peers, [&](ReplicaId peer) {
    if (mended || !fetch(peer)) return;
    store_differing();
    mended = log::step(c_.state.ring(), at_, c_.state.committed_end()).reason == log::Break::none;
  });
  if (!mended) return false;
  ++status_.repaired;
  rotten_ = status_.rotten = Position{};
  return true;
}

// An entry lies at the same offset everywhere. Which one it is, its term says (P14): an orphan of
// another term may continue the same chain.
bool Scrubber::fetch(ReplicaId from) {
  const uint64_t room = c_.state.committed_end() - at_.end;
  log::EntryHeader header;
  if (room < sizeof header || !c_.endpoint.read(from, at_.end, &header, sizeof header)) {
    return false;
  }
  const uint64_t bytes = log::entry_bytes(header.payload_bytes);
  if (!log::header_sound(header) || bytes > room) return false;
  fetched_.resize(bytes);
  if (!c_.endpoint.read(from, at_.end, fetched_.data(), bytes)) return false;
  // What was judged is what is used.
  header = log::load_header(fetched_.data());
  const uint32_t hash = log::header_hash(header);
  const Position p = at_.position + 1;
  if (!log::header_sound(header, hash) || log::entry_bytes(header.payload_bytes) != bytes ||
      Position{header.position} != p || header.offset_line != log::offset_line(at_.end) ||
      Term{header.term} != c_.state.term_at(p)) {
    return false;
  }
  const uint32_t crc =
      log::crc32c(log::kCrcSeed, fetched_.data() + log::kHeaderBytes, header.payload_bytes);
  return log::chain_next(at_.chain, hash, crc) == header.chain;
}

// Only what is rotten is written: a cut in the middle leaves every line that was good as it was
// (P15).
void Scrubber::store_differing() {
  for (uint64_t i = 0; i < fetched_.size(); i += kCacheLineBytes) {
    const std::byte* const line = fetched_.data() + i;
    if (std::memcmp(c_.state.ring().at(at_.end + i), line, kCacheLineBytes) == 0) continue;
    c_.region.store_ring(at_.end + i, line, kCacheLineBytes);
  }
  c_.region.persist_ring(at_.end, fetched_.size());
}

}  // namespace caisson::replication
