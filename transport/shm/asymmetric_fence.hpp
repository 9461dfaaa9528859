// SPDX-License-Identifier: BSD-3-Clause
// The two halves of the fence between a writer and its revoker (P6, H7).
//
//   writer                              revoker
//   store bytes (or an allowance)       store the mark "closed"
//   light half                          heavy half
//   load the mark, then count           load the allowances, copy the bytes
//
// Each side stores, then loads what the other stores. Without a full fence on both sides either
// load may overtake its own store: bytes would be counted and not copied. A writer passes here with
// every append, a revoker once in a failover; so the revoker pays for both, by having the kernel
// execute a full fence on every processor that runs a registered process.
#pragma once

namespace caisson::transport::shm {

// Makes this process one whose processors the heavy half fences. Once per process, before its first
// grant is taken up; repeating it does no harm. False where the kernel cannot do it.
bool register_light_half();

// True if heavy_half() works in this process.
bool heavy_half_available();

// When it returns, every registered process's threads have executed a full fence after this call
// began. Also a full fence of the calling thread. False if that could not be had.
[[nodiscard]] bool heavy_half();

}  // namespace caisson::transport::shm
