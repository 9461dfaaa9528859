// SPDX-License-Identifier: BSD-3-Clause
// The readers of one log on this node: a seat each, and what is held from being trimmed by them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::engine {

// Readers that hold the trim point, at most, at a time (R45).
inline constexpr uint32_t kReadersMax = 1024;

class ReaderHolds {
 public:
  static constexpr uint64_t kNone =
      UINT64_MAX;  // as a position: nobody sits here; as a time: never

  class Seat {
   public:
    Position nothing_above() const {
      return Position{nothing_above_.load(std::memory_order_acquire)};
    }
    // Nothing above this position is trimmed from now on. For whoever sits here.
    void move(Position nothing_above) {
      nothing_above_.store(nothing_above.value, std::memory_order_release);
    }
    // False: the seat has expired, and holds nothing any more.
    bool renew(uint64_t expires_ns);
    bool expired() const { return expires_ns_.load(std::memory_order_acquire) == kExpired; }

   private:
    friend class ReaderHolds;
    std::atomic<uint64_t> nothing_above_{kNone};
    // Goes to kExpired only by the poller, and never back while somebody sits here: whoever could
    // renew it in time knows that nothing was trimmed.
    std::atomic<uint64_t> expires_ns_{kNone};
  };
  struct Reader {
    std::string name;
    Position nothing_above;
    uint64_t expires_ns = kNone;
  };

  // ---- [any thread] ----
  // nullptr: all seats are taken.
  Seat* take(Position nothing_above, std::string_view name, uint64_t expires_ns = kNone);
  void give_back(Seat& seat);
  std::vector<Reader> readers() const;
  // One of those who hold `position` longest.
  std::optional<Reader> reader_that_holds(Position position) const;

  // ---- Poller ----
  // The lowest position above which somebody holds something; lets go of those that have expired.
  Position lowest(uint64_t now_ns);

 private:
  static constexpr uint64_t kExpired = 0;
  static constexpr size_t kNameBytesMax = 47;

  std::atomic<uint32_t> used_{0};  // seats beyond were never taken
  std::array<Seat, kReadersMax> seats_;
  mutable std::mutex names_mutex_;
  std::array<std::string, kReadersMax> names_;  // guarded by names_mutex_
};

}  // namespace caisson::engine
