// SPDX-License-Identifier: BSD-3-Clause
// Wrong on purpose: makes a history a little untrue, as a broken engine would have it. Whoever
// judges must notice, every time. The engine itself is left alone.
#pragma once

#include <optional>
#include <string_view>

#include "tests/sim/history.hpp"

namespace caisson::simtest {

enum class Canary : uint8_t {
  none,
  lost,     // an acknowledged entry is nobody's
  early,    // an acknowledgement names a position that another entry has
  changed,  // a replica shows other bytes than another one
  hole,     // a replica's log has a hole
  stale,    // a read misses what was there
};
inline constexpr size_t kCanaries = 6;
std::string_view name(Canary canary);
std::optional<Canary> canary_of(std::string_view name);

// Where in the history: drawn from `seed`. False: it has no place for this one, and nothing
// changed.
bool spoil(History& history, Canary canary, uint64_t seed);

}  // namespace caisson::simtest
