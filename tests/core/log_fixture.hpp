// SPDX-License-Identifier: BSD-3-Clause
// A ring in plain memory, mirrored by hand, and a writer that seals entries into it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/log/log_state.hpp"

namespace caisson::log {

inline LogIdentity test_identity(uint64_t number = 7) {
  LogIdentity identity;
  for (size_t i = 0; i < identity.cluster.size(); ++i)
    identity.cluster[i] = static_cast<uint8_t>(i);
  identity.log = number;
  return identity;
}

inline std::string test_payload(uint64_t seed, size_t n) {
  std::string bytes(n, '\0');
  uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
  for (char& c : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    c = static_cast<char>(x >> 32);
  }
  return bytes;
}

// What an entry is made of, chosen by a test.
struct EntrySpec {
  uint64_t term = 1;
  Kind kind = Kind::data;
  EntryIdentity identity{};
  std::string payload;
  bool batch_end = true;
  uint32_t commit_lag = kCommitLagUnknown;
};

class MirroredRing {
 public:
  explicit MirroredRing(uint64_t ring_bytes) : bytes_(ring_bytes), memory_(2 * ring_bytes) {}
  Ring ring() const { return {memory_.data(), bytes_}; }
  uint64_t bytes() const { return bytes_; }
  void store(Offset at, const void* source, size_t n) {
    const auto* from = static_cast<const std::byte*>(source);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t place = (at.value + i) % bytes_;
      memory_[place] = memory_[place + bytes_] = from[i];
    }
  }
  void flip(uint64_t bit) {
    const uint64_t place = bit / 8 % bytes_;
    memory_[place] ^= std::byte{1} << (bit % 8);
    memory_[place + bytes_] = memory_[place];
  }
  void zero(Offset at, size_t n) {
    const std::vector<std::byte> blank(n);
    store(at, blank.data(), n);
  }

  // Seals an entry behind `cursor`; returns the cursor behind it.
  Cursor append(const Cursor& cursor, const EntrySpec& spec) {
    EntryHeader header{};
    header.position = cursor.position.value + 1;
    header.term = spec.term;
    header.offset_line = offset_line(cursor.end);
    header.payload_bytes = static_cast<uint32_t>(spec.payload.size());
    header.kind = static_cast<uint8_t>(spec.kind);
    header.flags = spec.batch_end ? kFlagBatchEnd : uint8_t{0};
    header.format = kEntryFormat;
    header.view = 1;
    header.client = spec.identity.client;
    header.sequence = spec.identity.sequence;
    header.incarnation = spec.identity.incarnation;
    header.commit_lag = spec.commit_lag;
    seal_header(header, cursor.chain, crc32c(kCrcSeed, spec.payload.data(), spec.payload.size()));
    std::vector<std::byte> bytes(entry_bytes(spec.payload.size()));
    std::memcpy(bytes.data(), &header, sizeof header);
    std::copy_n(reinterpret_cast<const std::byte*>(spec.payload.data()), spec.payload.size(),
                bytes.data() + kHeaderBytes);
    store(cursor.end, bytes.data(), bytes.size());
    return {Position{header.position}, cursor.end + bytes.size(), Term{spec.term}, header.chain};
  }

 private:
  uint64_t bytes_;
  std::vector<std::byte> memory_;
};

inline std::string as_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace caisson::log
