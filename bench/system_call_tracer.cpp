// SPDX-License-Identifier: BSD-3-Clause
#include "bench/system_call_tracer.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <thread>
#include <vector>

#include "bench/system_calls.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

constexpr int kAttachAttempts = 200;  // x 5 ms: until the traced one has agreed

struct Thread {
  uint64_t calls = 0;
  std::map<uint64_t, uint64_t> by_number;
};

class Tracer {
 public:
  explicit Tracer(pid_t process) : process_(process) {}

  // Null, or why not.
  const char* attach() {
    namespace fs = std::filesystem;
    std::error_code error;
    for (const auto& task :
         fs::directory_iterator("/proc/" + std::to_string(process_) + "/task", error)) {
      pid_t tid = 0;
      const std::string text = task.path().filename().string();
      std::from_chars(text.data(), text.data() + text.size(), tid);
      if (!seize(tid)) return std::strerror(errno);
      threads_[tid];
    }
    if (threads_.empty()) return "no such process";
    for (const auto& [tid, thread] : threads_) ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
    return nullptr;
  }

  // Until the end mark, or the end of the process.
  void run() {
    while (!finished_) {
      int status = 0;
      const pid_t tid = waitpid(-1, &status, __WALL);
      if (tid < 0 && errno == EINTR) continue;
      if (tid < 0) return;
      if (WIFSTOPPED(status)) on_stop(tid, status);
    }
    for (const auto& [tid, thread] : threads_) release(tid);
  }

  nlohmann::ordered_json result() const {
    uint64_t whole = 0;
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const auto& [tid, thread] : threads_) {
      whole += thread.calls;
      nlohmann::ordered_json numbers = nlohmann::ordered_json::object();
      for (const auto& [number, calls] : thread.by_number) numbers[std::to_string(number)] = calls;
      rows.push_back({{"thread", names_.contains(tid) ? names_.at(tid) : std::string()},
                      {"calls", thread.calls},
                      {"by_number", numbers}});
    }
    const auto marked = threads_.find(marked_);
    return {{"calling_thread", marked == threads_.end() ? 0 : marked->second.calls},
            {"whole_process", whole},
            {"by_thread", rows}};
  }

 private:
  bool seize(pid_t tid) {
    for (int attempt = 0; attempt < kAttachAttempts; ++attempt) {
      if (ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) == 0) {
        const auto text = tools::read_text("/proc/" + std::to_string(process_) + "/task/" +
                                           std::to_string(tid) + "/comm");
        names_[tid] = text ? text->substr(0, text->find('\n')) : "";
        return true;
      }
      if (errno != EPERM) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    errno = EPERM;
    return false;
  }

  void on_stop(pid_t tid, int status) {
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (signal == (SIGTRAP | 0x80)) {
      on_system_call(tid);
      resume(tid, 0);
    } else if (event == PTRACE_EVENT_STOP && (signal == SIGSTOP || signal == SIGTSTP)) {
      ptrace(PTRACE_LISTEN, tid, nullptr, nullptr);
    } else {
      threads_[tid];
      resume(tid, event != 0 ? 0 : signal);
    }
  }

  void resume(pid_t tid, int signal) {
    ptrace(PTRACE_SYSCALL, tid, nullptr, static_cast<long>(signal));
  }

  void on_system_call(pid_t tid) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) return;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    const auto first = static_cast<long>(info.entry.args[0]);
    if (info.entry.nr == SYS_close && first == kMarkBegin) {
      counting_ = true;
      marked_ = tid;
    } else if (info.entry.nr == SYS_close && first == kMarkEnd) {
      counting_ = false;
      finished_ = true;
    } else if (counting_) {
      Thread& thread = threads_[tid];
      ++thread.calls;
      ++thread.by_number[info.entry.nr];
    }
  }

  // A thread can only be let go while it is stopped.
  void release(pid_t tid) {
    if (ptrace(PTRACE_DETACH, tid, nullptr, nullptr) == 0) return;
    ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
    int status = 0;
    if (waitpid(tid, &status, __WALL) == tid) ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
  }

  pid_t process_;
  std::map<pid_t, Thread> threads_;
  std::map<pid_t, std::string> names_;
  bool counting_ = false;
  bool finished_ = false;
  pid_t marked_ = 0;
};

}  // namespace

int trace_system_calls(pid_t process) {
  Tracer tracer(process);
  if (const char* why = tracer.attach()) {
    std::printf("%s\n", why);
    return 1;
  }
  std::printf("%s\n", std::string(kTracerReady).c_str());
  std::fflush(stdout);
  tracer.run();
  std::printf("%s\n", tracer.result().dump().c_str());
  return 0;
}

}  // namespace caisson::bench
