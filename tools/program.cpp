// SPDX-License-Identifier: BSD-3-Clause
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "bench/load_node.hpp"
#include "bench/system_call_tracer.hpp"
#include "bench/system_calls.hpp"
#include "caisson/caisson.hpp"
#include "tools/bench_command.hpp"
#include "tools/command.hpp"

namespace caisson::tools {

namespace {

struct NoOptions {};

Exit run_version(const NoOptions&, bool json) {
  if (json) {
    print_json({{"ok", true},
                {"version", version()},
                {"compiler", __VERSION__},
                {"fabrics", {"shm", "verbs"}},
                {"persistence", {"emulated", "real"}}});
  } else {
    std::printf("caisson %s\n", std::string(version()).c_str());
  }
  return Exit::ok;
}

// Started by `bench` itself; not for people, and so not in the help.
std::optional<int> run_hidden(int argc, const char* const* argv) {
  if (argc == 4 && argv[1] == bench::kLoadCommand) return bench::run_load_node(argv[2], argv[3]);
  if (const auto host = run_bench_host(argc, argv)) return host;
  if (argc != 3 || argv[1] != bench::kTraceCommand) return std::nullopt;
  int process = 0;
  std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), process);
  return bench::trace_system_calls(process);
}

// Flags that CLI11 has not yet read when it finds the error.
bool wants_json(int argc, const char* const* argv) {
  return std::any_of(argv + 1, argv + argc,
                     [](const char* word) { return !std::strcmp(word, "--json"); });
}

// The first word that stands where a command is expected and is none; empty: there is none.
std::string unknown_command(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* group = &app;
  std::string path = "caisson";
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-') continue;
    if (group->get_require_subcommand_min() == 0) return "";
    const auto commands = group->get_subcommands(
        [&](const CLI::App* command) { return command->get_name() == argv[i]; });
    if (commands.empty()) {
      return "there is no command '" + path + " " + argv[i] + "'; see " + path + " --help";
    }
    group = commands.front();
    path += std::string(" ") + argv[i];
  }
  return "";
}

Exit on_parse_error(const CLI::App& app, const CLI::ParseError& error, int argc,
                    const char* const* argv) {
  const bool json = wants_json(argc, argv);
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    (void)app.exit(error);  // --help: prints it
    return Exit::ok;
  }
  const std::string unknown = unknown_command(app, argc, argv);
  return report_usage(unknown.empty() ? std::string(error.what()) + "; see --help" : unknown, json);
}

}  // namespace

void add_version(Commands& commands) {
  commands.add(commands.app, "version", "print the version", "  caisson version --json\n",
               std::make_shared<NoOptions>(), run_version);
}

int run_program(int argc, const char* const* argv) {
  // A reader that goes away ends a write with an error, which is reported, not the process.
  signal(SIGPIPE, SIG_IGN);
  if (const auto hidden = run_hidden(argc, argv)) return *hidden;
  CLI::App app("caisson: a replicated, durable, ordered log", "caisson");
  app.require_subcommand(1);
  app.footer("Each command explains itself: caisson COMMAND --help.");
  Commands commands{app, {}, false};
  add_cluster(commands);
  add_append(commands);
  add_read(commands);
  add_log_position(commands);
  add_status(commands);
  add_member(commands);
  add_recover(commands);
  add_leader(commands);
  add_node(commands);
  add_log_files(commands);
  add_salvage(commands);
  add_backup(commands);
  add_restore(commands);
  add_bench(commands);
  add_doctor(commands);
  add_cert(commands);
  add_version(commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(on_parse_error(app, error, argc, argv));
  }
  const Exit exit = commands.chosen(commands.json);
  const auto written = finish_output();
  // What was to be found out is lost; a failure that was reported stays what it is.
  const bool good = exit == Exit::ok || exit == Exit::unfinished || exit == Exit::missed;
  if (!written && good) return static_cast<int>(report(written.error(), false));
  return static_cast<int>(exit);
}

}  // namespace caisson::tools
