// SPDX-License-Identifier: BSD-3-Clause
// Small files and the errors of the operating system, as this program needs them.
#pragma once

#include <filesystem>
#include <string>

#include "caisson/types.hpp"

namespace caisson::tools {

// What errno says, as a Code, and in words behind `what`.
Error system_error(const std::string& what, int error_number);

Result<std::string> read_text(const std::filesystem::path& path);
// Replaced atomically, and durable on return.
Result<void> write_text(const std::filesystem::path& path, const std::string& text);
Result<void> make_directories(const std::filesystem::path& path);

// An exclusive lock on a file, held until destruction. busy: another process holds it.
class FileLock {
 public:
  static Result<FileLock> take(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace caisson::tools
