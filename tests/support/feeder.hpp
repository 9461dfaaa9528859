// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace caisson::test {

// Writes numbered lines into a pipe, which it makes, until it is told to stop, and keeps them.
class Feeder {
 public:
  // 40 times so many lines in a second. Where nothing is trimmed the ring must hold them all, each
  // in 128 or 192 bytes.
  explicit Feeder(const std::filesystem::path& pipe, int lines_at_once = 20);
  ~Feeder() { stop(); }
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  void stop();
  uint64_t lines() const { return lines_.load(); }
  // What has been written, or is about to be.
  std::string text() const;

 private:
  void run(const std::filesystem::path& pipe);

  const int lines_at_once_;
  std::atomic<uint64_t> lines_{0};
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::string text_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace caisson::test
