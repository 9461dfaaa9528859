// SPDX-License-Identifier: BSD-3-Clause
// Counts the system calls that this process makes between two points, by tracing it from another
// process (ptrace, as strace does). What is traced runs at full speed between its calls.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "caisson/types.hpp"

namespace caisson::bench {

struct SystemCallCounts {
  uint64_t calling_thread = 0;       // the thread that called begin() and end()
  uint64_t whole_process = 0;        // all threads, that one included
  nlohmann::ordered_json by_thread;  // name, calls, the numbers of the calls
};

class SystemCallCounter {
 public:
  // Starts the tracer, a process of this same program. unsupported, denied: tracing is not allowed
  // here; the message says why.
  static Result<std::unique_ptr<SystemCallCounter>> start();
  ~SystemCallCounter();
  SystemCallCounter(const SystemCallCounter&) = delete;
  SystemCallCounter& operator=(const SystemCallCounter&) = delete;

  // Counting starts and ends with these. The two marks themselves are not counted.
  void begin();
  Result<SystemCallCounts> end();

 private:
  SystemCallCounter(pid_t tracer, int output_fd) : tracer_(tracer), output_fd_(output_fd) {}
  pid_t tracer_;
  int output_fd_;
};

// What the tracer's process runs: attaches to every thread of `process`, counts, prints one JSON
// line. Returns an exit code.
int trace_system_calls(pid_t process);

}  // namespace caisson::bench
