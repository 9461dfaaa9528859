// SPDX-License-Identifier: BSD-3-Clause
// caisson-check as people and scripts use it: known-bad and good histories, what is no history at
// all, and the days of the simulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/checker/options.hpp"
#include "tests/checker/rules.hpp"
#include "tests/support/program.hpp"

namespace caisson::test {
namespace {

using checker::Ending;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

int code(Ending ending) { return static_cast<int>(ending); }

fs::path source() {
  const char* const root = std::getenv("CAISSON_SOURCE_DIR");
  return root != nullptr ? root : ".";
}

std::vector<fs::path> histories(const char* kind) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(source() / "tests/checker/histories" / kind)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The invariant that a known-bad history breaks is the first word of its name.
std::string named_by(const fs::path& file) {
  const std::string name = file.stem().string();
  return name.substr(0, name.find('-'));
}

std::vector<std::string> violated(const Outcome& outcome) {
  std::vector<std::string> names;
  const Json json = outcome.json();
  for (const auto& each : json["violations"]) names.push_back(each["invariant"]);
  return names;
}

TEST(Checker, EveryKnownBadHistoryIsRejectedByItsNameAlone) {
  const auto files = histories("bad");
  ASSERT_GE(files.size(), checker::kRules.size());
  for (const fs::path& file : files) {
    const Outcome outcome = check({"--json", file.string()});
    EXPECT_EQ(outcome.exit, code(Ending::violated)) << file << outcome.output << outcome.errors;
    EXPECT_THAT(violated(outcome), ElementsAre(named_by(file))) << file << outcome.output;
    EXPECT_THAT(outcome.json()["violations"][0]["where"], HasSubstr(file.string() + ":"));
  }
}

TEST(Checker, EveryRuleHasAKnownBadHistory) {
  std::vector<std::string> named;
  for (const fs::path& file : histories("bad")) named.push_back(named_by(file));
  for (const checker::Rule& rule : checker::kRules) {
    EXPECT_THAT(named, ::testing::Contains(std::string(rule.name)));
  }
}

TEST(Checker, EveryGoodHistoryIsAccepted) {
  const auto files = histories("good");
  ASSERT_FALSE(files.empty());
  for (const fs::path& file : files) {
    const Outcome outcome = check({file.string()});
    EXPECT_EQ(outcome.exit, code(Ending::ok)) << file << outcome.output << outcome.errors;
    EXPECT_THAT(outcome.output, HasSubstr("nothing broke"));
  }
}

TEST(Checker, HistoriesOfSeveralProcessesAreJudgedAsOneUnlessToldOtherwise) {
  Scratch scratch;
  const std::string a = scratch.path() / "a.jsonl", b = scratch.path() / "b.jsonl";
  write_file(a, R"({"process":"a.1","op":"read","position":5,"invoke_ns":1,"return_ns":4,)"
                R"("result":"ok"})"
                "\n");
  write_file(b, R"({"process":"b.1","op":"read","position":4,"invoke_ns":5,"return_ns":7,)"
                R"("result":"ok"})"
                "\n");
  for (const Arguments& order : {Arguments{"--json", a, b}, Arguments{"--json", b, a}}) {
    const Outcome one = check(order);
    EXPECT_EQ(one.exit, code(Ending::violated)) << one.output;
    EXPECT_THAT(violated(one), ElementsAre("I7"));
    EXPECT_EQ(one.json()["violations"][0]["where"], b + ":1");
  }
  EXPECT_EQ(check({"--each", a, b}).exit, code(Ending::ok));
  EXPECT_EQ(check({"-"}, read_file(a)).exit, code(Ending::ok));
}

// One line each; what is wrong with it, and a part of what has to be said.
TEST(Checker, WhatIsNoHistoryIsRefusedWithFileLineAndCure) {
  const std::string start = R"({"process":"c.1","op":"read","position":1,"invoke_ns":1,)";
  const std::string good = start + R"("return_ns":2,"result":"ok"})";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "not JSON"},
      {"nonsense", "not JSON"},
      {"[1]", "not an object"},
      {"7", "not an object"},
      {good + good, "not JSON"},
      {std::string("{\"process\":\"a\0\"}", 16), "not JSON"},
      {"{\"process\":\"\xff\xfe\"}", "not JSON"},
      {R"({"process":"c.1","process":"c.2"})", "\"process\" stands there twice"},
      {R"({"process":"c.1","colour":"red"})", "no field \"colour\""},
      {R"({"process":7})", "\"process\" is a number"},
      {R"({"process":null})", "\"process\" is null"},
      {R"({"process":"c.1"})", "has no \"op\""},
      {R"({"op":"read"})", "has no \"process\""},
      {R"({"process":"c.1","op":"dance","result":"ok"})", "no op \"dance\""},
      {R"({"process":"c.1","op":"read","result":"fine"})", "no result \"fine\""},
      {R"({"process":"c.1","op":"read","result":"unreadable"})", "no such \"result\""},
      {R"({"process":"c.1","op":"read","value":{}})", "\"value\" is an object"},
      {R"({"process":"c.1","op":"read","value":[[[[]]]]})", "\"value\" is an array"},
      {start + R"("return_ns":-2,"result":"ok"})", "\"return_ns\" is a negative number"},
      {start + R"("return_ns":2.5,"result":"ok"})", "\"return_ns\" is no whole number"},
      {start + R"("return_ns":99999999999999999999,"result":"ok"})", "is no whole number"},
      {start + R"("return_ns":true,"result":"ok"})", "\"return_ns\" is a boolean"},
      {start + R"("return_ns":"2","result":"ok"})", "\"return_ns\" is a string"},
      {start + R"("result":"ok"})", "\"return_ns\" of an op \"read\" with this result is missing"},
      {start + R"("return_ns":2,"count":1,"result":"ok"})", "\"count\" of an op \"read\""},
      {start + R"("return_ns":0,"result":"ok"})", "returns before it is invoked"},
      {start + R"("return_ns":2,"durability":"firm","result":"ok"})", "no durability \"firm\""},
      {R"({"process":"c.1","op":"skip","position":18446744073709551615,"return_ns":1,)"
       R"("result":"ok"})",
       "\"position\" is beyond any log's end"},
      {R"({"process":"r.1","op":"deliver","position":0,"return_ns":1,"result":"ok"})",
       "no entry at position 0"},
      {R"({"process":"r.1","op":"deliver","value":"1.1.1","position":1,"return_ns":1,)"
       R"("result":"ok"})",
       "it wants client.incarnation.sequence:digest"},
      {R"({"process":"r.1","op":"attach","value":"1.1.1","return_ns":1,"result":"ok"})",
       "it wants client.incarnation"},
      {"{\"process\":\"" + std::string(70'000, 'x') + "\"}", "longer than 65536 bytes"},
  };
  Scratch scratch;
  const std::string file = scratch.path() / "history.jsonl";
  for (const auto& [line, what] : bad) {
    write_file(file, good + "\n" + line + "\n" + good + "\n");
    const Outcome outcome = check({file, "--json"});
    const std::string shown = line.substr(0, 100);
    EXPECT_EQ(outcome.exit, code(Ending::invalid)) << shown;
    EXPECT_THAT(outcome.errors, HasSubstr("caisson-check: " + file + ":2: ")) << shown;
    EXPECT_THAT(outcome.errors, HasSubstr(what)) << shown;
    EXPECT_EQ(outcome.json()["error"]["code"], "invalid") << shown;
  }
}

TEST(Checker, ATornLastLineAnEmptyFileAndAWrongOrderAreRefused) {
  Scratch scratch;
  const std::string file = scratch.path() / "history.jsonl";
  const auto line = [](int return_ns) {
    return R"({"process":"c.1","op":"read","position":1,"invoke_ns":1,"return_ns":)" +
           std::to_string(return_ns) + R"(,"result":"ok"})";
  };
  write_file(file, line(2) + "\n" + line(3).substr(0, 40));
  EXPECT_THAT(check({file}).errors, HasSubstr(":2: it is cut off: its writer was ended; delete"));
  write_file(file, line(2) + "\n" + line(3));
  EXPECT_EQ(check({file}).exit, code(Ending::ok)) << "whole, but for its newline";
  write_file(file, "");
  EXPECT_THAT(check({file}).errors, HasSubstr("it holds no operation"));
  write_file(file, line(3) + "\n" + line(2) + "\n");
  const Outcome order = check({file});
  EXPECT_EQ(order.exit, code(Ending::invalid));
  EXPECT_THAT(order.errors, HasSubstr(":2: it ended before the line above it did"));
  EXPECT_EQ(check({"/nowhere.jsonl"}).exit, code(Ending::not_found));
  EXPECT_EQ(check({scratch.path().string()}).exit, code(Ending::io)) << "a directory";
}

TEST(Checker, BadArgumentsAreRefusedAndTheManualHasEveryRuleAndEnding) {
  const std::vector<Arguments> bad = {
      {}, {"--frobnicate"}, {"--each"}, {"--each", "a", "--region", "b"}};
  for (const Arguments& arguments : bad) {
    const Outcome outcome = check(arguments);
    EXPECT_EQ(outcome.exit, code(Ending::usage)) << ::testing::PrintToString(arguments);
    EXPECT_THAT(outcome.errors, HasSubstr("see --help"));
  }
  const Outcome help = check({"--help"});
  EXPECT_EQ(help.exit, code(Ending::ok));
  EXPECT_THAT(help.output, HasSubstr("Examples:"));
  EXPECT_THAT(help.output, HasSubstr("Exit codes:"));
  const std::string manual = read_file(source() / "docs/history.md");
  for (const checker::EndingRow& row : checker::kEndings) {
    EXPECT_THAT(manual, HasSubstr("| " + std::to_string(code(row.ending)) + " | " +
                                  std::string(row.name) + " | " + std::string(row.meaning) + " |"));
  }
  for (const checker::Rule& rule : checker::kRules) {
    EXPECT_THAT(manual, HasSubstr("| " + std::string(rule.name) + " | " +
                                  std::string(rule.meaning) + " |"));
  }
}

// ---- The simulator's days -----------------------------------------------------------------------

Outcome sim(Arguments arguments) {
  arguments.insert(arguments.begin(), beside("caisson-sim"));
  arguments.insert(arguments.end(), {"--json", "--checker", beside("caisson-check")});
  return run_other(arguments);
}

TEST(Checker, DaysThatTheSimulatorsOwnJudgeAcceptsAreAccepted) {
  const Outcome outcome = sim({"--seeds", "1..200", "--keep-going"});
  EXPECT_EQ(outcome.exit, 0) << outcome.output;
  EXPECT_EQ(outcome.json()["seeds"], 200);
}

TEST(Checker, EveryCanaryIsReportedByBothJudges) {
  for (const char* kind : {"lost", "early", "changed", "hole", "stale"}) {
    const Outcome outcome = sim({"--seeds", "1..15", "--canary", kind});
    EXPECT_EQ(outcome.exit, 0) << kind << outcome.output;
    EXPECT_EQ(outcome.json()["unreported"], 0) << kind;
  }
}

TEST(Checker, AJudgeThatCannotBeAskedAcceptsNothing) {
  for (const char* judge : {"/nowhere", "/bin/false"}) {
    const Outcome outcome = run_other({beside("caisson-sim"), "--seed", "1", "--checker", judge});
    EXPECT_EQ(outcome.exit, code(Ending::violated)) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("CHECKER: " + std::string(judge)));
  }
}

}  // namespace
}  // namespace caisson::test
