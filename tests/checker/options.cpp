// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace caisson::checker {

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  caisson-check history.jsonl                  one history\n"
    "  caisson-check a.jsonl b.jsonl --json         one, kept by two processes on one machine\n"
    "  caisson-check --each days/*.jsonl            many, each by itself\n"
    "  caisson-sim --replay 42 --history h && caisson-check h\n"
    "  caisson-check --region D/replica-*/data/logs/main/region\n"
    "  caisson-check history.jsonl --region D/replica-*/data/logs/main/region\n"
    "\nRegions are those of processes that have ended. Exit codes: 0 nothing broke, 3 an "
    "invariant\n"
    "broke, 4 bad arguments, 5 no history or no region, 8 no such file, 23 cannot read or write\n"
    "(docs/history.md).";

}  // namespace

Parsed parse(int argc, const char* const* argv) {
  Parsed parsed;
  Options& o = parsed.options;
  CLI::App app("caisson-check: judges histories and the images of replicas", "caisson-check");
  app.footer(kFooter);
  app.add_option("HISTORY", o.histories, "JSON lines (docs/history.md); - is standard input");
  app.add_option("--region", o.regions, "region files of one log's replicas")->type_name("FILE");
  app.add_flag("--each", o.each, "every HISTORY is one by itself");
  app.add_flag("--json", o.json, "prints the result as one JSON object");
  try {
    app.parse(argc, argv);
    if (o.histories.empty() && o.regions.empty()) {
      throw CLI::ValidationError("give a HISTORY, or --region");
    }
    if (o.each && !o.regions.empty()) {
      throw CLI::ValidationError("--each and --region exclude each other");
    }
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      (void)app.exit(error);  // --help: prints it
      parsed.ending = Ending::ok;
      return parsed;
    }
    const bool json = std::any_of(
        argv + 1, argv + argc, [](const char* word) { return std::string_view(word) == "--json"; });
    parsed.ending = report(Ending::usage, std::string(error.what()) + "; see --help", json);
  }
  return parsed;
}

Ending report(Ending ending, const std::string& message, bool json) {
  std::fprintf(stderr, "caisson-check: %s\n", message.c_str());
  if (json) {
    std::string_view name;
    for (const EndingRow& row : kEndings) {
      if (row.ending == ending) name = row.name;
    }
    const nlohmann::ordered_json object{{"ok", false},
                                        {"error", {{"code", name}, {"message", message}}},
                                        {"exit_code", static_cast<int>(ending)}};
    std::printf("%s\n",
                object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  return ending;
}

}  // namespace caisson::checker
