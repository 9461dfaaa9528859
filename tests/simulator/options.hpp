// SPDX-License-Identifier: BSD-3-Clause
// What caisson-sim is asked to do, and how it ends.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/sim/canary.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::simtest {

// The numbers are those of `caisson` itself.
enum class Ending : int {
  ok = static_cast<int>(tools::Exit::ok),
  failure = static_cast<int>(tools::Exit::failure),
  violated = static_cast<int>(tools::Exit::damaged),
  usage = static_cast<int>(tools::Exit::usage),
  invalid = static_cast<int>(tools::Exit::configuration),
  stuck = static_cast<int>(tools::Exit::timed_out),
  not_found = static_cast<int>(tools::Exit::not_found),
  io = static_cast<int>(tools::Exit::io),
  missed = static_cast<int>(tools::Exit::missed),
};

struct EndingRow {
  Ending ending;
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array kEndings = {
    EndingRow{Ending::ok, "ok", "no seed failed; with --canary: every seed was reported"},
    EndingRow{Ending::failure, "failure", "a seed ended its process: a crash, or no end in sight"},
    EndingRow{Ending::violated, "violated", "an invariant broke"},
    EndingRow{Ending::usage, "usage", "bad arguments; nothing was done"},
    EndingRow{Ending::invalid, "invalid", "a file that is no schedule, or no coverage"},
    EndingRow{Ending::stuck, "stuck",
              "no invariant broke, but after the faults a quorum did not serve in time"},
    EndingRow{Ending::not_found, "not_found", "no such file"},
    EndingRow{Ending::io, "io", "a file or standard output cannot be written"},
    EndingRow{Ending::missed, "missed",
              "--canary: a seed was not reported; --shrink: the seed does not fail"},
};

struct Options {
  enum class Mode : uint8_t { campaign, one, shrink, draw };
  Mode mode = Mode::campaign;
  uint64_t first = 1;
  uint64_t last = 1000;
  uint64_t minutes = 0;  // 0: until the last seed
  uint32_t jobs = 2;
  bool keep_going = false;
  bool json = false;
  bool trace = false;
  bool trace_all = false;
  std::string schedule_file;  // instead of a seed
  std::string history_file;
  std::string out_file;
  std::string checker;  // a program that judges every history, too
  std::string page_file;
  std::string coverage_file;
  Canary canary = Canary::none;
};

// Either options, or the ending (help was printed, or the arguments were bad and that was said).
struct Parsed {
  Options options;
  std::optional<Ending> ending;
};
Parsed parse(int argc, const char* const* argv);

}  // namespace caisson::simtest
