// SPDX-License-Identifier: BSD-3-Clause
// What pollers have to say to people. A poller never formats or writes: it drops a few words into a
// bounded ring, and the engine's housekeeper turns them into log lines.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "caisson/types.hpp"
#include "core/control/failure_detector.hpp"
#include "core/replication/replica.hpp"

namespace caisson::engine {

struct Event {
  enum class Kind : uint8_t {
    role,
    leader,
    repair,
    fault,
    suspect,
    recovered,
    closed,
    stray,
    no_room,
    slow,
    keeps_pace,
    demoted,
    poison,
    deleted,
    rot,
    mended,
    stranger,
    stuck,
    unstuck,
    parted,
    written_to
  };
  Kind kind = Kind::role;
  replication::Role role = replication::Role::follower;
  control::Evidence evidence = control::Evidence::none;
  ReplicaId replica;     // whom it is about, where that is somebody else
  Code code = Code::ok;  // stranger: what its introduction led to
  uint32_t log = 0;      // index in the engine; stranger: UINT32_MAX for the node's heartbeats
  Term term;
  Position committed;
  // poison: byte of the region · rot, mended: how many so far · parted, written_to:
  // for so many ns it was not
  uint64_t at = 0;
};

// One producer, one consumer. A full ring drops the newest event and counts it.
class EventRing {
 public:
  void put(const Event& event) {
    const uint64_t at = written_.load(std::memory_order_relaxed);
    if (at - read_.load(std::memory_order_acquire) == kEvents) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    events_[at % kEvents] = event;
    written_.store(at + 1, std::memory_order_release);
  }

  bool take(Event& event) {
    const uint64_t at = read_.load(std::memory_order_relaxed);
    if (at == written_.load(std::memory_order_acquire)) return false;
    event = events_[at % kEvents];
    read_.store(at + 1, std::memory_order_release);
    return true;
  }

  uint64_t take_dropped() { return dropped_.exchange(0, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kEvents = 1024;
  std::array<Event, kEvents> events_{};
  alignas(kCacheLineBytes) std::atomic<uint64_t> written_{0};
  alignas(kCacheLineBytes) std::atomic<uint64_t> read_{0};
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace caisson::engine
