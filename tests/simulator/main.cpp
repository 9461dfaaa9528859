// SPDX-License-Identifier: BSD-3-Clause
// caisson-sim: whole clusters in one thread and virtual time, each from one seed.
#include <signal.h>

#include <cstdio>
#include <fstream>

#include "tests/sim/history_jsonl.hpp"
#include "tests/sim/schedule_json.hpp"
#include "tests/sim/shrink.hpp"
#include "tests/simulator/campaign.hpp"
#include "tests/simulator/page.hpp"
#include "tests/simulator/second_judge.hpp"
#include "tests/simulator/timeline.hpp"
#include "tools/command.hpp"

namespace caisson::simtest {

namespace {

Result<Schedule> schedule_for(const Options& options) {
  if (options.schedule_file.empty()) return draw_schedule(options.first);
  std::ifstream in(options.schedule_file);
  if (!in) return fail(Code::not_found, options.schedule_file + ": there is no such file");
  try {
    return schedule_of(Json::parse(in));
  } catch (const std::exception& error) {
    return fail(Code::invalid, options.schedule_file + ": " + error.what());
  }
}

Ending report_error(const Error& error, bool json) {
  return report(error.code == Code::not_found ? Ending::not_found : Ending::invalid, error.message,
                json);
}

bool write_history(const std::string& file, const History& history) {
  std::ofstream out(file);
  write_jsonl(history, out);
  return static_cast<bool>(out.flush());
}

// In this process, so that it may be watched, or debugged; unless nobody watches.
Ending run_one(const Options& options) {
  const auto day = schedule_for(options);
  if (!day) return report_error(day.error(), options.json);
  Summary summary;
  summary.options = options;
  summary.options.jobs = 1;
  const bool watched = options.trace || options.trace_all || !options.history_file.empty();
  Apart run;
  if (watched) {
    Timeline timeline(options.trace_all);
    History history;
    run.verdict =
        run_judged_day(*day,
                       {.witness = options.trace || options.trace_all ? &timeline : nullptr,
                        .history = &history,
                        .canary = options.canary},
                       options.checker);
    run.ending = ending_of(run.verdict);
    if (!options.history_file.empty() && !write_history(options.history_file, history)) {
      return report(Ending::io, options.history_file + ": cannot be written", options.json);
    }
  } else {
    run = run_apart(*day, options);
  }
  summary.totals = run.verdict.totals;
  summary.trace = run.verdict.trace;
  summary.unreported = run.ending == Ending::ok || run.ending == Ending::failure;
  if (run.ending != Ending::ok && options.canary == Canary::none) {
    summary.failures.push_back(
        {day->world.seed, run.ending, run.verdict.violations, run.verdict.trace});
  }
  print(summary);
  return summary.ending();
}

Ending run_shrink(const Options& options) {
  const auto day = schedule_for(options);
  if (!day) return report_error(day.error(), options.json);
  const Apart first = run_apart(*day, options);
  if (first.ending == Ending::ok) {
    return report(
        Ending::missed,
        "seed " + std::to_string(options.first) + " does not fail: there is nothing to shrink",
        options.json);
  }
  const std::string invariant = first.verdict.violations.front().invariant;
  tools::Progress progress;
  uint64_t tried = 0;
  const Schedule small = shrink(*day, [&](const Schedule& smaller) {
    ++tried;
    if (progress.due()) {
      progress.show(std::to_string(tried) + " runs, " + std::to_string(smaller.actions.size()) +
                    " actions");
    }
    const Apart run = run_apart(smaller, options);
    return run.ending == first.ending && run.verdict.violations.front().invariant == invariant;
  });
  progress.clear();
  const std::string file = options.out_file.empty()
                               ? "shrunk-" + std::to_string(options.first) + ".json"
                               : options.out_file;
  std::ofstream out(file);
  out << to_json(small).dump(1) << '\n';
  if (!out.flush()) return report(Ending::io, file + ": cannot be written", options.json);
  if (options.json) {
    print_json({{"ok", true},
                {"seed", options.first},
                {"invariant", invariant},
                {"runs", tried},
                {"actions_before", day->actions.size()},
                {"actions", small.actions.size()},
                {"file", file},
                {"schedule", to_json(small)}});
    return Ending::ok;
  }
  std::printf("%s after %llu runs: %zu of %zu actions, %zu of %zu clients\n%s\n", invariant.c_str(),
              static_cast<unsigned long long>(tried), small.actions.size(), day->actions.size(),
              small.clients.size(), day->clients.size(), to_json(small).dump(1).c_str());
  std::printf("again: caisson-sim --schedule %s --trace\n", file.c_str());
  return Ending::ok;
}

Ending run_many(const Options& options) {
  Coverage coverage;
  if (!options.coverage_file.empty()) {
    auto read = coverage_of(options.coverage_file);
    if (!read) return report_error(read.error(), options.json);
    coverage = std::move(*read);
  }
  std::ofstream page;
  if (!options.page_file.empty()) {
    page.open(options.page_file);
    if (!page) return report(Ending::io, options.page_file + ": cannot be written", options.json);
  }
  const Summary summary = run_campaign(options);
  if (page.is_open()) {
    page << to_html(summary, coverage);
    if (!page.flush()) {
      return report(Ending::io, options.page_file + ": cannot be written", options.json);
    }
  }
  print(summary);
  return summary.ending();
}

Ending run(const Options& options) {
  switch (options.mode) {
    case Options::Mode::one: return run_one(options);
    case Options::Mode::shrink: return run_shrink(options);
    case Options::Mode::draw:
      std::printf("%s\n", to_json(draw_schedule(options.first)).dump(1).c_str());
      return Ending::ok;
    case Options::Mode::campaign: break;
  }
  return run_many(options);
}

}  // namespace

}  // namespace caisson::simtest

int main(int argc, char** argv) {
  using namespace caisson::simtest;
  // A reader that goes away ends a write with an error, which is reported, not the process.
  signal(SIGPIPE, SIG_IGN);
  const Parsed parsed = parse(argc, argv);
  const Ending ending = parsed.ending ? *parsed.ending : run(parsed.options);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return static_cast<int>(report(Ending::io, "standard output cannot be written", false));
  }
  return static_cast<int>(ending);
}
