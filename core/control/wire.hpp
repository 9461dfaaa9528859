// SPDX-License-Identifier: BSD-3-Clause
// Control messages as bytes: protobuf inside a small envelope (core/control/control.proto).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "caisson/types.hpp"
#include "core/control/messages.hpp"

namespace caisson::control {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kMessageBytesMax = size_t{1} << 20;
inline constexpr size_t kGrantBlobBytesMax = size_t{64} << 10;

struct Envelope {
  LogIdentity log;
  ReplicaId from;
  ReplicaId to;
  Message message;
};

std::string encode(const Envelope& envelope);

// Code::invalid: not a message, or a field out of its range · wrong_version: a newer protocol.
Result<Envelope> decode(std::span<const std::byte> bytes);

}  // namespace caisson::control
