// SPDX-License-Identifier: BSD-3-Clause
// The benchmarks of what changes under a load run, and say what they saw. How fast is theirs to
// say.
#include <gtest/gtest.h>

#include "tests/support/program.hpp"

namespace caisson::test {
namespace {

TEST(Bench, MembersComeAndGoUnderALoad) {
  const Scratch scratch;
  const Outcome outcome =
      run({"bench", "member", "--ring-bytes", "16MiB", "--rounds", "1", "--changes", "1",
           "--seconds", "0.1", "--samples", scratch.path().string(), "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  const Json result = outcome.json();
  ASSERT_EQ(result["catch_ups"].size(), 1u);
  EXPECT_GE(result["catch_ups"][0]["bytes"], 10u << 20) << "five eighths of the ring";
  EXPECT_EQ(result["changes"].size(), 4u);
  EXPECT_GT(result["quiet_stall_max_ns"], 0u);
  EXPECT_GT(result["quiet"]["samples"], 0u);
  EXPECT_GT(result["catching_up"]["samples"], 0u);
  EXPECT_TRUE(std::filesystem::exists(scratch.path() / "member-catching-up.u32"));
}

TEST(Bench, TheLeadIsHandedOverUnderALoad) {
  const Outcome outcome =
      run({"bench", "transfer", "--rounds", "2", "--ring-bytes", "16MiB", "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  EXPECT_EQ(outcome.json()["latencies_ns"].size(), 2u);
}

// Where there is an adapter, the machines of scripts/guest measure it.
TEST(Bench, RevocationsNeedAnAdapter) {
  const Outcome outcome = run({"bench", "revoke", "--device", "none0", "--json"});
  EXPECT_EQ(outcome.exit, 8) << outcome.output << outcome.errors;
  EXPECT_EQ(outcome.json()["error"]["code"], "not_found") << outcome.output;
  EXPECT_NE((outcome.output + outcome.errors).find("RDMA device"), std::string::npos);
}

TEST(Bench, FeaturesAreComparedWithNone) {
  const Outcome outcome =
      run({"bench", "features", "--seconds", "0.2", "--ring-bytes", "16MiB", "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  const Json result = outcome.json();
  ASSERT_EQ(result["sets"].size(), 5u);
  EXPECT_EQ(result["sets"][0]["name"], "none");
  EXPECT_EQ(result["sets"][4]["name"], "all");
  for (const Json& set : result["sets"]) EXPECT_GT(set["appends_per_s"], 0) << set["name"];
}

TEST(Bench, WhatIsOfferedIsTakenOrShedAndCounted) {
  const Outcome outcome = run({"bench", "load", "--percents", "10,300", "--seconds", "0.1",
                               "--ring-bytes", "16MiB", "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  const Json result = outcome.json();
  EXPECT_GT(result["capacity_per_s"], 0);
  ASSERT_EQ(result["loads"].size(), 2u) << result;
  for (const Json& load : result["loads"]) {
    EXPECT_GT(load["taken_per_s"], 0) << load;
    EXPECT_GE(load["offered_per_s"].get<double>() * 1.001, load["taken_per_s"].get<double>());
    EXPECT_GT(load["p50_ns"], 0) << load;
  }
}

TEST(Bench, EveryWayToReadIsMeasuredOnLeaderAndFollower) {
  const Outcome outcome =
      run({"bench", "reads", "--rounds", "20", "--ring-bytes", "16MiB", "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  const Json ways = outcome.json()["ways"];
  ASSERT_EQ(ways.size(), 14u) << ways;
  for (const Json& way : ways) {
    EXPECT_EQ(way["samples"], 20) << way;
    EXPECT_GT(way["p50_ns"], 0) << way;
  }
}

}  // namespace
}  // namespace caisson::test
