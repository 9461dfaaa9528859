// SPDX-License-Identifier: BSD-3-Clause
// What a part of a fabric has to tell its like at a peer (transport::Introducible), beside the
// control messages: a frame of a control link whose first byte is 2. What it says is the fabric's
// own. Explained in docs/format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "caisson/types.hpp"

namespace caisson::control {

inline constexpr uint32_t kIntroductionMagic = 0x4e494302;  // "\2CIN"
inline constexpr uint16_t kIntroductionVersion = 1;
inline constexpr size_t kIntroductionBytesMax = 4096;

struct IntroductionFrame {
  LogIdentity log;  // log 0: the node's own
  ReplicaId from;
  ReplicaId to;
  std::span<const std::byte> introduction;  // decoded: within the frame
};

struct IntroductionHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t from;
  uint8_t to;
  uint8_t cluster[16];
  uint64_t log;
  uint32_t payload_bytes;  // that many follow, at least 1
  uint32_t checksum;       // CRC32C of everything in front of it, then of the payload
};
static_assert(sizeof(IntroductionHeader) == 40);

bool is_introduction_frame(std::span<const std::byte> frame);
std::string encode_introduction(const IntroductionFrame& frame);
// invalid: not such a frame, or fields out of their range · damaged: the checksum does not hold ·
// wrong_version: a newer format.
Result<IntroductionFrame> decode_introduction(std::span<const std::byte> frame);

}  // namespace caisson::control
