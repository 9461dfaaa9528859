// SPDX-License-Identifier: BSD-3-Clause
#include "tools/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>
#include <thread>

#include "tools/files.hpp"

namespace caisson::tools {

namespace {

using Clock = std::chrono::steady_clock;

struct Stat {
  char state = '-';
  uint64_t user_ticks = 0;
  uint64_t system_ticks = 0;
  uint64_t start_ticks = 0;
};

// Fields of /proc/<pid>/stat behind the command's name, which may hold anything.
std::optional<Stat> read_stat(pid_t pid) {
  const auto text = read_text("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  const size_t behind = text->rfind(')');
  if (behind == std::string::npos) return std::nullopt;
  std::istringstream fields(text->substr(behind + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field <= 13; ++field) fields >> skipped;
  fields >> stat.user_ticks >> stat.system_ticks;
  for (int field = 16; field <= 21; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  return stat;
}

std::string boot_id() {
  const auto text = read_text("/proc/sys/kernel/random/boot_id");
  return text ? text->substr(0, text->find('\n')) : "unknown";
}

std::optional<Stat> stat_of(const ProcessId& process) {
  if (process.pid <= 0 || process.boot_id != boot_id()) return std::nullopt;
  const auto stat = read_stat(process.pid);
  if (!stat || stat->start_ticks != process.start_ticks) return std::nullopt;
  return stat;
}

// Closes what posix_spawn was prepared with, whatever the way out.
struct SpawnSetup {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

int spawn_with(SpawnSetup& setup, const SpawnOptions& options, int output, pid_t& pid) {
  posix_spawn_file_actions_addopen(&setup.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&setup.actions, output, STDOUT_FILENO);
  if (!options.error_file.empty()) {
    posix_spawn_file_actions_addopen(&setup.actions, STDERR_FILENO, options.error_file.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
  }
  posix_spawn_file_actions_addclosefrom_np(&setup.actions, STDERR_FILENO + 1);
  if (options.detached) {
    posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETSID);
  }
  std::vector<char*> arguments;
  arguments.reserve(options.arguments.size() + 1);
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  return posix_spawn(&pid, arguments[0], &setup.actions, &setup.attributes, arguments.data(),
                     environ);
}

// Affinity is inherited: this thread takes it for the moment of the spawn.
class BorrowedAffinity {
 public:
  explicit BorrowedAffinity(const std::vector<int>& cores) {
    if (cores.empty() || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    for (const int core : cores) CPU_SET(static_cast<size_t>(core), &wanted);
    changed_ = sched_setaffinity(0, sizeof wanted, &wanted) == 0;
  }
  ~BorrowedAffinity() {
    if (changed_) sched_setaffinity(0, sizeof before_, &before_);
  }
  BorrowedAffinity(const BorrowedAffinity&) = delete;
  BorrowedAffinity& operator=(const BorrowedAffinity&) = delete;

 private:
  cpu_set_t before_{};
  bool changed_ = false;
};

}  // namespace

bool alive(const ProcessId& process) {
  const char state = process_state(process);
  if (state == '-' || state == 'X') return false;
  if (state != 'Z') return true;
  // The first thread of a dying process may be gone long before the others have let go of its
  // memory.
  std::error_code error;
  const auto tasks =
      std::filesystem::directory_iterator("/proc/" + std::to_string(process.pid) + "/task", error);
  return !error && std::distance(begin(tasks), end(tasks)) > 1;
}

void await_end(const sigset_t& signals, bool with_parent) {
  const pid_t parent = getppid();
  const timespec pause{1, 0};
  for (;;) {
    const int signal = sigtimedwait(&signals, nullptr, &pause);
    if (signal == SIGTERM || signal == SIGINT) return;
    // SIGHUP: a terminal that goes away is no reason to stop.
    if (with_parent && getppid() != parent) return;
  }
}

char process_state(const ProcessId& process) {
  const auto stat = stat_of(process);
  return stat ? stat->state : '-';
}

Result<void> send_signal(const ProcessId& process, int signal, uint64_t* sent_ns) {
  const std::string who = "process " + std::to_string(process.pid);
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  // The check comes after the open: from here on the descriptor names one process only.
  const bool same = fd >= 0 && stat_of(process).has_value();
  if (sent_ns != nullptr) {
    *sent_ns = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  const int sent =
      same ? static_cast<int>(syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0)) : -1;
  const int error_number = errno;
  if (fd >= 0) close(fd);
  if (!same) return fail(Code::not_found, who + " is no more");
  if (sent != 0) return tl::unexpected(system_error(who + " cannot be signalled", error_number));
  return {};
}

bool wait_gone(const ProcessId& process, uint64_t timeout_ms) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  const bool same = fd >= 0 && stat_of(process).has_value();
  bool gone = !same;
  if (same) {
    // Readable once every thread has ended, and with them every lock and mapping.
    pollfd waiting{fd, POLLIN, 0};
    gone = ::poll(&waiting, 1, static_cast<int>(timeout_ms)) > 0;
  }
  if (fd >= 0) close(fd);
  if (gone) waitpid(process.pid, nullptr, WNOHANG);
  return gone;
}

double cpu_seconds(const ProcessId& process) {
  const auto stat = stat_of(process);
  if (!stat) return 0;
  return static_cast<double>(stat->user_ticks + stat->system_ticks) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::optional<ProcessId> identify(pid_t pid) {
  const auto stat = read_stat(pid);
  if (!stat) return std::nullopt;
  return ProcessId{pid, stat->start_ticks, boot_id()};
}

Result<void> write_pid_file(const std::filesystem::path& path, const ProcessId& process) {
  return write_text(path, std::to_string(process.pid) + " " + std::to_string(process.start_ticks) +
                              " " + process.boot_id + "\n");
}

std::optional<ProcessId> read_pid_file(const std::filesystem::path& path) {
  const auto text = read_text(path);
  if (!text) return std::nullopt;
  std::istringstream fields(*text);
  ProcessId process;
  fields >> process.pid >> process.start_ticks >> process.boot_id;
  if (!fields || process.pid <= 0) return std::nullopt;
  return process;
}

Result<Spawned> spawn(const SpawnOptions& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return tl::unexpected(system_error("no pipe", errno));
  SpawnSetup setup;
  pid_t pid = 0;
  int failed = 0;
  {
    const BorrowedAffinity affinity(options.cores);
    failed = spawn_with(setup, options, ends[1], pid);
  }
  close(ends[1]);
  if (failed != 0) {
    close(ends[0]);
    return tl::unexpected(system_error("'" + options.arguments[0] + "' cannot be started", failed));
  }
  const auto process = identify(pid);
  return Spawned{process.value_or(ProcessId{pid, 0, boot_id()}), ends[0]};
}

Result<std::string> read_line(int fd, uint64_t timeout_ms) {
  const auto until = Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::string line;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(Code::timed_out, "nothing was said in time");
    char byte = 0;
    const ssize_t n = ::read(fd, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(Code::closed, "it ended without a word");
    if (byte == '\n') return line;
    line.push_back(byte);
  }
}

Result<std::string> own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(Code::io, "/proc/self/exe cannot be read: " + error.message());
  return path.string();
}

}  // namespace caisson::tools
