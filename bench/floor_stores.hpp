// SPDX-License-Identifier: BSD-3-Clause
// The ways of storing that the floor tries; written by hand, each for a fixed number of targets.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/floor.hpp"

namespace caisson::bench {

struct NamedStore {
  const char* name;
  Store store;
};

// What this processor can do, for `regions` targets (1 … kFloorRegionsMax).
std::vector<NamedStore> stores_for(size_t regions);

}  // namespace caisson::bench
