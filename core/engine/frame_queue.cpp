// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/frame_queue.hpp"

#include <cstdint>
#include <utility>

namespace caisson::engine {
namespace {

size_t wire_bytes(const std::string& frame) { return frame.size() + kFrameHeaderBytes; }

}  // namespace

FrameQueue::Push FrameQueue::push(std::string frame) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Push::closed;
  const size_t more = wire_bytes(frame);
  if (overflow_ == Overflow::drop_oldest) {
    while (bytes_ + more > bytes_max_ && !frames_.empty()) {
      bytes_ -= wire_bytes(frames_.front());
      frames_.pop_front();
    }
  } else if (bytes_ != 0 && bytes_ + more > bytes_max_) {
    refused_ = true;
    return Push::full;
  }
  bytes_ += more;
  frames_.push_back(std::move(frame));
  return std::exchange(wake_pending_, true) ? Push::queued : Push::queued_wake;
}

void FrameQueue::take(std::string& out, size_t enough_bytes) {
  const std::lock_guard lock(mutex_);
  wake_pending_ = false;
  while (!frames_.empty() && out.size() < enough_bytes) {
    const std::string& frame = frames_.front();
    const auto length = static_cast<uint32_t>(frame.size());
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(length >> shift));
    out += frame;
    frames_.pop_front();
  }
}

bool FrameQueue::written(size_t bytes) {
  const std::lock_guard lock(mutex_);
  bytes_ -= bytes;
  if (!refused_ || bytes_ > bytes_max_ / 2) return false;
  refused_ = false;
  return true;
}

bool FrameQueue::waits_for_drain() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

void FrameQueue::keep_newest(size_t frames) {
  const std::lock_guard lock(mutex_);
  while (frames_.size() > frames) {
    bytes_ -= wire_bytes(frames_.front());
    frames_.pop_front();
  }
}

void FrameQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (const std::string& frame : frames_) bytes_ -= wire_bytes(frame);
  frames_.clear();
}

size_t FrameQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace caisson::engine
