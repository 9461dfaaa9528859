// SPDX-License-Identifier: BSD-3-Clause
// What caisson-check is asked to do, and how it ends.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caisson::checker {

// The numbers that every program of caisson ends with.
enum class Ending : int { ok = 0, violated = 3, usage = 4, invalid = 5, not_found = 8, io = 23 };

struct EndingRow {
  Ending ending;
  std::string_view name;
  std::string_view meaning;
};
inline constexpr std::array kEndings = {
    EndingRow{Ending::ok, "ok", "nothing broke"},
    EndingRow{Ending::violated, "violated", "an invariant broke"},
    EndingRow{Ending::usage, "usage", "bad arguments; nothing was done"},
    EndingRow{Ending::invalid, "invalid", "no history, or no region; file and line are named"},
    EndingRow{Ending::not_found, "not_found", "no such file"},
    EndingRow{Ending::io, "io", "a file cannot be read, or standard output not written"},
};

struct Options {
  std::vector<std::string> histories;
  std::vector<std::string> regions;
  bool each = false;
  bool json = false;
};

// Either options, or the ending (help was printed, or the arguments were bad and that was said).
struct Parsed {
  Options options;
  std::optional<Ending> ending;
};
Parsed parse(int argc, const char* const* argv);

// In words on standard error; with `json` as an object on standard output, too.
Ending report(Ending ending, const std::string& message, bool json);

}  // namespace caisson::checker
