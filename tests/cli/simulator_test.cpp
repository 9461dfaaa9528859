// SPDX-License-Identifier: BSD-3-Clause
// caisson-sim as people and scripts use it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "tests/simulator/options.hpp"
#include "tests/support/program.hpp"

namespace caisson::test {
namespace {

using simtest::Ending;
using ::testing::HasSubstr;
using ::testing::Not;

Outcome sim(Arguments arguments) {
  const std::filesystem::path beside(program());
  arguments.insert(arguments.begin(), (beside.parent_path() / "caisson-sim").string());
  return run_other(arguments);
}

int code(Ending ending) { return static_cast<int>(ending); }

TEST(Simulator, OneSeedIsTheSameRunAlwaysAndFromItsSchedule) {
  Scratch scratch;
  const Outcome first = sim({"--seed", "42", "--json"});
  ASSERT_EQ(first.exit, code(Ending::ok)) << first.output << first.errors;
  EXPECT_EQ(first.errors, "");
  EXPECT_EQ(first.json()["ok"], true);
  EXPECT_EQ(first.json()["seeds"], 1);
  EXPECT_GT(first.json()["events"], 1000);
  EXPECT_EQ(sim({"--replay", "42", "--json"}).json()["trace"], first.json()["trace"]);
  const Outcome drawn = sim({"--draw", "42"});
  ASSERT_EQ(drawn.exit, code(Ending::ok));
  const auto file = scratch.path() / "42.json";
  write_file(file, drawn.output);
  const Outcome again = sim({"--schedule", file.string(), "--json"});
  EXPECT_EQ(again.json()["trace"], first.json()["trace"]) << again.output << again.errors;
  EXPECT_NE(sim({"--seed", "43", "--json"}).json()["trace"], first.json()["trace"]);
}

TEST(Simulator, ManySeedsAreTheSameRunsOnAnyNumberOfProcesses) {
  const Outcome one = sim({"--seeds", "1..24", "--jobs", "1", "--json"});
  const Outcome three = sim({"--seeds", "1..24", "--jobs", "3", "--json"});
  ASSERT_EQ(one.exit, code(Ending::ok)) << one.output;
  EXPECT_EQ(one.json()["trace"], three.json()["trace"]);
  EXPECT_EQ(one.json()["seeds"], 24);
  for (const char* total : {"events", "faults", "faults_by_class", "failovers", "power_cuts",
                            "cluster_hours", "committed", "links"}) {
    EXPECT_EQ(one.json()[total], three.json()[total]) << total;
  }
  EXPECT_GT(one.json()["seeds_per_minute"], 0);
  EXPECT_TRUE(one.json()["failures"].empty());
  const Outcome words = sim({"--seeds", "1..3"});
  EXPECT_EQ(words.errors, "") << "progress belongs on a terminal";
  EXPECT_THAT(words.output, HasSubstr("cluster-hours"));
  EXPECT_THAT(words.output, HasSubstr("no seed failed"));
}

TEST(Simulator, TellsWhatHappenedAndWritesEveryOperation) {
  Scratch scratch;
  const auto file = scratch.path() / "history.jsonl";
  const Outcome told = sim({"--replay", "42", "--trace", "--history", file.string()});
  ASSERT_EQ(told.exit, code(Ending::ok)) << told.errors;
  for (const char* line : {" us  fault: ", " leads term ", " us  a view with the voters ",
                           "acknowledged, shown through", "everything is healed"}) {
    EXPECT_THAT(told.output, HasSubstr(line));
  }
  EXPECT_THAT(sim({"--replay", "42", "--trace-all"}).output, HasSubstr(" us  submit "));
  std::istringstream lines(read_file(file));
  uint64_t operations = 0;
  for (std::string line; std::getline(lines, line); ++operations) {
    ASSERT_TRUE(Json::parse(line, nullptr, false).contains("invoke_ns")) << line;
  }
  EXPECT_GT(operations, 100u);
  EXPECT_EQ(sim({"--replay", "42", "--history", "/nowhere/h"}).exit, code(Ending::io));
}

TEST(Simulator, EveryCanaryIsReported) {
  for (const char* kind : {"lost", "early", "changed", "hole", "stale"}) {
    const Outcome outcome = sim({"--seeds", "1..15", "--canary", kind, "--json"});
    EXPECT_EQ(outcome.exit, code(Ending::ok)) << kind << outcome.output;
    EXPECT_EQ(outcome.json()["unreported"], 0) << kind;
    EXPECT_EQ(outcome.json()["seeds"], 15) << kind;
  }
}

TEST(Simulator, ShrinksWhatFailsAndRunsWhatIsLeft) {
  Scratch scratch;
  const auto file = scratch.path() / "small.json";
  const Outcome small =
      sim({"--shrink", "7", "--canary", "lost", "--out", file.string(), "--json"});
  ASSERT_EQ(small.exit, code(Ending::ok)) << small.output << small.errors;
  EXPECT_EQ(small.json()["actions"], 0) << "a spoilt history needs no faults";
  EXPECT_GT(small.json()["actions_before"], 5);
  EXPECT_EQ(sim({"--schedule", file.string()}).exit, code(Ending::ok));
  const Outcome sound = sim({"--shrink", "7", "--out", file.string(), "--json"});
  EXPECT_EQ(sound.exit, code(Ending::missed));
  EXPECT_EQ(sound.json()["error"]["code"], "missed");
}

TEST(Simulator, ACrashOfOneSeedIsAFailureOfThatSeed) {
  Scratch scratch;
  const auto file = scratch.path() / "stuck.json";
  write_file(file, R"({"schedule": 1, "run_ns": 5000000, "clients": [{}],
      "world": {"message_ns_max": 4000000000}})");
  const Outcome stuck = sim({"--schedule", file.string(), "--json"});
  EXPECT_EQ(stuck.exit, code(Ending::stuck)) << stuck.output;
  EXPECT_EQ(stuck.json()["failures"][0]["kind"], "stuck");
  // More memory than there is.
  write_file(file, R"({"schedule": 1, "run_ns": 5000000,
      "world": {"salvage_bytes": 4611686018427387904}})");
  const Outcome crashed = sim({"--schedule", file.string(), "--json"});
  EXPECT_EQ(crashed.exit, code(Ending::failure)) << crashed.output;
  EXPECT_EQ(crashed.json()["failures"][0]["violations"][0]["invariant"], "CRASH");
}

TEST(Simulator, BadArgumentsAndFilesAreRefusedByName) {
  const std::vector<Arguments> bad = {{"--seeds", "5"},
                                      {"--seeds", "9..3"},
                                      {"--seed", "1", "--seeds", "1..2"},
                                      {"--canary", "tweety"},
                                      {"--seeds", "1..2", "--trace"},
                                      {"--seed", "1", "--out", "x"},
                                      {"--seed", "1", "--trace", "--json"},
                                      {"--jobs", "0"},
                                      {"--frobnicate"}};
  for (const Arguments& arguments : bad) {
    const Outcome outcome = sim(arguments);
    EXPECT_EQ(outcome.exit, code(Ending::usage)) << ::testing::PrintToString(arguments);
    EXPECT_THAT(outcome.errors, HasSubstr("caisson-sim: "));
  }
  EXPECT_EQ(sim({"--schedule", "/nowhere.json"}).exit, code(Ending::not_found));
  Scratch scratch;
  const auto file = scratch.path() / "bad.json";
  write_file(file, R"({"schedule": 1, "actions": [{"fault": "flood"}]})");
  const Outcome flood = sim({"--schedule", file.string(), "--json"});
  EXPECT_EQ(flood.exit, code(Ending::invalid));
  EXPECT_THAT(flood.errors, HasSubstr("there is no fault \"flood\""));
  EXPECT_EQ(flood.json()["error"]["code"], "invalid");
}

TEST(Simulator, ThePageShowsWhatWasRunAndHowMuchOfTheEngine) {
  Scratch scratch;
  const auto page = scratch.path() / "sim.html", coverage = scratch.path() / "coverage.json";
  write_file(coverage, R"({"data": [{"files": [
      {"filename": "/src/core/log/ring.cpp",
       "summary": {"lines": {"count": 200, "covered": 190}, "branches": {"count": 50, "covered": 40}}},
      {"filename": "/src/tests/sim/world.cpp",
       "summary": {"lines": {"count": 900, "covered": 0}, "branches": {"count": 9, "covered": 0}}}]}]})");
  const Arguments some{"--seeds", "1..20", "--page", page.string()};
  Arguments covered = some;
  covered.insert(covered.end(), {"--coverage", coverage.string()});
  const Outcome outcome = sim(covered);
  ASSERT_EQ(outcome.exit, code(Ending::ok)) << outcome.output;
  const std::string html = read_file(page);
  for (const char* const text :
       {"20 seeds in ", "No seed failed.", ">bit-rot<", ">power-all-inside<", "<svg ",
        ">core/log, lines<", "95.0 % of 200", "80.0 % of 50", ">core, branches<", "</html>"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
  EXPECT_THAT(html, Not(HasSubstr("tests/sim")));
  ASSERT_EQ(sim(some).exit, code(Ending::ok));
  EXPECT_THAT(read_file(page), HasSubstr("Not measured in this run."));
  write_file(coverage, R"({"data": []})");
  EXPECT_EQ(sim(covered).exit, code(Ending::invalid));
  EXPECT_EQ(sim({"--seeds", "1..2", "--page", "/nowhere/sim.html"}).exit, code(Ending::io));
  EXPECT_EQ(sim({"--seed", "1", "--page", page.string()}).exit, code(Ending::usage));
}

TEST(Simulator, HelpHasExamplesAndTheManualHasEveryEnding) {
  const Outcome help = sim({"--help"});
  EXPECT_EQ(help.exit, code(Ending::ok));
  EXPECT_THAT(help.output, HasSubstr("Examples:"));
  EXPECT_THAT(help.output, HasSubstr("Exit codes:"));
  const char* const source = std::getenv("CAISSON_SOURCE_DIR");
  const std::string manual =
      read_file(std::filesystem::path(source != nullptr ? source : ".") / "docs/simulation.md");
  for (const simtest::EndingRow& row : simtest::kEndings) {
    EXPECT_THAT(manual, HasSubstr("| " + std::to_string(code(row.ending)) + " | " +
                                  std::string(row.name) + " | " + std::string(row.meaning) + " |"));
  }
}

}  // namespace
}  // namespace caisson::test
