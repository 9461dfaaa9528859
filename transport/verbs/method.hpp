// SPDX-License-Identifier: BSD-3-Clause
// How what adapters write to a replica becomes persistent, and which way is taken where. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson::transport::verbs {

// How what is written to a replica becomes persistent (R12).
enum class Method : uint8_t {
  none = 0,              // nothing is established
  flush = 1,             // RDMA FLUSH behind each batch
  read_after_write = 2,  // a read behind each batch: what it overtakes has left the adapter. The
                         // platform must not place it in caches that power takes (DDIO off), or
                         // these must be safe (eADR), or nobody claims more than emulation
  target_flush = 3,      // the last write of each batch says how far it goes; the target's poller
                         // flushes its caches that far, and says so
};

std::string_view name(Method method);

struct Ground {
  bool flush = false;  // the adapter, and the library that this was built with, have RDMA FLUSH
  Persistence persistence = Persistence::none;  // of the region
  bool past_caches = false;  // adapters write to memory past the caches: said, not found out
};

// `wanted`: by whoever set the machine up; else the first way that is possible. unsupported: that
// one is not, see the message, which names the adapter and the region.
Result<Method> choose_method(const Ground& ground, std::optional<Method> wanted,
                             const std::string& adapter, const std::string& region);

// … where the region does not let itself be registered for RDMA FLUSH.
Method without_flush(const Ground& ground);

// Toward one writer: for who cannot flush it is done here.
Method method_toward(Method own, bool writer_flushes, bool past_caches);

}  // namespace caisson::transport::verbs
