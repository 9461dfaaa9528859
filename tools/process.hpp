// SPDX-License-Identifier: BSD-3-Clause
// Processes that this program starts, finds again and signals. A process is known by its id *and*
// its start time, so that a recycled id is never signalled.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::tools {

struct ProcessId {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // since boot
  std::string boot_id;       // start times of another boot mean nothing
};

// Waits for SIGTERM or SIGINT, which `signals` holds blocked; with_parent: or until whoever started
// this process has ended.
void await_end(const sigset_t& signals, bool with_parent);

// R running, S sleeping, T stopped by a signal, Z zombie …; '-' if this very process is no more.
char process_state(const ProcessId& process);
bool alive(const ProcessId& process);
inline bool stopped(const ProcessId& process) {
  const char state = process_state(process);
  return state == 'T' || state == 't';
}
// Sends the signal through a pidfd, after checking that it is this very process. not_found: it is
// gone.
// `sent_ns`: when, by CLOCK_MONOTONIC, just before.
Result<void> send_signal(const ProcessId& process, int signal, uint64_t* sent_ns = nullptr);
// False: it is still there after the time given.
bool wait_gone(const ProcessId& process, uint64_t timeout_ms);
// User and system time that the process has used, in seconds; 0 if it is gone.
double cpu_seconds(const ProcessId& process);

// The process with that id as it is now; nothing if there is none.
std::optional<ProcessId> identify(pid_t pid);

Result<void> write_pid_file(const std::filesystem::path& path, const ProcessId& process);
// Nothing if there is no file, or none that can be understood.
std::optional<ProcessId> read_pid_file(const std::filesystem::path& path);

struct SpawnOptions {
  std::vector<std::string> arguments;  // [0] is the program's path
  std::filesystem::path error_file;    // standard error is appended to it; empty: inherited
  bool detached = true;    // a session of its own: survives this process and its terminal
  std::vector<int> cores;  // run on these cores only; empty: as this process
};
struct Spawned {
  ProcessId process;
  int output_fd = -1;  // its standard output; the caller closes it
};
Result<Spawned> spawn(const SpawnOptions& options);

// One line from fd; timed_out, or closed if it ends first.
Result<std::string> read_line(int fd, uint64_t timeout_ms);

// The path of the program that runs.
Result<std::string> own_program();

}  // namespace caisson::tools
