// SPDX-License-Identifier: BSD-3-Clause
#include "bench/system_calls.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/system_call_tracer.hpp"
#include "tools/process.hpp"

namespace caisson::bench {

namespace {
constexpr uint64_t kAnswerTimeoutMs = 10'000;
}  // namespace

Result<std::unique_ptr<SystemCallCounter>> SystemCallCounter::start() {
  const auto program = tools::own_program();
  if (!program) return tl::unexpected(program.error());
  tools::SpawnOptions options;
  options.arguments = {*program, std::string(kTraceCommand), std::to_string(getpid())};
  options.detached = false;
  const auto spawned = tools::spawn(options);
  if (!spawned) return tl::unexpected(spawned.error());
  // Where Yama guards ptrace, the traced one must agree.
  prctl(PR_SET_PTRACER, static_cast<unsigned long>(spawned->process.pid), 0, 0, 0);
  std::unique_ptr<SystemCallCounter> counter(
      new SystemCallCounter(spawned->process.pid, spawned->output_fd));
  const auto line = tools::read_line(spawned->output_fd, kAnswerTimeoutMs);
  if (!line)
    return fail(Code::unsupported, "system calls cannot be traced: " + line.error().message);
  if (*line != kTracerReady) return fail(Code::denied, "system calls cannot be traced: " + *line);
  return counter;
}

SystemCallCounter::~SystemCallCounter() {
  kill(tracer_, SIGKILL);  // our own child: its id is not reused before waitpid
  waitpid(tracer_, nullptr, 0);
  close(output_fd_);
}

void SystemCallCounter::begin() { syscall(SYS_close, kMarkBegin); }

Result<SystemCallCounts> SystemCallCounter::end() {
  syscall(SYS_close, kMarkEnd);
  const auto line = tools::read_line(output_fd_, kAnswerTimeoutMs);
  if (!line) return tl::unexpected(line.error());
  const auto counted = nlohmann::ordered_json::parse(*line, nullptr, false);
  if (counted.is_discarded()) return fail(Code::internal, "the tracer said: " + *line);
  return SystemCallCounts{counted.value("calling_thread", uint64_t{0}),
                          counted.value("whole_process", uint64_t{0}), counted["by_thread"]};
}

}  // namespace caisson::bench
