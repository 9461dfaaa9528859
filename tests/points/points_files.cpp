// SPDX-License-Identifier: BSD-3-Clause
// The operating system's side: the linker turns each call of these functions from this program's
// own objects into one of __wrap_… (see CMakeLists.txt), and leaves those of libraries alone.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "tests/points/board.hpp"

namespace fs = std::filesystem;
using caisson::points::at;
using caisson::points::pass;

namespace {

// A region that is being made has no name yet.
bool new_region(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 0;
}

fs::path path_of(int fd) {
  std::error_code none;
  return fs::read_symlink("/proc/self/fd/" + std::to_string(fd), none);
}

// Where a log's region lies, or a copy of it. Other directories are the command line's.
bool holds_region(const fs::path& directory) {
  return directory.string().find("/data/") != std::string::npos ||
         directory.string().find("/backups/") != std::string::npos;
}

int failed(int error) {
  errno = error;
  return -1;
}

}  // namespace

extern "C" {

int __real_fsync(int fd);
int __real_linkat(int from_fd, const char* from, int to_fd, const char* to, int flags);
int __real_rename(const char* from, const char* to);
int __real_posix_fallocate(int fd, off_t from, off_t bytes);
void* __real_mremap(void* from, size_t old_bytes, size_t bytes, int flags, ...);

int __wrap_fsync(int fd) {
  if (new_region(fd)) return pass(at("file.sync")) ? failed(EIO) : __real_fsync(fd);
  if (const fs::path path = path_of(fd); holds_region(path)) {
    std::error_code none;
    const bool named = fs::exists(path / "region", none);
    if (pass(named ? at("file.sync_name") : at("file.sync_directory"))) return failed(EIO);
  }
  return __real_fsync(fd);
}

int __wrap_linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) {
  if (pass(at("file.link"))) return failed(ENOSPC);
  return __real_linkat(from_fd, from, to_fd, to, flags);
}

int __wrap_rename(const char* from, const char* to) {
  const bool region = std::string_view(to).ends_with("/region");
  if (region && pass(at("file.rename"))) return failed(EIO);
  return __real_rename(from, to);
}

int __wrap_posix_fallocate(int fd, off_t from, off_t bytes) {
  if (pass(at("file.allocate"))) return ENOSPC;
  return __real_posix_fallocate(fd, from, bytes);
}

// Only re-homing moves mappings, always to an address of its choice.
void* __wrap_mremap(void* from, size_t old_bytes, size_t bytes, int flags, ...) {
  va_list more;
  va_start(more, flags);
  void* const to = va_arg(more, void*);
  va_end(more);
  if (pass(at("remap"))) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return __real_mremap(from, old_bytes, bytes, flags, to);
}

}  // extern "C"
