// SPDX-License-Identifier: BSD-3-Clause
#include "tests/simulator/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "tests/simulator/report.hpp"

namespace caisson::simtest {

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  caisson-sim                                 seeds 1 to 1000\n"
    "  caisson-sim --seeds 1..1000000 --minutes 10 as many of them as ten minutes allow\n"
    "  caisson-sim --seed 42 --json                one seed, as one JSON object\n"
    "  caisson-sim --replay 42 --trace             what happened, moment by moment\n"
    "  caisson-sim --replay 42 --history 42.jsonl  every operation, for another checker\n"
    "  caisson-sim --shrink 42 --out small.json    the least that still fails\n"
    "  caisson-sim --schedule small.json --trace   a schedule from a file\n"
    "  caisson-sim --draw 42                       the schedule that a seed draws\n"
    "  caisson-sim --seeds 1..9000 --page sim.html what was run, to look at\n"
    "  caisson-sim --seeds 1..50 --canary lost     wrong on purpose: each must be reported\n"
    "  caisson-sim --checker build/bin/caisson-check --seeds 1..50   a second judge for each\n"
    "\nExit codes: 0 no seed failed, 1 a seed crashed, 3 an invariant broke, 4 bad arguments,\n"
    "5 no schedule or coverage, 7 no service after the faults, 8 no such file, 23 cannot write,\n"
    "24 a canary was not reported, or the seed to shrink does not fail (docs/simulation.md).";

bool number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

void take_range(const std::string& text, Options& o) {
  const size_t dots = text.find("..");
  const bool good = dots != std::string::npos && number(text.substr(0, dots), o.first) &&
                    number(text.substr(dots + 2), o.last) && o.first <= o.last;
  if (!good) throw CLI::ValidationError("--seeds", "wants A..B with A <= B, not '" + text + "'");
}

struct Words {
  std::string seeds, canary;
  std::optional<uint64_t> seed, replay, shrink, draw;
};

void settle(const Words& words, bool minutes_given, Options& o) {
  if (!words.seeds.empty()) take_range(words.seeds, o);
  if (words.seeds.empty() && minutes_given) o.last = UINT64_MAX;
  if (!words.canary.empty()) {
    const auto canary = canary_of(words.canary);
    if (!canary || *canary == Canary::none) {
      throw CLI::ValidationError(
          "--canary", "wants lost, early, changed, hole or stale, not '" + words.canary + "'");
    }
    o.canary = *canary;
  }
  using Mode = Options::Mode;
  const std::array<std::pair<const std::optional<uint64_t>*, Mode>, 4> single = {
      {{&words.seed, Mode::one},
       {&words.replay, Mode::one},
       {&words.shrink, Mode::shrink},
       {&words.draw, Mode::draw}}};
  int modes = words.seeds.empty() && !minutes_given ? 0 : 1;
  for (const auto& [seed, mode] : single) {
    if (!*seed) continue;
    ++modes;
    o.mode = mode;
    o.first = o.last = **seed;
  }
  if (!o.schedule_file.empty()) {
    ++modes;
    o.mode = Mode::one;
  }
  if (modes > 1) {
    throw CLI::ValidationError(
        "give one of --seeds or --minutes, --seed, --replay, --schedule, --shrink, --draw");
  }
  if (o.mode != Mode::one && (o.trace || o.trace_all || !o.history_file.empty())) {
    throw CLI::ValidationError("--trace and --history go with --seed, --replay or --schedule");
  }
  if (o.mode != Mode::campaign && !o.page_file.empty()) {
    throw CLI::ValidationError("--page goes with --seeds or --minutes");
  }
  if (o.page_file.empty() && !o.coverage_file.empty()) {
    throw CLI::ValidationError("--coverage goes with --page");
  }
  if (o.mode != Mode::shrink && !o.out_file.empty()) {
    throw CLI::ValidationError("--out goes with --shrink");
  }
  if (o.json && (o.trace || o.trace_all)) {
    throw CLI::ValidationError("--json and --trace exclude each other");
  }
}

}  // namespace

Parsed parse(int argc, const char* const* argv) {
  Parsed parsed;
  Options& o = parsed.options;
  Words words;
  CLI::App app("caisson-sim: whole clusters in one thread and virtual time, each from one seed",
               "caisson-sim");
  app.footer(kFooter);
  app.add_option("--seeds", words.seeds, "runs all of these")->type_name("A..B");
  auto* minutes = app.add_option("--minutes", o.minutes, "stops after so many")
                      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000}));
  app.add_option("--jobs", o.jobs, "processes")->check(CLI::Range(1u, 256u))->capture_default_str();
  app.add_flag("--keep-going", o.keep_going, "does not stop at the first seed that fails");
  app.add_option("--seed", words.seed, "runs one")->type_name("N");
  app.add_option("--replay", words.replay, "the same, with --trace or --history")->type_name("N");
  app.add_option("--schedule", o.schedule_file, "runs a schedule from a file")->type_name("FILE");
  app.add_flag("--trace", o.trace, "prints what happens: faults, deaths, terms, views");
  app.add_flag("--trace-all", o.trace_all, "… and every append, answer and entry shown");
  app.add_option("--history", o.history_file, "writes every operation there (docs/history.md)")
      ->type_name("FILE");
  app.add_option("--shrink", words.shrink, "makes a failing seed's schedule small")->type_name("N");
  app.add_option("--out", o.out_file, "where to: shrunk-N.json unless given")->type_name("FILE");
  app.add_option("--draw", words.draw, "prints the schedule that a seed draws")->type_name("N");
  app.add_option("--canary", words.canary,
                 "spoils each history on purpose: lost, early, changed, hole or stale")
      ->type_name("KIND");
  app.add_option("--checker", o.checker,
                 "a second judge: this program gets every history on its standard input")
      ->type_name("PROGRAM");
  app.add_option("--page", o.page_file, "draws the result there, as one HTML page")
      ->type_name("FILE");
  app.add_option("--coverage", o.coverage_file,
                 "… with the coverage that llvm-cov export --summary-only wrote there")
      ->type_name("FILE");
  app.add_flag("--json", o.json, "prints the result as one JSON object");
  try {
    app.parse(argc, argv);
    settle(words, minutes->count() > 0, o);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      (void)app.exit(error);  // --help: prints it
      parsed.ending = Ending::ok;
      return parsed;
    }
    const bool json = std::any_of(argv + 1, argv + argc,
                                  [](const char* word) { return !std::strcmp(word, "--json"); });
    parsed.ending = report(Ending::usage, std::string(error.what()) + "; see --help", json);
  }
  return parsed;
}

}  // namespace caisson::simtest
