// SPDX-License-Identifier: BSD-3-Clause
// Counts this program's heap allocations: malloc, calloc, realloc and their aligned kin are
// interposed, operator new ends there too.
#pragma once

#include <cstdint>

namespace caisson::bench {

// False under a sanitizer, which brings its own allocator.
bool allocations_counted();
uint64_t allocations_of_this_thread();
uint64_t allocations_of_this_process();

}  // namespace caisson::bench
