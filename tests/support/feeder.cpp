// SPDX-License-Identifier: BSD-3-Clause
#include "tests/support/feeder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/program.hpp"

namespace caisson::test {

namespace {

constexpr uint64_t kPauseMs = 25;

}  // namespace

Feeder::Feeder(const std::filesystem::path& pipe, int lines_at_once)
    : lines_at_once_(lines_at_once) {
  EXPECT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  signal(SIGPIPE, SIG_IGN);  // a reader that ends early ends the feeding, not the test
  thread_ = std::thread([this, pipe] { run(pipe); });
}

void Feeder::stop() {
  stop_.store(true);
  if (thread_.joinable()) thread_.join();
}

std::string Feeder::text() const {
  const std::lock_guard lock(mutex_);
  return text_;
}

void Feeder::run(const std::filesystem::path& pipe) {
  const int fd = open(pipe.c_str(), O_WRONLY | O_CLOEXEC);
  while (!stop_.load()) {
    std::string text;
    for (int i = 0; i < lines_at_once_; ++i) {
      const uint64_t line = lines_.fetch_add(1) + 1;
      text += std::to_string(line) + std::string(line % 90, '.') + "\n";
    }
    {
      const std::lock_guard lock(mutex_);
      text_ += text;
    }
    for (size_t done = 0; done < text.size();) {
      const ssize_t n = write(fd, text.data() + done, text.size() - done);
      if (n <= 0) return;
      done += static_cast<size_t>(n);
    }
    pause_ms(kPauseMs);
  }
  close(fd);
}

}  // namespace caisson::test
