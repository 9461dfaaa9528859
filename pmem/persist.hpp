// SPDX-License-Identifier: BSD-3-Clause
// The instructions by which bytes become visible and persistent, each named by what it orders.
//
// The memory model is x86-TSO plus non-temporal stores (R47): ordinary stores become visible in
// program order; non-temporal ones leave through write-combining buffers, in any order, until a
// fence drains them.
#pragma once

#include <emmintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson::pmem {

// Orders this processor's earlier stores (non-temporal ones and cache line write-backs included)
// before its later stores, as seen by every other processor and by the memory controller. After it,
// what was stored non-temporally is visible to all, and persistent where the controller is in the
// persistence domain (ADR). Does not hold back later loads.
inline void store_fence() { _mm_sfence(); }

// Orders this processor's earlier stores before its later loads, as seen by every other processor:
// the writer's half of the race with a revocation (P6, H7) where the revoker cannot provide it.
inline void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// Keeps the compiler from moving memory accesses across; the processor may still do so. The light
// half of an asymmetric fence: its heavy half is membarrier() on the revoker's side (P6).
inline void light_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// Copying kernels chosen once, from what the processor offers and from what persistence asks for.
// Plain function pointers in a constant table: no hidden state, no resolver at load time.
struct Kernels {
  // Copies n bytes with non-temporal stores for every whole line of the destination. Lines touched
  // in part are stored ordinarily and written back. Visible and persistent after store_fence().
  void (*copy)(std::byte* to, const void* from, size_t n);

  // As copy, from one source to `count` destinations in one pass over the source. All destinations
  // have the same address modulo 64.
  void (*fan_copy)(std::byte* const* to, size_t count, const void* from, size_t n);

  // Starts the write-back of every line of [at, at + n). Complete after store_fence(). Does nothing
  // where a store is persistent as soon as it is visible (emulated, eADR).
  void (*flush_lines)(const void* at, size_t n);

  std::string_view name;  // "avx512", "avx2" or "sse2"
};

enum class InstructionSet : uint8_t { sse2, avx2, avx512 };

// The widest instruction set of this processor.
InstructionSet widest_instruction_set();

Kernels choose_kernels(Persistence persistence, InstructionSet set = widest_instruction_set());

}  // namespace caisson::pmem
