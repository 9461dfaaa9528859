// SPDX-License-Identifier: BSD-3-Clause
// Days as values: drawn, written down, run again, made smaller.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/sim/day.hpp"
#include "tests/sim/history_jsonl.hpp"
#include "tests/sim/schedule_json.hpp"
#include "tests/sim/shrink.hpp"

namespace caisson::simtest {
namespace {

using ::testing::HasSubstr;

TEST(Schedule, TheSameSeedIsTheSameRunInWhateverOrder) {
  const std::vector<uint64_t> seeds = {3, 17, 92, 256};
  std::map<uint64_t, uint64_t> traces;
  std::set<uint64_t> distinct;
  for (const uint64_t seed : seeds) {
    traces[seed] = run_day(draw_schedule(seed)).trace;
    distinct.insert(traces[seed]);
  }
  EXPECT_EQ(distinct.size(), seeds.size());
  for (auto seed = seeds.rbegin(); seed != seeds.rend(); ++seed) {
    EXPECT_EQ(run_day(draw_schedule(*seed)).trace, traces[*seed]) << "seed " << *seed;
  }
}

TEST(Schedule, WhatIsWrittenAsTextIsTheSameDay) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const Schedule day = draw_schedule(seed);
    const Schedule back = schedule_of(Json::parse(to_json(day).dump()));
    EXPECT_EQ(to_json(back), to_json(day));
    EXPECT_EQ(back.actions, day.actions);
    if (seed % 10 != 0) continue;
    EXPECT_EQ(run_day(back).trace, run_day(day).trace) << "seed " << seed;
  }
}

std::string refusal(const std::string& text) {
  try {
    (void)schedule_of(Json::parse(text));
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(Schedule, WhatIsNoneIsRefusedByName) {
  EXPECT_THAT(refusal("[]"), HasSubstr("a schedule is an object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("\"schedule\": 1"));
  EXPECT_THAT(refusal(R"({"schedule":1,"wrold":{}})"), HasSubstr("wrold"));
  EXPECT_THAT(refusal(R"({"schedule":1,"world":{"replicas":9}})"), HasSubstr("1 to 7"));
  EXPECT_THAT(refusal(R"({"schedule":1,"world":{"replicas":300}})"), HasSubstr("too large"));
  EXPECT_THAT(refusal(R"({"schedule":1,"world":{"replicas":-1}})"), HasSubstr("a number"));
  EXPECT_THAT(refusal(R"({"schedule":1,"world":{"ring_bytes":70000}})"), HasSubstr("power of two"));
  EXPECT_THAT(refusal(R"({"schedule":1,"actions":[{"fault":"flood"}]})"), HasSubstr("flood"));
  EXPECT_THAT(refusal(R"({"schedule":1,"clients":{}})"), HasSubstr("a list"));
  EXPECT_EQ(refusal(R"({"schedule":1,"run_ns":1000000})"), "");
}

// A class of faults that never strikes proves nothing.
TEST(Schedule, EveryClassOfFaultStrikesAndEveryDayIsABadOne) {
  Totals sum;
  constexpr uint64_t kSeeds = 400;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Verdict verdict = run_day(draw_schedule(seed));
    ASSERT_TRUE(verdict.sound()) << "seed " << seed << ": " << verdict.violations.front().invariant
                                 << ": " << verdict.violations.front().what;
    add(sum, verdict.totals);
  }
  for (size_t i = 0; i < kFaults; ++i) {
    EXPECT_GT(sum.by_class[i], 0u) << name(static_cast<Fault>(i)) << " never struck";
  }
  EXPECT_EQ(sum.seeds, kSeeds);
  EXPECT_GE(sum.events_least, 10'000u);
  EXPECT_GE(sum.faults_least, 5u);
  EXPECT_GT(sum.failovers, kSeeds);
  EXPECT_GT(sum.power_cuts, kSeeds);
  EXPECT_GT(sum.takeovers, 0u);
  EXPECT_GT(sum.died_inside, kSeeds / 4);
  for (const uint64_t of_links :
       {sum.messages_lost, sum.messages_twice, sum.messages_late, sum.messages_clogged,
        sum.lines_scattered, sum.lines_again, sum.lines_dropped, sum.lines_refused,
        sum.lines_from_dead, sum.late}) {
    EXPECT_GT(of_links, 0u);
  }
}

// A lone replica has nobody to be isolated from.
TEST(Schedule, WhereFaultsFindNobodyTheDayEndsWithDeaths) {
  Schedule day = draw_schedule(1);
  day.world.replicas = 1;
  day.world.spares = 0;
  day.actions = {{.at_ns = day.run_ns / 2, .what = Fault::isolate, .target = 1, .for_ns = 1'000}};
  day.events_min = 0;
  day.faults_min = 5;
  const Verdict verdict = run_day(day);
  ASSERT_TRUE(verdict.sound()) << verdict.violations.front().what;
  EXPECT_EQ(verdict.totals.by_class[static_cast<size_t>(Fault::isolate)], 0u);
  EXPECT_GE(verdict.totals.by_class[static_cast<size_t>(Fault::crash)], 5u);
}

// After the faults a quorum has to serve: one whose messages take seconds cannot even elect.
TEST(Schedule, NoServiceAfterTheFaultsIsAFailureOfItsOwnKind) {
  Schedule day;
  day.run_ns = 5 * kMs;
  day.clients = {ClientOptions{}};
  EXPECT_TRUE(run_day(day).sound());
  day.world.message_ns_max = 4'000 * kMs;
  const Verdict stuck = run_day(day);
  ASSERT_FALSE(stuck.sound());
  EXPECT_TRUE(stuck.only_stuck()) << stuck.violations.front().invariant;
  Verdict worse = stuck;
  worse.violations.push_back({"I1", ""});
  EXPECT_FALSE(worse.only_stuck());
}

TEST(Shrink, LeavesWhatItTakesAndNothingElse) {
  std::vector<int> all(100);
  for (int i = 0; i < 100; ++i) all[static_cast<size_t>(i)] = i;
  const auto needs = [](const std::vector<int>& some) {
    const std::set<int> set(some.begin(), some.end());
    return set.contains(7) && set.contains(8) && set.contains(93);
  };
  EXPECT_EQ(smallest<int>(all, needs), (std::vector<int>{7, 8, 93}));
  EXPECT_TRUE(smallest<int>(all, [](const auto&) { return true; }).empty());
  EXPECT_EQ(smallest<int>({1}, [](const auto& some) { return !some.empty(); }).size(), 1u);
}

TEST(Shrink, ADayIsReducedToTheFaultsThatMatter) {
  const auto fails = [](const Schedule& day) {
    const Totals totals = run_day(day).totals;
    return totals.power_cuts > 0 && totals.by_class[static_cast<size_t>(Fault::pause)] > 0;
  };
  uint64_t seed = 1;
  while (!fails(draw_schedule(seed))) ++seed;
  const Schedule day = draw_schedule(seed);
  const Schedule small = shrink(day, fails);
  EXPECT_TRUE(fails(small));
  EXPECT_LE(small.actions.size(), 2u) << "seed " << seed;
  EXPECT_TRUE(small.clients.empty());
  EXPECT_LE(small.run_ns, day.run_ns);
}

// Wrong on purpose: whoever judges has to say so, every time.
TEST(Canary, IsReportedEveryTime) {
  const std::map<Canary, std::set<std::string>> expected = {{Canary::lost, {"I6", "I2", "I7"}},
                                                            {Canary::early, {"I5", "I6"}},
                                                            {Canary::changed, {"R5"}},
                                                            {Canary::hole, {"I2"}},
                                                            {Canary::stale, {"I7"}}};
  EXPECT_EQ(expected.size(), kCanaries - 1);
  for (const auto& [canary, invariants] : expected) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const Verdict verdict = run_day(draw_schedule(seed), {.canary = canary});
      ASSERT_FALSE(verdict.sound()) << name(canary) << ", seed " << seed;
      bool named = false;
      for (const Violation& v : verdict.violations) named |= invariants.contains(v.invariant);
      EXPECT_TRUE(named) << name(canary) << ", seed " << seed << ": "
                         << verdict.violations.front().invariant;
    }
    EXPECT_EQ(canary_of(name(canary)), canary);
  }
}

TEST(HistoryLines, HoldEveryOperation) {
  History history;
  (void)run_day(draw_schedule(5), {.history = &history});
  std::ostringstream text;
  write_jsonl(history, text);
  std::map<std::string, uint64_t> ops;
  std::map<std::string, Json> appended;  // where; null: nobody ever answered
  std::istringstream lines(text.str());
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    for (const char* field :
         {"process", "op", "value", "position", "durability", "invoke_ns", "return_ns", "result"}) {
      ASSERT_TRUE(json.contains(field)) << field << ": " << line;
    }
    ++ops[json["op"].get<std::string>() + " " + json["result"].get<std::string>()];
    if (json["op"] != "append") continue;
    // One line for each answer, and all the same.
    const auto [known, fresh] = appended.try_emplace(json["value"], json["position"]);
    EXPECT_TRUE(fresh || (json["result"] == "ok" && known->second == json["position"])) << line;
    if (json["result"] != "ok") continue;
    EXPECT_LE(json["invoke_ns"], json["return_ns"]) << line;
  }
  std::set<Id> submitted;
  uint64_t acknowledged = 0;
  for (const Event& e : history) {
    if (e.what == What::submit) submitted.insert(e.id);
    if (e.what == What::ack) ++acknowledged;
  }
  EXPECT_EQ(appended.size(), submitted.size());
  EXPECT_EQ(ops["append ok"], acknowledged);
  EXPECT_GT(ops["deliver ok"], 0u);
}

// Schedules on which something was wrong once; docs/found.md says what.
TEST(Found, NothingIsWrongAnyMore) {
  const char* source = std::getenv("CAISSON_SOURCE_DIR");
  const std::filesystem::path root(source != nullptr ? source : ".");
  std::ifstream list(root / "docs/found.md");
  const std::string found{std::istreambuf_iterator<char>(list), {}};
  uint64_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(root / "tests/sim/found")) {
    ++files;
    std::ifstream in(file.path());
    const Verdict verdict = run_day(schedule_of(Json::parse(in)));
    EXPECT_TRUE(verdict.sound()) << file.path() << ": " << verdict.violations.front().invariant
                                 << ": " << verdict.violations.front().what;
    EXPECT_THAT(found, HasSubstr(file.path().filename().string()));
  }
  EXPECT_GT(files, 0u);
}

}  // namespace
}  // namespace caisson::simtest
