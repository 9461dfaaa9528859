// SPDX-License-Identifier: BSD-3-Clause
// A small ring with valid entries, for fuzzers that damage it.
#pragma once

#include <cstring>
#include <vector>

#include "core/log/ring.hpp"

namespace caisson::fuzz {

inline constexpr uint64_t kFuzzRingBytes = 8192;

inline LogIdentity fuzz_identity() {
  LogIdentity identity;
  identity.cluster.fill(0x5a);
  identity.log = 7;
  return identity;
}

// Both halves of the "doubly mapped" ring are kept equal by hand.
class RingBuilder {
 public:
  RingBuilder() : bytes_(2 * kFuzzRingBytes), tail_(log::origin(fuzz_identity())) {}

  log::Ring ring() const { return {bytes_.data(), kFuzzRingBytes}; }
  const log::Cursor& tail() const { return tail_; }

  bool fits(uint64_t payload_bytes, Offset window_end) const {
    return tail_.end + log::entry_bytes(payload_bytes) <= window_end;
  }

  // Fills position, offset, format and checksums of `header`, and appends the entry.
  void append(log::EntryHeader header, const std::vector<std::byte>& payload) {
    header.position = tail_.position.value + 1;
    header.offset_line = log::offset_line(tail_.end);
    header.payload_bytes = static_cast<uint32_t>(payload.size());
    header.format = log::kEntryFormat;
    const uint32_t payload_crc = log::crc32c(log::kCrcSeed, payload.data(), payload.size());
    const uint32_t chain = log::seal_header(header, tail_.chain, payload_crc);
    std::vector<std::byte> entry(log::entry_bytes(payload.size()));
    std::memcpy(entry.data(), &header, sizeof header);
    if (!payload.empty()) {
      std::memcpy(entry.data() + sizeof header, payload.data(), payload.size());
    }
    for (size_t i = 0; i < entry.size(); ++i) set(tail_.end + i, entry[i]);
    tail_ = {Position{header.position}, tail_.end + entry.size(), Term{header.term}, chain};
  }

  std::byte get(Offset at) const { return bytes_[at.value % kFuzzRingBytes]; }
  void set(Offset at, std::byte value) {
    bytes_[at.value % kFuzzRingBytes] = value;
    bytes_[at.value % kFuzzRingBytes + kFuzzRingBytes] = value;
  }

 private:
  std::vector<std::byte> bytes_;
  log::Cursor tail_;
};

}  // namespace caisson::fuzz
