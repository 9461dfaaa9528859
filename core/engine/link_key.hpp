// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>

namespace caisson::engine {

// Derived from one TLS session, at both of its ends alike, and known to nobody else (RFC 5705).
using LinkKey = std::array<uint8_t, 32>;

// A link has two connections: each node sends on the one that it dialled.
enum class LinkHalf : uint8_t { sending, receiving };

}  // namespace caisson::engine
