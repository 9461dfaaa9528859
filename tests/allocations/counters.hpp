// SPDX-License-Identifier: BSD-3-Clause
// Counts what a thread must not do in the steady state: allocate, and enter the kernel.
#pragma once

#include <cstdint>

namespace caisson::allocations_test {

// False under a sanitizer, whose runtime allocates and enters the kernel on its own account.
bool countable();

// Heap allocations of the calling thread so far: malloc and its kin, operator new among them.
uint64_t allocations();

// From here on the calling thread's system calls fail and are counted, until the process ends.
// Those that a test needs to report and to end (write, exit, getrusage) still work. False: not
// possible here.
bool trap_system_calls();
uint64_t trapped_system_calls();
long first_trapped_system_call();  // its number; -1: none

}  // namespace caisson::allocations_test
