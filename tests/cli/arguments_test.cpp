// SPDX-License-Identifier: BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;

int code(Exit exit) { return static_cast<int>(exit); }

TEST(Arguments, BadOnesAreRefusedWithTheUsageCodeAndNothingOnStandardOutput) {
  const std::vector<Arguments> bad = {
      {},
      {"frobnicate"},
      {"append"},
      {"append", "--dir"},
      {"append", "--dir", "/nowhere", "--frame", "xml"},
      {"append", "--dir", "/nowhere", "--timeout", "-1"},
      {"append", "--dir", "/nowhere", "--timeout", "nan"},
      {"append", "--dir", "/nowhere", "--durability", "bogus"},
      {"append", "--dir", ""},
      {"cluster", "frobnicate"},
      {"cluster", "start", "--dir", ""},
      {"cluster", "start", "--dir", "/nowhere", "--timeout", "nan"},
      {"cluster", "start", "--dir", "/nowhere", "--ring-bytes", "1000"},
      {"cluster", "start", "--dir", "/nowhere", "--logs", "Main"},
      {"cluster", "start", "--dir", "/nowhere", "--logs", "a,a"},
      {"cluster", "kill", "--dir", "/nowhere", "--replica", "foo"},
      {"cluster", "kill", "--dir", "/nowhere", "--replica", "300"},
      {"append", "--dir", "/nowhere", "--resume"},
      {"read", "--dir", "/nowhere", "--from", "0"},
      {"read", "--dir", "/nowhere", "--positions", "--frame", "length32"},
      {"trim", "--dir", "/nowhere"},
      {"cluster"},
      {"cluster", "start"},
      {"cluster", "start", "--dir", "/nowhere", "--replicas", "0"},
      {"cluster", "start", "--dir", "/nowhere", "--ring-bytes", "many"},
      {"cluster", "start", "--dir", "/nowhere", "--persistence", "guess"},
      {"cluster", "kill", "--dir", "/nowhere", "--replica", "1", "--signal", "HUG"},
      {"bench", "append", "--inflight", "0"},
      {"cert", "make", "--authority", "/nowhere", "--node", "99", "--out", "x"},
      {"cert", "make", "--authority", "/nowhere", "--out", "x"},
      {"log", "verify"},
      {"version", "--loud"},
  };
  for (const Arguments& arguments : bad) {
    const Outcome outcome = run(arguments);
    const std::string line = ::testing::PrintToString(arguments);
    EXPECT_EQ(outcome.exit, code(Exit::usage)) << line << outcome.errors;
    EXPECT_EQ(outcome.output, "") << line;
    EXPECT_THAT(outcome.errors, HasSubstr("caisson: ")) << line;
  }
}

TEST(Arguments, WhatIsWrongIsNamed) {
  EXPECT_THAT(run({"foo"}).errors, HasSubstr("no command 'caisson foo'"));
  EXPECT_THAT(run({"cluster", "foo"}).errors, HasSubstr("no command 'caisson cluster foo'"));
  EXPECT_THAT(run({"trim", "--dir", "/nowhere", "--through", "0"}).errors,
              HasSubstr("whole number from 1"));
  EXPECT_THAT(run({"log", "verify", "/etc/passwd"}).errors, HasSubstr("is no region file"));
  EXPECT_EQ(run({"cert", "show", "/etc/passwd"}).exit, code(Exit::configuration));
  EXPECT_EQ(run({"doctor", "--dir", "/nowhere"}).exit, code(Exit::not_found));
}

TEST(Arguments, LostOutputIsAFailure) {
  for (const char* command : {"version", "version --json", "doctor --json"}) {
    const Outcome lost = run_other({"/bin/sh", "-c", program() + " " + command + " > /dev/full"});
    EXPECT_EQ(lost.exit, code(Exit::no_space)) << command << lost.errors;
    EXPECT_THAT(lost.errors, HasSubstr("standard output")) << command;
  }
}

TEST(Arguments, WithJsonARefusalIsAnObjectOnStandardOutput) {
  const Json refused = run({"append", "--json"}).json();
  ASSERT_TRUE(refused.is_object());
  EXPECT_EQ(refused["ok"], false);
  EXPECT_EQ(refused["error"]["code"], "usage");
  EXPECT_EQ(refused["exit_code"], code(Exit::usage));

  const Outcome absent = run({"tail", "--dir", "/nowhere", "--json"});
  EXPECT_EQ(absent.exit, code(Exit::not_found));
  EXPECT_EQ(absent.json()["error"]["code"], "not_found");
  EXPECT_THAT(absent.json()["error"]["message"].get<std::string>(), HasSubstr("cluster start"));
}

TEST(Arguments, EveryCommandExplainsItselfWithExamples) {
  const std::vector<Arguments> commands = {{"node"},
                                           {"append"},
                                           {"read"},
                                           {"tail"},
                                           {"trim"},
                                           {"status"},
                                           {"doctor"},
                                           {"version"},
                                           {"cluster", "start"},
                                           {"cluster", "stop"},
                                           {"cluster", "status"},
                                           {"cluster", "kill"},
                                           {"log", "verify"},
                                           {"log", "dump"},
                                           {"bench", "append"},
                                           {"bench", "failover"},
                                           {"bench", "scan"},
                                           {"bench", "features"},
                                           {"bench", "member"},
                                           {"bench", "transfer"},
                                           {"cert", "make"},
                                           {"cert", "show"}};
  for (Arguments command : commands) {
    command.push_back("--help");
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.exit, 0) << command[0];
    EXPECT_THAT(outcome.output, HasSubstr("--json")) << command[0];
    EXPECT_THAT(outcome.output, HasSubstr("Examples:\n  caisson ")) << command[0];
  }
}

TEST(Arguments, UnknownDurabilityIsRefusedNamingThoseThereAre) {
  const Outcome outcome = run({"append", "--dir", "/nowhere", "--durability", "safe"});
  EXPECT_EQ(outcome.exit, code(Exit::usage));
  for (const char* level : {"volatile", "local", "replicated", "persisted", "all"}) {
    EXPECT_THAT(outcome.errors, HasSubstr(level));
  }
}

TEST(Arguments, VersionAndDoctorAnswerAnywhere) {
  EXPECT_EQ(run({"version", "--json"}).json()["ok"], true);
  const Json doctor = run({"doctor", "--json"}).json();
  ASSERT_TRUE(doctor.is_object());
  EXPECT_GT(doctor["findings"].size(), 10u);
  for (const Json& finding : doctor["findings"]) {
    // What is not well comes with what to do about it.
    EXPECT_TRUE(finding["level"] != "warn" || finding.contains("cure")) << finding;
  }
}

// docs/cli.md: | 4 | usage | bad arguments; nothing was done |
TEST(ExitCodes, TheManualRepeatsTheTable) {
  const char* const source = std::getenv("CAISSON_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  std::istringstream manual(read_file(std::filesystem::path(source) / "docs/cli.md"));
  const std::regex row(R"(\| (\d+) \| (\w+) \| (.*) \|)");
  std::vector<std::string> found, wanted;
  for (std::string line; std::getline(manual, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) found.push_back(line);
  }
  for (const tools::ExitRow& one : tools::kExitTable) {
    wanted.push_back("| " + std::to_string(static_cast<int>(one.exit)) + " | " +
                     std::string(one.name) + " | " + std::string(one.meaning) + " |");
  }
  EXPECT_EQ(found, wanted);
}

TEST(ExitCodes, EachIsThereOnce) {
  for (size_t i = 0; i < tools::kExitTable.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(tools::kExitTable[i].exit), i);
  }
}

}  // namespace
}  // namespace caisson::test
