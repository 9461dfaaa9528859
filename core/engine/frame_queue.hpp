// SPDX-License-Identifier: BSD-3-Clause
// Frames on their way out, bounded in bytes. Any thread puts in, the links thread takes out.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

namespace caisson::engine {

class FrameQueue {
 public:
  enum class Overflow : unsigned char { drop_oldest, refuse };
  enum class Push : unsigned char {
    queued,
    queued_wake,  // queued, and the taker must be told
    full,         // refused; take() will report the drain
    closed,
  };

  FrameQueue(size_t bytes_max, Overflow overflow) : bytes_max_(bytes_max), overflow_(overflow) {}

  // A frame is taken even if it alone exceeds bytes_max, provided that the queue is empty.
  Push push(std::string frame);

  // Moves frames, each behind its 4-byte length, to the end of `out`, until it holds at least
  // `enough_bytes` or nothing is left. From now on a push wants a wake again.
  void take(std::string& out, size_t enough_bytes);

  // `bytes` of what was taken have left. True once if a push was refused and less than half is
  // queued now.
  bool written(size_t bytes);

  bool waits_for_drain() const;  // a push was refused, and written() has not reported the drain yet

  void keep_newest(size_t frames);
  void close();  // drops everything; push says closed

  size_t bytes() const;  // queued, or taken and not yet written

 private:
  const size_t bytes_max_;
  const Overflow overflow_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<std::string> frames_;
  size_t bytes_ = 0;
  bool wake_pending_ = false;
  bool refused_ = false;
  bool closed_ = false;
};

inline constexpr size_t kFrameHeaderBytes = 4;

}  // namespace caisson::engine
