// SPDX-License-Identifier: BSD-3-Clause
// Media and wire layout of an entry; explained in docs/format.md. An entry is a 64-byte header,
// then the payload, then zero bytes up to the next multiple of 64: no cache line ever belongs to
// two entries, so appending never rewrites a line that is already persistent.
//
// Two checksums. `header_crc` stands alone: it tells damage from a tail (P16). `chain` binds the
// entry to everything before it (P14):
//     h          = crc32c(seed, bytes 8 … 63)
//     p          = crc32c(seed, payload)
//     chain      = crc32c_u64(previous chain, h | p << 32)
//     header_crc = crc32c_u32(h, chain)
// h and p do not depend on the previous entry, so the serial part of a chain costs one instruction
// an entry.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "caisson/types.hpp"
#include "core/log/crc32c.hpp"

namespace caisson::log {

static_assert(std::endian::native == std::endian::little, "layouts are little endian");

inline constexpr uint16_t kEntryFormat = 1;

enum class Kind : uint8_t {
  data = 1,
  noop = 2,
  view = 3,        // payload: view_format.hpp
  term_start = 4,  // payload: TermStartPayload
  session = 5,     // a stream's new incarnation; payload: SessionPayload
  checkpoint = 6,  // reserved for the stream table carried through trims
  receipt = 7,     // a client has taken its apologies; payload: ReceiptPayload
};
inline constexpr uint8_t kKindFirst = 1;
inline constexpr uint8_t kKindLast = 7;

inline constexpr uint8_t kFlagBatchEnd = 0x01;  // adoption and commit stop only here (P10)
inline constexpr uint8_t kFlagsKnown = kFlagBatchEnd;

inline constexpr uint32_t kCommitLagUnknown = 0xffffffffu;

struct EntryHeader {
  uint32_t header_crc;
  uint32_t chain;
  uint64_t position;
  uint64_t term;
  uint32_t offset_line;  // (offset / 64) modulo 2^32
  uint32_t payload_bytes;
  uint8_t kind;
  uint8_t flags;
  uint16_t format;
  uint32_t view;
  uint64_t client;
  uint64_t sequence;
  uint32_t incarnation;
  uint32_t commit_lag;  // position - committed position when sealed, or kCommitLagUnknown
};
static_assert(sizeof(EntryHeader) == 64);
static_assert(offsetof(EntryHeader, position) == 8);
static_assert(offsetof(EntryHeader, offset_line) == 24);
static_assert(offsetof(EntryHeader, kind) == 32);
static_assert(offsetof(EntryHeader, client) == 40);
static_assert(offsetof(EntryHeader, incarnation) == 56);

inline constexpr uint64_t kHeaderBytes = sizeof(EntryHeader);
inline constexpr uint64_t kEntryAlignBytes = 64;
static_assert(kHeaderBytes % kEntryAlignBytes == 0);

constexpr uint64_t padded(uint64_t payload_bytes) {
  return (payload_bytes + kEntryAlignBytes - 1) & ~(kEntryAlignBytes - 1);
}
constexpr uint64_t entry_bytes(uint64_t payload_bytes) {
  return kHeaderBytes + padded(payload_bytes);
}

constexpr uint32_t offset_line(Offset at) {
  return static_cast<uint32_t>(at.value / kEntryAlignBytes);
}

// A header as the words of its memory. Composed field by field: words read from memory that was
// just written in narrower pieces would stall.
using HeaderWords = std::array<uint64_t, kHeaderBytes / 8>;
inline HeaderWords words_of(const EntryHeader& header) {
  return {uint64_t{header.header_crc} | uint64_t{header.chain} << 32,
          header.position,
          header.term,
          uint64_t{header.offset_line} | uint64_t{header.payload_bytes} << 32,
          uint64_t{header.kind} | uint64_t{header.flags} << 8 | uint64_t{header.format} << 16 |
              uint64_t{header.view} << 32,
          header.client,
          header.sequence,
          uint64_t{header.incarnation} | uint64_t{header.commit_lag} << 32};
}

// h above: over everything behind the two checksum fields.
inline uint32_t header_hash(const HeaderWords& words) {
  uint32_t crc = kCrcSeed;
  for (size_t i = 1; i < words.size(); ++i) crc = crc32c_u64(crc, words[i]);
  return crc;
}
inline uint32_t header_hash(const EntryHeader& header) {
  HeaderWords words;
  std::memcpy(&words, &header, sizeof words);
  return header_hash(words);
}

inline uint32_t chain_next(uint32_t previous_chain, uint32_t header_hash, uint32_t payload_crc) {
  return crc32c_u64(previous_chain, uint64_t{header_hash} | uint64_t{payload_crc} << 32);
}

// Fills both checksums; returns the whole header as words.
inline HeaderWords sealed_words(EntryHeader& header, uint32_t previous_chain,
                                uint32_t payload_crc) {
  HeaderWords words = words_of(header);
  const uint32_t hash = header_hash(words);
  header.chain = chain_next(previous_chain, hash, payload_crc);
  header.header_crc = crc32c_u32(hash, header.chain);
  words[0] = uint64_t{header.header_crc} | uint64_t{header.chain} << 32;
  return words;
}

// Word by word: see words_of(). No loop, which the compiler would take for a copy of memory.
inline void store_words(std::byte* at, const HeaderWords& words) {
  [&]<size_t... I>(std::index_sequence<I...>) { (std::memcpy(at + 8 * I, &words[I], 8), ...); }
  (std::make_index_sequence<std::tuple_size_v<HeaderWords>>());
}

// Fills both checksums; returns the new chain value.
inline uint32_t seal_header(EntryHeader& header, uint32_t previous_chain, uint32_t payload_crc) {
  (void)sealed_words(header, previous_chain, payload_crc);
  return header.chain;
}

inline EntryHeader load_header(const std::byte* at) {
  EntryHeader header;
  std::memcpy(&header, at, sizeof header);
  return header;
}

// True if the header's own checksum holds and every field is of this format. Says nothing about the
// chain or the payload. `hash` is header_hash(header).
inline bool header_sound(const EntryHeader& header, uint32_t hash) {
  return crc32c_u32(hash, header.chain) == header.header_crc && header.format == kEntryFormat &&
         header.kind >= kKindFirst && header.kind <= kKindLast &&
         (header.flags & ~kFlagsKnown) == 0;
}
inline bool header_sound(const EntryHeader& header) {
  return header_sound(header, header_hash(header));
}

// Chain value before position 1: names the log, so that entries of another log never chain (P14).
uint32_t chain_seed(const LogIdentity& identity);

// Payload of a term start. `nonce` is random and never shown to clients: no payload byte can be
// chosen so as to continue a chain that runs through it (P14).
struct TermStartPayload {
  uint64_t nonce;
  uint64_t adopted_position;  // last position taken over from earlier terms
  uint64_t adopted_term;
  uint32_t view;
  uint32_t reserved;
};
static_assert(sizeof(TermStartPayload) == 32);

struct SessionPayload {
  uint64_t previous_last_sequence;
  uint32_t previous_incarnation;
  uint32_t resume;  // 1: the sequence goes on; 0: it starts again at 1
  // What its client had been told was appended, and is not in the log (R13). lost_last 0: nothing.
  uint64_t lost_first;
  uint64_t lost_last;
  uint32_t lost_incarnation;
  uint32_t reserved;
};
static_assert(sizeof(SessionPayload) == 40);
inline constexpr size_t kSessionBytesMin = 16;  // where nothing is lost, the rest may be missing

struct ReceiptPayload {
  uint64_t through;  // the apologies noted at this position or before
};
static_assert(sizeof(ReceiptPayload) == 8);

}  // namespace caisson::log
