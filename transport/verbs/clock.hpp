// SPDX-License-Identifier: BSD-3-Clause
// The clock of this fabric's patience.
#pragma once

#include <chrono>
#include <cstdint>

namespace caisson::transport::verbs {

inline uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace caisson::transport::verbs
