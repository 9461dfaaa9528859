// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "pmem/backing_file.hpp"
#include "pmem/process_identity.hpp"

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

constexpr std::chrono::milliseconds kLook{2};

// What an owner writes into its lock: "PID START_TICKS PID_NAMESPACE BOOT", or the first of these
// alone where there is no /proc; nothing once it has let go in good order.
std::string words_of(const pmem::ProcessIdentity& process) {
  if (!process.known()) return std::to_string(getpid()) + '\n';
  std::string words = std::to_string(process.pid) + ' ' + std::to_string(process.start_ticks) +
                      ' ' + std::to_string(process.pid_namespace) + ' ';
  for (const uint8_t byte : process.boot) {
    words += "0123456789abcdef"[byte >> 4];
    words += "0123456789abcdef"[byte & 15];
  }
  return words + '\n';
}

// Of what cannot be understood, the number at most.
pmem::ProcessIdentity owner_in(int fd) {
  char text[128] = {};
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  std::istringstream words(std::string(text, n > 0 ? static_cast<size_t>(n) : 0));
  pmem::ProcessIdentity owner, number;
  std::string boot;
  words >> owner.pid;
  number.pid = words ? owner.pid : 0;
  words >> owner.start_ticks >> owner.pid_namespace >> boot;
  if (!words || boot.size() != 2 * owner.boot.size()) return number;
  for (size_t i = 0; i < owner.boot.size(); ++i) {
    const char* const digits = boot.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, owner.boot[i], 16).ptr != digits + 2) return number;
  }
  return owner;
}

// The owner before may have been killed. The kernel lets go of a lock and of RDMA connections in
// no order it promises; its memory may be written to through them until the process is gone. One in
// another pid namespace cannot be looked at, and is not waited for.
bool await_gone(const pmem::ProcessIdentity& before, std::chrono::milliseconds patience) {
  const pmem::ProcessIdentity self = pmem::this_process();
  if (before.pid_namespace != self.pid_namespace || before == self) return true;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (before.known() && !pmem::proven_dead(before)) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
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

Result<NodeLock> NodeLock::take(const std::string& directory, std::chrono::milliseconds patience) {
  const std::string path = directory + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return os_failure("cannot open " + path, errno,
                      errno == ENOENT ? "; create the replica first, or correct its directory"
                                      : "; check the directory's owner and rights");
  }
  const bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
  const int error = locked ? 0 : errno;
  const pmem::ProcessIdentity before = owner_in(fd);
  if (!locked) {
    ::close(fd);
    if (error != EWOULDBLOCK) return os_failure("cannot lock " + path, error, "");
    return fail(Code::busy, directory + " is in use by " + pmem::describe(before) +
                                ": a replica runs once; stop that process first");
  }
  NodeLock lock;
  lock.fd_ = fd;
  if (!await_gone(before, patience)) {
    lock.abandon();
    return fail(Code::busy, directory + " was in use by " + pmem::describe(before) +
                                ", which has let go of " + path +
                                " but is not gone: its peers may still write to this memory. Stop "
                                "that process, or restart the machine if it cannot end");
  }
  const std::string words = words_of(pmem::this_process());
  if (ftruncate(lock.fd_, 0) != 0 ||
      pwrite(lock.fd_, words.data(), words.size(), 0) != static_cast<ssize_t>(words.size())) {
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
  (void)!ftruncate(fd_, 0);
  abandon();
}

void NodeLock::abandon() {
  if (fd_ < 0) return;
  (void)flock(fd_, LOCK_UN);  // closing alone would leave it with a child that was forked meanwhile
  ::close(std::exchange(fd_, -1));
}

}  // namespace caisson::engine
