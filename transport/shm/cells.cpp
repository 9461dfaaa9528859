// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/cells.hpp"

#include <bit>
#include <cstring>

namespace caisson::transport::shm {
namespace {

// A publisher overtakes a reader's copy of 64 bytes only if it publishes twice meanwhile.
constexpr int kReadTriesMax = 16;

using IdentityWords = std::array<uint64_t, sizeof(pmem::ProcessIdentity) / sizeof(uint64_t)>;

}  // namespace

void publish_cell(PublishedLine& line, const TargetCell& cell) {
  const uint64_t next = load_word(line.sequence) + 1;
  const TargetCellWords words = words_of(cell);
  for (size_t i = 0; i < words.size(); ++i) store_word(line.value[next % 2][i], words[i]);
  store_word(line.sequence, next);
}

TargetCell read_cell(const PublishedLine& line, const TargetCell& fallback) {
  for (int i = 0; i < kReadTriesMax; ++i) {
    const uint64_t sequence = load_word(line.sequence);
    if (sequence == 0) return fallback;
    TargetCellWords words;
    for (size_t w = 0; w < words.size(); ++w) words[w] = load_word(line.value[sequence % 2][w]);
    if (load_word(line.sequence) == sequence) return cell_of(words);
  }
  return fallback;
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
