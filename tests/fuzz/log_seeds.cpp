// SPDX-License-Identifier: BSD-3-Clause
#include <string>

#include "core/log/superblock_format.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {
namespace {

log::EntryHeader header_of(log::Kind kind, uint64_t term) {
  log::EntryHeader header{};
  header.kind = static_cast<uint8_t>(kind);
  header.flags = log::kFlagBatchEnd;
  header.term = term;
  header.view = 1;
  header.client = 42;
  header.incarnation = 1;
  header.commit_lag = log::kCommitLagUnknown;
  return header;
}

std::string as_string(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}

}  // namespace

void entry_seeds(const AddSeed& add) {
  RingBuilder builder;
  const uint32_t chain = builder.tail().chain;
  builder.append(header_of(log::Kind::term_start, 257),
                 std::vector<std::byte>(sizeof(log::TermStartPayload)));
  for (size_t n : {0u, 1u, 63u, 64u, 65u, 300u}) {
    builder.append(header_of(log::Kind::data, 257), std::vector<std::byte>(n, std::byte{0x41}));
  }
  builder.append(header_of(log::Kind::noop, 513), std::vector<std::byte>(128));
  const std::string ring = as_string(builder.ring().at(Offset{0}), builder.tail().end.value + 64);
  for (uint32_t sealed : {0u, 1u}) {
    const uint64_t term = 0;
    add(as_string(&term, 8) + as_string(&chain, 4) + as_string(&sealed, 4) + ring);
  }
}

void ring_seeds(const AddSeed& add) {
  for (int variant = 0; variant < 8; ++variant) {
    std::string seed;
    for (int i = 0; i < 12; ++i) seed.push_back(static_cast<char>(variant * 31 + i * 7));
    // Each entry: shape, payload length (4 bytes), fill.
    for (int i = 0; i < 20 + variant * 12; ++i) {
      const auto n = static_cast<uint32_t>(i * 37 % 650);
      seed.push_back(static_cast<char>(i % 11 == 0 ? 0x10 | i : i));
      seed += as_string(&n, 4);
      seed.push_back(static_cast<char>(i));
    }
    add(seed);
  }
}

void superblock_seeds(const AddSeed& add) {
  log::Superblock superblock;
  superblock.identity = fuzz_identity();
  superblock.replica = ReplicaId{2};
  superblock.ring_bytes = uint64_t{1} << 20;
  superblock.incarnation = Incarnation{3};
  superblock.promised = Term{258};
  superblock.membership.view = View{1};
  superblock.membership.voters = {0b1110};
  superblock.membership.joining = {0b10000};
  superblock.membership.births[4] = 77;
  superblock.view_position = Position{1};
  superblock.trim = log::origin(superblock.identity);
  superblock.validated = superblock.trim;
  const log::SuperblockBytes bytes = log::encode(superblock);
  add(as_string(bytes.data(), bytes.size()));
}

}  // namespace caisson::fuzz
