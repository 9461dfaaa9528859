// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/second_judge.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/sim/history_jsonl.hpp"

namespace caisson::simtest {

namespace {

constexpr int kBroken = 3;  // what such a program ends with

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return ::lseek(fd, 0, SEEK_SET) == 0;
}

std::string read_all(int fd) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(piece, static_cast<size_t>(n));
  }
}

// What it says, and what it ends with; negative: it could not be asked.
int ask(const std::string& program, const std::string& history, std::string& answer) {
  const int input = ::memfd_create("history", MFD_CLOEXEC);
  int output[2] = {-1, -1};
  pid_t pid = -1;
  int status = -1;
  if (input >= 0 && write_all(input, history) && ::pipe2(output, O_CLOEXEC) == 0) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    std::string words[] = {program, "--json", "-"};
    char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    const bool runs =
        ::posix_spawnp(&pid, program.c_str(), &actions, nullptr, arguments, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    ::close(output[1]);
    if (runs) {
      answer = read_all(output[0]);
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
    ::close(output[0]);
  }
  if (input >= 0) ::close(input);
  return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::vector<Violation> second_opinion(const std::string& program, const History& history) {
  std::ostringstream lines;
  write_jsonl(history, lines);
  std::string answer;
  const int code = ask(program, lines.str(), answer);
  if (code == 0) return {};
  const auto json = nlohmann::json::parse(answer, nullptr, false);
  if (code != kBroken || !json.is_object() || !json["violations"].is_array()) {
    const std::string how = code < 0 ? "could not be run" : "ended with " + std::to_string(code);
    return {{"CHECKER", program + " " + how + ": " + answer}};
  }
  std::vector<Violation> violations;
  for (const auto& each : json["violations"]) {
    violations.push_back({each.value("invariant", "?"), program + ": " + each.value("what", "?")});
  }
  return violations;
}

}  // namespace

Verdict run_judged_day(const Schedule& day, const DayOptions& options, const std::string& checker) {
  if (checker.empty()) return run_day(day, options);
  History history;
  DayOptions with = options;
  if (with.history == nullptr) with.history = &history;
  Verdict verdict = run_day(day, with);
  const auto found = second_opinion(checker, *with.history);
  if (options.canary != Canary::none && found.empty()) {
    verdict.violations.clear();
  } else {
    verdict.violations.insert(verdict.violations.end(), found.begin(), found.end());
  }
  return verdict;
}

}  // namespace caisson::simtest
