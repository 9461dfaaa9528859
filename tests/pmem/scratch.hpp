// SPDX-License-Identifier: BSD-3-Clause
// A directory for region files that goes away with the test.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "pmem/file_region.hpp"

namespace caisson::pmem::testing {

class ScratchDirectory {
 public:
  explicit ScratchDirectory(const char* parent = "/dev/shm") {
    std::string pattern = std::string(parent) + "/caisson-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) ::abort();
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  std::string operator/(const char* name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs `body` in a child process; its return value is the exit status.
template <class Body>
pid_t spawn(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  return child;
}

inline int exit_status(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline CreateOptions small_region(uint64_t ring_bytes = 1 << 20) {
  CreateOptions options;
  options.geometry = {ring_bytes, kSegmentBytesMin, 4 * kPageBytes};
  return options;
}

}  // namespace caisson::pmem::testing
