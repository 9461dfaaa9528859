// SPDX-License-Identifier: BSD-3-Clause
#include "tests/support/program.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

namespace caisson::test {

namespace {

int exit_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

pid_t spawn(const Arguments& command, const std::string& input, const std::string& output,
            const std::string& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0644);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(failed, 0) << command[0];
  return failed == 0 ? pid : -1;
}

}  // namespace

std::string program() {
  const char* const path = std::getenv("CAISSON_PROGRAM");
  return path != nullptr ? path : "caisson";
}

Outcome run_other(const Arguments& command, const std::string& input) {
  const Scratch scratch;
  const auto in = scratch.path() / "in", out = scratch.path() / "out", err = scratch.path() / "err";
  write_file(in, input);
  const pid_t pid = spawn(command, in, out, err);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return {};
  return {exit_of(status), read_file(out), read_file(err)};
}

Outcome run(const Arguments& arguments, const std::string& input) {
  Arguments command{program()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_other(command, input);
}

std::string beside(const std::string& name) {
  return (std::filesystem::path(program()).parent_path() / name).string();
}

Outcome check(Arguments arguments, const std::string& input) {
  arguments.insert(arguments.begin(), beside("caisson-check"));
  return run_other(arguments, input);
}

Background::Background(const Arguments& arguments, const std::filesystem::path& input,
                       const std::filesystem::path& output) {
  Arguments command{program()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  pid_ = spawn(command, input.empty() ? "/dev/null" : input.string(), output.string(),
               output.string() + ".err");
}

Background::~Background() {
  if (pid_ <= 0 || exit_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Background::runs() {
  int status = 0;
  if (!exit_ && waitpid(pid_, &status, WNOHANG) == pid_) exit_ = exit_of(status);
  return !exit_.has_value();
}

void Background::signal(int number) {
  if (!exit_) kill(pid_, number);
}

int Background::wait() {
  int status = 0;
  if (!exit_ && waitpid(pid_, &status, 0) == pid_) exit_ = exit_of(status);
  return exit_.value_or(-1);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  EXPECT_TRUE(file.good()) << path;
}

void pause_ms(uint64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

uint64_t now_ms() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

Scratch::Scratch() {
  const bool in_memory = access("/dev/shm", W_OK) == 0;
  std::string name = std::string(in_memory ? "/dev/shm" : "/tmp") + "/caisson-test-XXXXXX";
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  path_ = name;
}

Scratch::~Scratch() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

Replicas::Replicas(const Arguments& more) : directory_(scratch_.path() / "cluster") {
  Arguments start{"cluster", "start"};
  start.insert(start.end(), more.begin(), more.end());
  if (std::find(more.begin(), more.end(), "--ring-bytes") == more.end()) {
    start.insert(start.end(), {"--ring-bytes", "16MiB"});
  }
  const Outcome started = (*this)(start);
  EXPECT_EQ(started.exit, 0) << started.errors;
}

Replicas::~Replicas() { stop(); }

std::filesystem::path Replicas::data(int replica) const {
  return directory_ / ("replica-" + std::to_string(replica)) / "data";
}

std::filesystem::path Replicas::region(int replica, const std::string& log) const {
  return data(replica) / "logs" / log / "region";
}

std::vector<std::string> Replicas::regions() const {
  return {region(1).string(), region(2).string(), region(3).string()};
}

Outcome Replicas::judge(Arguments histories) const {
  histories.insert(histories.end(), {"--json", "--region"});
  for (const std::string& region : regions()) histories.push_back(region);
  return check(histories);
}

Outcome Replicas::operator()(Arguments arguments, const std::string& input) const {
  arguments.push_back("--dir");
  arguments.push_back(directory_.string());
  return run(arguments, input);
}

Json Replicas::status() const { return (*this)({"cluster", "status", "--json"}).json(); }

int Replicas::leader() const {
  const Json now = status();
  if (!now.is_object() || now["logs"][0]["leader"].is_null()) return 0;
  return now["logs"][0]["leader"].get<int>();
}

int Replicas::await_leader() const {
  int found = 0;
  EXPECT_TRUE(eventually([&] { return (found = leader()) != 0; }));
  return found;
}

int Replicas::follower() const { return await_leader() % 3 + 1; }

Outcome Replicas::append(const std::string& input, const Arguments& more) const {
  Arguments arguments{"append", "--json", "--timeout", "30"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return (*this)(arguments, input);
}

std::string Replicas::read(int replica, const Arguments& more) const {
  Arguments arguments{"read", "--replica", std::to_string(replica)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = (*this)(arguments);
  EXPECT_EQ(outcome.exit, 0) << outcome.errors;
  return outcome.output;
}

void Replicas::stop() const {
  const Outcome stopped = (*this)({"cluster", "stop"});
  EXPECT_EQ(stopped.exit, 0) << stopped.errors;
}

std::string some_lines(uint64_t lines, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text;
  for (uint64_t i = 1; i <= lines; ++i) {
    if (random() % 16 != 0) {
      text +=
          std::to_string(i) + " " + std::string(random() % 120, static_cast<char>('a' + i % 26));
    }
    text += '\n';
  }
  return text;
}

}  // namespace caisson::test
