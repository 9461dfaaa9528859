// SPDX-License-Identifier: BSD-3-Clause
// caisson::Code as a number on the wire. The numbers are frozen: a new code goes to the end,
// whatever its place in the enumeration (R46). Listed in core/control/control.proto.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "caisson/types.hpp"

namespace caisson::control {

// Index = number on the wire.
inline constexpr std::array kWireCodes = {
    Code::ok,
    Code::again,
    Code::not_leader,
    Code::fenced,
    Code::closed,
    Code::indefinite,
    Code::timed_out,
    Code::not_appended,
    Code::trimmed,
    Code::not_yet,
    Code::held,
    Code::no_quorum,
    Code::invalid,
    Code::too_large,
    Code::unsupported,
    Code::exists,
    Code::not_found,
    Code::wrong_cluster,
    Code::wrong_version,
    Code::stale_stream,
    Code::broken_stream,
    Code::aged_out,
    Code::identity_reused,
    Code::denied,
    Code::busy,
    Code::damaged,
    Code::amnesia,
    Code::no_space,
    Code::io,
    Code::internal,
    Code::wrong_view,
    Code::revoked,
};

constexpr uint32_t code_to_wire(Code code) {
  for (uint32_t i = 0; i < kWireCodes.size(); ++i) {
    if (kWireCodes[i] == code) return i;
  }
  return code_to_wire(Code::internal);
}

constexpr std::optional<Code> code_from_wire(uint32_t number) {
  if (number >= kWireCodes.size()) return std::nullopt;
  return kWireCodes[number];
}

static_assert(code_to_wire(Code::ok) == 0 && code_to_wire(Code::internal) == 29);

}  // namespace caisson::control
