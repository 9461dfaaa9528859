// SPDX-License-Identifier: BSD-3-Clause
// Shared by the two halves of the client protocol's codec; not for anybody else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/control/wire_code.hpp"
#include "core/engine/client.pb.h"
#include "core/engine/client_protocol.hpp"

namespace caisson::engine::client {

inline tl::unexpected<Error> refuse(std::string_view what) {
  return fail(Code::invalid, "client message refused: " + std::string(what));
}

inline std::optional<ReplicaId> replica_or_none(uint32_t number) {
  if (number > kReplicaIdMax) return std::nullopt;
  return ReplicaId{static_cast<uint8_t>(number)};
}

// Checks what every message begins with, then parses the rest with `body_of`.
template <class Out, class Pb, class BodyOf>
Result<Out> decode_message(std::span<const std::byte> bytes, size_t bytes_max, BodyOf body_of) {
  if (bytes.size() > bytes_max) {
    return fail(Code::too_large, "client message refused: " + std::to_string(bytes.size()) +
                                     " bytes, at most " + std::to_string(bytes_max) +
                                     " are allowed");
  }
  Pb in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return refuse("it is not a protobuf message");
  }
  if (in.version() > kClientProtocolVersion) {
    return fail(Code::wrong_version, "client message of protocol version " +
                                         std::to_string(in.version()) + ", spoken here up to " +
                                         std::to_string(kClientProtocolVersion) +
                                         ": upgrade the older side");
  }
  if (in.version() == 0) return refuse("it names no protocol version");
  auto body = body_of(in);
  if (!body) return tl::unexpected(std::move(body.error()));
  return Out{in.id(), std::move(*body)};
}

}  // namespace caisson::engine::client
