// SPDX-License-Identifier: BSD-3-Clause
// What carries an application's state between two nodes (R26), beside the control messages: frames
// of a control link whose first byte is 0, as no protobuf message's is. Explained in
// docs/format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "caisson/types.hpp"

namespace caisson::control {

inline constexpr uint32_t kStateMagic = 0x54534300;  // "\0CST"
inline constexpr uint16_t kStateVersion = 1;
inline constexpr uint32_t kStateChunkBytesMax = 512u << 10;

enum class StateKind : uint8_t {
  ask = 1,   // target to source
  give = 2,  // its answer
};

struct StateFrame {
  LogIdentity log;
  ReplicaId from;
  ReplicaId to;
  StateKind kind = StateKind::ask;
  Code code = Code::ok;              // give: ok, or why there are no bytes
  bool last = false;                 // give: the snapshot ends behind these bytes
  uint64_t nonce = 0;                // an answer repeats the question's
  uint64_t identity = 0;             // of the snapshot; ask: 0 for any
  Position position;                 // ask: the lowest that will do; give: the snapshot's
  uint64_t state_bytes = 0;          // give: of the whole snapshot; UINT64_MAX: not known
  uint64_t offset = 0;               // of the bytes asked for, or given
  uint32_t bytes_max = 0;            // ask: how many may come, at least 1
  std::span<const std::byte> bytes;  // give; decoded: within the frame
};

struct StateFrameHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t kind;
  uint8_t last;
  uint8_t cluster[16];
  uint64_t log;
  uint8_t from;
  uint8_t to;
  uint16_t reserved0;
  uint32_t code;
  uint64_t nonce;
  uint64_t identity;
  uint64_t position;
  uint64_t state_bytes;
  uint64_t offset;
  uint32_t bytes_max;
  uint32_t payload_bytes;  // that many follow
  uint32_t reserved1;
  uint32_t checksum;  // CRC32C of everything in front of it, then of the payload
};
static_assert(sizeof(StateFrameHeader) == 96);

bool is_state_frame(std::span<const std::byte> frame);
std::string encode_state(const StateFrame& frame);
// Code::invalid: not such a frame, or fields that contradict each other · damaged: the checksum
// does not hold · wrong_version.
Result<StateFrame> decode_state(std::span<const std::byte> frame);

}  // namespace caisson::control
