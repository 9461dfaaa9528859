// SPDX-License-Identifier: BSD-3-Clause
// A directory of a benchmark's own, gone at the end of it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "tools/files.hpp"

namespace caisson::bench {

class ScratchDirectory {
 public:
  // Nothing is made yet.
  ScratchDirectory(const std::filesystem::path& in, const std::string& name)
      : path_(in / (name + "-" + std::to_string(getpid()))) {}
  ~ScratchDirectory() {
    std::error_code ignored;
    if (made_) std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  Result<void> make() {
    const auto made = tools::make_directories(path_);
    made_ = made.has_value();
    return made;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
  bool made_ = false;
};

}  // namespace caisson::bench
