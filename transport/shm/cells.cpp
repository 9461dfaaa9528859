// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/cells.hpp"

#include <bit>
#include <cstring>

#include "pmem/checksum.hpp"

namespace caisson::transport::shm {
namespace {

using CellWords = std::array<uint64_t, kTargetCellWords>;

CellWords words_of(const TargetCell& cell) {
  return {
      cell.term.value,    cell.incarnation.value, cell.validated.value, cell.validated_end.value,
      cell.applied.value, cell.head.value,        cell.trimmed.value,   cell.fault};
}

TargetCell cell_of(const CellWords& words) {
  TargetCell cell;
  cell.term = Term{words[0]};
  cell.incarnation = Incarnation{words[1]};
  cell.validated = Position{words[2]};
  cell.validated_end = Offset{words[3]};
  cell.applied = Position{words[4]};
  cell.head = Offset{words[5]};
  cell.trimmed = Position{words[6]};
  cell.fault = words[7];
  return cell;
}

// A publisher overtakes a reader's copy of 64 bytes only if it publishes twice meanwhile.
constexpr int kReadTriesMax = 16;

using IdentityWords = std::array<uint64_t, sizeof(pmem::ProcessIdentity) / sizeof(uint64_t)>;

uint32_t commit_crc(uint64_t term, uint64_t committed, uint64_t trim_to, uint32_t chain) {
  const std::array<uint64_t, 3> words{term, committed, trim_to};
  const uint32_t crc = pmem::checksum(pmem::kChecksumSeed, words.data(), sizeof words);
  return pmem::checksum(crc, &chain, sizeof chain);
}

}  // namespace

void publish_cell(PublishedLine& line, const TargetCell& cell) {
  const uint64_t next = load_word(line.sequence) + 1;
  const CellWords words = words_of(cell);
  for (size_t i = 0; i < words.size(); ++i) store_word(line.value[next % 2][i], words[i]);
  store_word(line.sequence, next);
}

TargetCell read_cell(const PublishedLine& line, const TargetCell& fallback) {
  for (int i = 0; i < kReadTriesMax; ++i) {
    const uint64_t sequence = load_word(line.sequence);
    if (sequence == 0) return fallback;
    CellWords words;
    for (size_t w = 0; w < words.size(); ++w) words[w] = load_word(line.value[sequence % 2][w]);
    if (load_word(line.sequence) == sequence) return cell_of(words);
  }
  return fallback;
}

void write_commit(CommitLine& line, const CommitCell& cell) {
  const uint32_t crc =
      commit_crc(cell.term.value, cell.committed.value, cell.trim_to.value, cell.chain);
  store_word(line.term, cell.term.value);
  store_word(line.committed, cell.committed.value);
  store_word(line.trim_to, cell.trim_to.value);
  store_word(line.chain_and_crc, uint64_t{cell.chain} | uint64_t{crc} << 32);
}

CommitCell read_commit(const CommitLine& line) {
  CommitCell cell;
  cell.term = Term{load_word(line.term)};
  cell.committed = Position{load_word(line.committed)};
  cell.trim_to = Position{load_word(line.trim_to)};
  const uint64_t tail = load_word(line.chain_and_crc);
  cell.chain = static_cast<uint32_t>(tail);
  const uint32_t crc =
      commit_crc(cell.term.value, cell.committed.value, cell.trim_to.value, cell.chain);
  return crc == tail >> 32 ? cell : CommitCell{};
}

void write_process(pmem::ProcessIdentity& where, const pmem::ProcessIdentity& process) {
  const auto words = std::bit_cast<IdentityWords>(process);
  auto* to = reinterpret_cast<uint64_t*>(&where);
  for (size_t i = 0; i < words.size(); ++i) store_word(to[i], words[i]);
}

pmem::ProcessIdentity read_process(const pmem::ProcessIdentity& where) {
  IdentityWords words;
  const auto* from = reinterpret_cast<const uint64_t*>(&where);
  for (size_t i = 0; i < words.size(); ++i) words[i] = load_word(from[i]);
  return std::bit_cast<pmem::ProcessIdentity>(words);
}

Result<GrantBlob> decode_grant_blob(std::span<const std::byte> blob) {
  GrantBlob grant;
  if (blob.size() != sizeof grant) return fail(Code::invalid, "not a shared-memory grant");
  std::memcpy(&grant, blob.data(), sizeof grant);
  if (grant.magic != kControlMagic) {
    return fail(Code::invalid, "not a shared-memory grant of this version");
  }
  const pmem::Geometry geometry{grant.ring_bytes, grant.segment_bytes, 0};
  if (const char* fault = pmem::geometry_fault(geometry)) return fail(Code::invalid, fault);
  return grant;
}

}  // namespace caisson::transport::shm
