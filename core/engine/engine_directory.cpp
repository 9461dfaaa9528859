// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "pmem/backing_file.hpp"

namespace caisson::engine {

namespace {

Code code_of(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS: return Code::denied;
    case ENOSPC:
    case EDQUOT: return Code::no_space;
    case ENOENT:
    case ENOTDIR: return Code::not_found;
    default: return Code::io;
  }
}

tl::unexpected<Error> os_failure(const std::string& what, int error, const std::string& cure) {
  return fail(code_of(error), what + ": " + std::strerror(error) + cure);
}

// The owner's word on who it is; only for the message.
std::string owner_of(int fd) {
  char text[32] = {};
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) return "another process";
  const std::string pid(text, static_cast<size_t>(n));
  return "process " + pid.substr(0, pid.find('\n'));
}

}  // namespace

std::string region_path(const std::string& directory, std::string_view log_name) {
  return directory + "/logs/" + std::string(log_name) + "/region";
}

std::string heartbeat_path(const std::string& directory) { return directory + "/heartbeat"; }

std::string post_path(const std::string& directory) { return directory + "/post"; }

std::string creation_mark_path(const std::string& directory) { return directory + "/creating"; }

Result<void> make_mark(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return os_failure(
        "cannot create " + path, errno,
        errno == ENOSPC ? "; free some space there" : "; check the directory's owner and rights");
  }
  ::close(fd);
  return pmem::sync_directory(std::filesystem::path(path).parent_path().string());
}

Result<void> make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return os_failure("cannot make the directory " + path, error.value(),
                    error.value() == ENOSPC ? "; free some space there"
                                            : "; check its parent's owner and rights");
}

Error directory_replaced(const std::string& directory) {
  return {Code::damaged, "the data directory " + directory +
                             " was removed or replaced while this node runs: stop it"};
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

Result<NodeLock> NodeLock::take(const std::string& directory) {
  const std::string path = directory + "/lock";
  NodeLock lock;
  lock.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock.fd_ < 0) {
    return os_failure("cannot open " + path, errno,
                      errno == ENOENT ? "; create the replica first, or correct its directory"
                                      : "; check the directory's owner and rights");
  }
  if (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return os_failure("cannot lock " + path, errno, "");
    return fail(Code::busy, directory + " is in use by " + owner_of(lock.fd_) +
                                ": a replica runs once; stop that process first");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock.fd_, 0) != 0 ||
      pwrite(lock.fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return os_failure("cannot write " + path, errno, "; free some space there");
  }
  return lock;
}

bool NodeLock::taken(const std::string& directory) {
  const int fd = open((directory + "/lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool taken = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return taken;
}

bool NodeLock::of(const std::string& directory) const {
  struct stat ours {
  }, there{};
  return held() && fstat(fd_, &ours) == 0 && stat((directory + "/lock").c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

NodeLock::NodeLock(NodeLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

NodeLock& NodeLock::operator=(NodeLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void NodeLock::release() {
  if (fd_ < 0) return;
  (void)flock(fd_, LOCK_UN);  // closing alone would leave it with a child that was forked meanwhile
  ::close(std::exchange(fd_, -1));
}

}  // namespace caisson::engine
