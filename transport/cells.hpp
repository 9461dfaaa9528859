// SPDX-License-Identifier: BSD-3-Clause
// Small values in memory that another process or an adapter writes, or reads, at any moment.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "caisson/types.hpp"
#include "transport/fabric.hpp"

namespace caisson::transport {

// Shared words are accessed as atomics only. The pages are writable for every process that maps
// them.
inline uint64_t load_word(const uint64_t& word) {
  return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(word)).load(std::memory_order_acquire);
}
inline void store_word(uint64_t& word, uint64_t value) {
  std::atomic_ref<uint64_t>(word).store(value, std::memory_order_release);
}

inline constexpr size_t kTargetCellWords = 8;
using TargetCellWords = std::array<uint64_t, kTargetCellWords>;
TargetCellWords words_of(const TargetCell& cell);
TargetCell cell_of(const TargetCellWords& words);

// The idle commit mark (P11).
struct alignas(64) CommitLine {
  uint64_t term;
  uint64_t committed;
  uint64_t trim_to;
  uint64_t chain_and_crc;  // low half: chain value; high half: checksum of the 28 bytes up to there
  uint64_t reserved[4];
};
static_assert(sizeof(CommitLine) == 64);
static_assert(offsetof(CommitLine, chain_and_crc) == 24);

void write_commit(CommitLine& line, const CommitCell& cell);

// All zero if torn or never written.
CommitCell read_commit(const CommitLine& line);

}  // namespace caisson::transport
