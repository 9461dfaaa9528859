// SPDX-License-Identifier: BSD-3-Clause
// Runs the real program, and clusters of its real processes, for tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace caisson::test {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

struct Outcome {
  int exit = -1;  // exit code; 128 + n if signal n ended it
  std::string output;
  std::string errors;
  Json json() const { return Json::parse(output, nullptr, false); }
};

// A program that runs in the background.
class Background {
 public:
  // `input`: a file, or empty for /dev/null.
  Background(const Arguments& arguments, const std::filesystem::path& input,
             const std::filesystem::path& output);
  ~Background();  // kills it, if it still runs
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  pid_t pid() const { return pid_; }
  bool runs();
  void signal(int number);
  int wait();  // exit code as in Outcome

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_;
};

std::string program();
Outcome run(const Arguments& arguments, const std::string& input = "");
// Runs another program, by its full path.
Outcome run_other(const Arguments& command, const std::string& input = "");
// A program that is built beside `caisson`: its full path.
std::string beside(const std::string& name);
// caisson-check, the judge of histories and of region files.
Outcome check(Arguments arguments, const std::string& input = "");

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);
// True once `condition` holds; false after the time given.
template <class Condition>
bool eventually(Condition condition, uint64_t timeout_ms = 20'000);
void pause_ms(uint64_t ms);
uint64_t now_ms();

// A directory in memory, removed at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Three replicas, one log, small rings. Stopped at the end.
class Replicas {
 public:
  explicit Replicas(const Arguments& more = {});
  ~Replicas();
  Replicas(const Replicas&) = delete;
  Replicas& operator=(const Replicas&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  const std::filesystem::path& scratch() const { return scratch_.path(); }
  std::filesystem::path data(int replica) const;
  std::filesystem::path region(int replica, const std::string& log = "main") const;
  std::vector<std::string> regions() const;  // of all three
  // By caisson-check: these histories, and the regions as they are.
  Outcome judge(Arguments histories) const;
  // `verb` and its arguments, with --dir.
  Outcome operator()(Arguments arguments, const std::string& input = "") const;
  Json status() const;
  int leader() const;  // 0: none
  int await_leader() const;
  int follower() const;  // one that does not lead
  Outcome append(const std::string& input, const Arguments& more = {}) const;
  std::string read(int replica, const Arguments& more = {}) const;
  void stop() const;

 private:
  Scratch scratch_;
  std::filesystem::path directory_;
};

// `lines` lines of various lengths, empty ones among them, none equal to another but those.
std::string some_lines(uint64_t lines, uint32_t seed = 1);

template <class Condition>
bool eventually(Condition condition, uint64_t timeout_ms) {
  const uint64_t until = now_ms() + timeout_ms;
  while (!condition()) {
    if (now_ms() >= until) return false;
    pause_ms(10);
  }
  return true;
}

}  // namespace caisson::test
