// SPDX-License-Identifier: BSD-3-Clause
#include "transport/cells.hpp"

#include "pmem/checksum.hpp"

namespace caisson::transport {

namespace {

uint32_t commit_crc(uint64_t term, uint64_t committed, uint64_t trim_to, uint32_t chain) {
  const std::array<uint64_t, 3> words{term, committed, trim_to};
  const uint32_t crc = pmem::checksum(pmem::kChecksumSeed, words.data(), sizeof words);
  return pmem::checksum(crc, &chain, sizeof chain);
}

}  // namespace

TargetCellWords words_of(const TargetCell& cell) {
  return {
      cell.term.value,    cell.incarnation.value, cell.validated.value, cell.validated_end.value,
      cell.applied.value, cell.head.value,        cell.trimmed.value,   cell.fault};
}

TargetCell cell_of(const TargetCellWords& words) {
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

}  // namespace caisson::transport
