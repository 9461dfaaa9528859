// SPDX-License-Identifier: BSD-3-Clause
// What every command of the program shares: registration, results, errors, progress.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "caisson/types.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::tools {

using Json = nlohmann::ordered_json;

// What parsing chose to run; runs after parsing, so that bad arguments never start anything.
using Action = std::function<Exit(bool json)>;

struct Commands {
  CLI::App& app;
  Action chosen;
  bool json = false;

  // A command below `parent` with --json and its examples under --help. The action runs if the
  // command line names it. `options` lives as long as the program.
  template <class Options>
  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& description,
                const std::string& examples, std::shared_ptr<Options> options,
                Exit (*run)(const Options&, bool json)) {
    CLI::App* command = parent.add_subcommand(name, description);
    command->add_flag("--json", json, "print the result as one JSON object");
    command->footer("Examples:\n" + examples + "\nExit codes: docs/cli.md.");
    command->callback([this, options, run] {
      chosen = [options, run](bool as_json) { return run(*options, as_json); };
    });
    return command;
  }
};

void add_node(Commands& commands);
void add_cluster(Commands& commands);
void add_append(Commands& commands);
void add_read(Commands& commands);
void add_log_position(Commands& commands);  // tail, trim
void add_status(Commands& commands);
void add_member(Commands& commands);
void add_recover(Commands& commands);  // member recover; behind add_member
void add_leader(Commands& commands);
void add_log_files(Commands& commands);  // log verify, log dump
void add_salvage(Commands& commands);
void add_backup(Commands& commands);  // backup make, backup verify
void add_restore(Commands& commands);
void add_bench(Commands& commands);
void add_doctor(Commands& commands);
void add_cert(Commands& commands);
void add_version(Commands& commands);

// The whole program; returns the exit code.
int run_program(int argc, const char* const* argv);

// One JSON object on standard output, and a line feed.
void print_json(const Json& object);
// Hands on what is still buffered. io, no_space: some of what was printed is lost.
Result<void> finish_output();
// Says what went wrong: in words on standard error, and with `json` as an object on standard
// output.
Exit report(const Error& error, bool json);
Exit report_usage(const std::string& message, bool json);
// The object that report() prints.
Json error_object(const Error& error);

// "12.3 MiB", "1.21 us", "20.4 M": for people.
std::string human_bytes(double bytes);
std::string human_ns(double ns);
std::string human_count(double count);

// Sizes on the command line: 4096, 64KiB, 1GiB; decimal suffixes (KB) are powers of ten.
Result<uint64_t> parse_bytes(std::string_view text);
// A CLI11 option that takes such a size.
CLI::Option* add_bytes(CLI::App* command, const std::string& name, uint64_t& bytes,
                       const std::string& description);

// A line on the terminal that is rewritten in place; silent unless standard error is a terminal.
class Progress {
 public:
  explicit Progress(bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  bool due();  // true a few times a second: then compose a line and show() it
  void show(const std::string& line);
  void clear();

 private:
  bool enabled_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace caisson::tools
