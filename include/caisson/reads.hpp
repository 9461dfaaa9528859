// SPDX-License-Identifier: BSD-3-Clause
// How fresh a read is (R31). A linearizable read is one of a position: Log::read_point() says up to
// where this replica has to be read so that nothing is missed that was acknowledged, at the levels
// persisted and all, before the call.
#pragma once

#include <cstdint>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson {

enum class ReadPath : uint8_t {
  log = 1,     // the leader commits an entry of its own; readers that come together share one
  leader = 2,  // the leader proves that it still leads, and says up to where the log is committed
  proof = 3,   // this replica makes that proof itself, one-sidedly, and looks into the others'
               // rings: no processor but its own takes part
};
std::string_view name(ReadPath path);

// A session read: nothing older than what the session has seen or written (its highest position).
struct ReadOptions {
  Position minimum;         // this replica must have committed it first; 0: as it is, maybe stale
  uint64_t timeout_ns = 0;  // how long to wait for that; then not_yet
};

}  // namespace caisson
