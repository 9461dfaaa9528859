// SPDX-License-Identifier: BSD-3-Clause
// Options that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "caisson/types.hpp"
#include "tools/framing.hpp"

namespace caisson::tools {

// Which log of which cluster.
struct LogChoice {
  std::string directory;
  std::string log;  // "": the first
};

// --dir, required; never an empty name, which would mean the root of everything.
CLI::Option* add_directory(CLI::App* command, std::string& directory,
                           const std::string& description = "the cluster's directory");
// An option that names a position: a whole number from 1.
CLI::Option* add_position(CLI::App* command, const std::string& name, uint64_t& position,
                          const std::string& description);
void add_log_choice(CLI::App* command, LogChoice& choice);
void add_framing(CLI::App* command, Framing& framing);
void add_history(CLI::App* command, std::string& file);
CLI::Option* add_timeout(CLI::App* command, double& seconds, const std::string& description);

inline std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// unsupported, for the weaker levels that this version refuses · invalid.
Result<Durability> parse_durability(std::string_view text);

// A stream's identity: a number other than 0, or any other text, of which a number is made.
uint64_t stream_id(std::string_view text);

}  // namespace caisson::tools
