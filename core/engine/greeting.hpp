// SPDX-License-Identifier: BSD-3-Clause
// The first frame in each direction of a control link: who is calling, whom, in which version; and
// whether that is accepted. TLS 1.3 lets the dialling side finish its handshake before its
// certificate has been judged, so a link counts as up only once the Welcome has come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "caisson/types.hpp"
#include "core/engine/identity.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

// 2: several control messages in a frame (core/control/batch_format.hpp).
inline constexpr uint32_t kLinkVersion = 2;     // newest spoken
inline constexpr uint32_t kLinkVersionMin = 1;  // oldest spoken (R46)
inline constexpr uint32_t kLinkVersionBatches = 2;
inline constexpr size_t kGreetingBytesMax = 4096;

struct Greeting {
  uint32_t version_min = kLinkVersionMin;
  uint32_t version_max = kLinkVersion;
  Identity self;
  ReplicaId expected_node;  // 0: any
};

struct Welcome {
  Code code = Code::ok;
  uint32_t version = kLinkVersion;
  Identity self;        // of the accepting node
  std::string message;  // where code is not ok
};

std::string encode(const Greeting& greeting);
std::string encode(const Welcome& welcome);
// Code::invalid for whatever is not one.
Result<Greeting> decode_greeting(std::span<const std::byte> bytes);
Result<Welcome> decode_welcome(std::span<const std::byte> bytes);

// How `self` answers a greeting. `certificate`: the identity that TLS has proven; none without TLS.
Welcome judge(const Greeting& greeting, const std::optional<Identity>& certificate,
              const Identity& self, transport::ReplicaSet peers);

}  // namespace caisson::engine
