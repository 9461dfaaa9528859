// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/reader_holds.hpp"

#include <algorithm>

namespace caisson::engine {

bool ReaderHolds::Seat::renew(uint64_t expires_ns) {
  uint64_t before = expires_ns_.load(std::memory_order_acquire);
  while (before != kExpired) {
    if (expires_ns_.compare_exchange_weak(before, expires_ns, std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

ReaderHolds::Seat* ReaderHolds::take(Position nothing_above, std::string_view name,
                                     uint64_t expires_ns) {
  for (uint32_t i = 0; i < kReadersMax; ++i) {
    Seat& seat = seats_[i];
    uint64_t free = kNone;
    if (!seat.nothing_above_.compare_exchange_strong(free, nothing_above.value,
                                                     std::memory_order_acq_rel)) {
      continue;
    }
    {
      const std::lock_guard lock(names_mutex_);
      names_[i].assign(name.substr(0, kNameBytesMax));
    }
    seat.expires_ns_.store(std::max(expires_ns, kExpired + 1), std::memory_order_release);
    uint32_t used = used_.load(std::memory_order_relaxed);
    while (used < i + 1 && !used_.compare_exchange_weak(used, i + 1, std::memory_order_release)) {
    }
    return &seat;
  }
  return nullptr;
}

// The position last: from then on the seat is somebody else's.
void ReaderHolds::give_back(Seat& seat) {
  seat.expires_ns_.store(kNone, std::memory_order_release);
  seat.nothing_above_.store(kNone, std::memory_order_release);
}

Position ReaderHolds::lowest(uint64_t now_ns) {
  uint64_t lowest = kNone;
  const uint32_t used = used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    Seat& seat = seats_[i];
    uint64_t expires_ns = seat.expires_ns_.load(std::memory_order_acquire);
    if (expires_ns == kExpired) continue;
    if (expires_ns <= now_ns &&
        seat.expires_ns_.compare_exchange_strong(expires_ns, kExpired, std::memory_order_acq_rel)) {
      continue;
    }
    lowest = std::min(lowest, seat.nothing_above_.load(std::memory_order_acquire));
  }
  return Position{lowest};
}

std::vector<ReaderHolds::Reader> ReaderHolds::readers() const {
  std::vector<Reader> readers;
  const std::lock_guard lock(names_mutex_);
  const uint32_t used = used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Position nothing_above = seats_[i].nothing_above();
    const uint64_t expires_ns = seats_[i].expires_ns_.load(std::memory_order_acquire);
    if (nothing_above.value == kNone || expires_ns == kExpired) continue;
    readers.push_back({names_[i], nothing_above, expires_ns});
  }
  return readers;
}

std::optional<ReaderHolds::Reader> ReaderHolds::reader_that_holds(Position position) const {
  std::optional<Reader> longest;
  for (Reader& reader : readers()) {
    if (reader.nothing_above >= position) continue;
    if (!longest || reader.expires_ns > longest->expires_ns) longest = std::move(reader);
  }
  return longest;
}

}  // namespace caisson::engine
