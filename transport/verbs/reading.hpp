// SPDX-License-Identifier: BSD-3-Clause
// The connection by which two nodes read from each other's memory: made anew as often as it takes,
// one session after another (handshake.hpp).
#pragma once

#include <cstdint>

#include "caisson/types.hpp"
#include "transport/verbs/queue_pair.hpp"
#include "transport/verbs/verbs_format.hpp"

namespace caisson::transport::verbs {

inline constexpr uint32_t kReadDepth = 16;

// Random, never 0.
uint64_t random_word();

// Connects our half in the session that `handshake` is in, and tells it how that went. What was
// under way is gone with the earlier connection. again, io: nothing has changed yet, the way there
// is not found (paths.hpp).
[[nodiscard]] Code connect_for_reading(const Device& device, QueuePair& half, Handshake& handshake,
                                       const Introduction& theirs, uint64_t own_life);

}  // namespace caisson::transport::verbs
