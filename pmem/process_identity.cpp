// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/process_identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace caisson::pmem {
namespace {

// Reads a small file of /proc whole. Returns its bytes, or an empty string with errno set.
std::string read_small(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char buffer[1024];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  const int saved = errno;
  ::close(fd);
  errno = saved;
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

struct Stat {
  char state = 0;
  uint64_t threads = 0;
  uint64_t start_ticks = 0;
};

// Fields of /proc/<pid>/stat behind the command name, which may itself hold spaces and brackets.
bool parse_stat(std::string_view text, Stat& stat) {
  const size_t close = text.rfind(')');
  if (close == std::string_view::npos) return false;
  text.remove_prefix(close + 1);
  for (int field = 3; field <= 22; ++field) {
    const size_t start = text.find_first_not_of(' ');
    if (start == std::string_view::npos) return false;
    text.remove_prefix(start);
    const std::string_view word = text.substr(0, text.find(' '));
    if (field == 3) stat.state = word[0];
    uint64_t* number = field == 20 ? &stat.threads : field == 22 ? &stat.start_ticks : nullptr;
    if (number != nullptr &&
        std::from_chars(word.data(), word.data() + word.size(), *number).ec != std::errc()) {
      return false;
    }
    text.remove_prefix(word.size());
  }
  return true;
}

std::array<uint8_t, 16> boot_id() {
  std::array<uint8_t, 16> id{};
  size_t digits = 0;
  for (const char c : read_small("/proc/sys/kernel/random/boot_id")) {
    uint8_t value = 0;
    if (std::from_chars(&c, &c + 1, value, 16).ec != std::errc() || digits >= 32) continue;
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | value);
    ++digits;
  }
  return digits == 32 ? id : std::array<uint8_t, 16>{};
}

uint64_t own_pid_namespace() {
  struct stat info {};
  return ::stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

}  // namespace

ProcessIdentity this_process() {
  ProcessIdentity self;
  Stat stat;
  if (!parse_stat(read_small("/proc/self/stat"), stat)) return self;
  self.boot = boot_id();
  self.pid_namespace = own_pid_namespace();
  if (self.boot == std::array<uint8_t, 16>{} || self.pid_namespace == 0) return ProcessIdentity{};
  self.start_ticks = stat.start_ticks;
  self.pid = static_cast<uint64_t>(::getpid());
  return self;
}

bool proven_dead(const ProcessIdentity& process) {
  if (!process.known()) return false;
  const ProcessIdentity self = this_process();
  if (!self.known()) return false;
  if (process.boot != self.boot) return true;
  if (process.pid_namespace != self.pid_namespace) return false;
  const std::string path = "/proc/" + std::to_string(process.pid) + "/stat";
  errno = 0;
  const std::string text = read_small(path.c_str());
  if (text.empty()) return errno == ENOENT || errno == ESRCH;
  Stat stat;
  if (!parse_stat(text, stat)) return false;
  if (stat.start_ticks != process.start_ticks) return true;
  // A group leader that has exited while other threads run on shows as a zombie, too.
  return (stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1;
}

bool thread_gone(const ProcessIdentity& process, uint64_t thread, const ProcessIdentity& self) {
  if (!process.known() || !self.known() || thread == 0) return false;
  if (process.boot != self.boot) return true;
  if (process.pid_namespace != self.pid_namespace) return false;
  // A number that was reused, by this process or by another, can only make a gone thread look
  // alive.
  return ::syscall(SYS_tgkill, static_cast<pid_t>(process.pid), static_cast<pid_t>(thread), 0) !=
             0 &&
         errno == ESRCH;
}

std::string describe(const ProcessIdentity& process) {
  return process.known() ? "process " + std::to_string(process.pid) : "an unknown process";
}

}  // namespace caisson::pmem
