// SPDX-License-Identifier: BSD-3-Clause
// caisson-check on histories and regions of real replicas: as they are, and spoilt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/log/entry_format.hpp"
#include "tests/checker/options.hpp"
#include "tests/cli/region_bytes.hpp"
#include "tests/support/program.hpp"

namespace caisson::test {
namespace {

using checker::Ending;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

int code(Ending ending) { return static_cast<int>(ending); }

std::vector<std::string> violated(const Outcome& outcome) {
  const Json json = outcome.json();
  std::vector<std::string> names;
  for (const auto& each : json["violations"]) names.push_back(each["invariant"]);
  return names;
}

// One cluster, cleanly stopped, with the histories of its clients; each test works on copies of its
// regions.
class CheckedRegions : public ::testing::Test {
 protected:
  void SetUp() override {
    history_ = replicas_.scratch() / "history.jsonl";
    ASSERT_EQ(replicas_.append(some_lines(300), {"--history", history_}).exit, 0);
    ASSERT_EQ(replicas_
                  .append(some_lines(20),
                          {"--stream", "s", "--durability", "volatile", "--history", history_})
                  .exit,
              0);
    ASSERT_EQ(
        replicas_.append(some_lines(50), {"--stream", "s", "--resume", "--history", history_}).exit,
        0);
    last_ = std::stoull(replicas_({"tail"}).output);
    for (int replica = 1; replica <= 3; ++replica) {
      (void)replicas_.read(replica, {"--wait-for", std::to_string(last_), "--linearizable", "log",
                                     "--history", history_});
    }
    replicas_.stop();
    for (int replica = 1; replica <= 3; ++replica) {
      files_.push_back((replicas_.scratch() / ("region-" + std::to_string(replica))).string());
      fs::copy_file(replicas_.region(replica), files_.back());
    }
  }

  Outcome images(const std::vector<std::string>& files, Arguments more = {}) const {
    more.insert(more.begin(), "--json");
    more.emplace_back("--region");
    more.insert(more.end(), files.begin(), files.end());
    return check(more);
  }

  Replicas replicas_;
  std::string history_;
  std::vector<std::string> files_;
  uint64_t last_ = 0;
};

TEST_F(CheckedRegions, WhatRealReplicasHoldIsWhatTheirClientsWereTold) {
  const Outcome both = images(files_, {history_});
  EXPECT_EQ(both.exit, code(Ending::ok)) << both.output << both.errors;
  EXPECT_EQ(both.json()["acknowledged"], 300 + 20 + 30);
  EXPECT_EQ(both.json()["reads"], 3);
  ASSERT_EQ(both.json()["regions"].size(), 3);
  for (int replica = 1; replica <= 3; ++replica) {
    const Json row = both.json()["regions"][static_cast<size_t>(replica - 1)];
    EXPECT_EQ(row["replica"], replica);
    EXPECT_EQ(row["first"], 1);
    EXPECT_GE(row["committed"], last_) << row;
    EXPECT_GE(row["verified"], row["committed"]) << row;
    EXPECT_EQ(row["damaged_through"], 0);
  }
  for (const std::string& file : files_) {
    EXPECT_EQ(images({file}, {history_}).exit, code(Ending::ok)) << "two others may hold more";
  }
  EXPECT_EQ(images(files_).exit, code(Ending::ok)) << "without a history";
}

TEST_F(CheckedRegions, AnEntryThatRottedIsAHoleBelowWhatIsCommitted) {
  flip_byte(files_[1], file_offset(files_[1], entry_offset(files_[1], 100)) + 20);
  const Outcome outcome = images(files_);
  EXPECT_EQ(outcome.exit, code(Ending::violated)) << outcome.output;
  EXPECT_THAT(violated(outcome), ElementsAre("I2"));
  EXPECT_EQ(outcome.json()["violations"][0]["where"], files_[1]);
  EXPECT_EQ(outcome.json()["regions"][1]["verified"], 99);
}

TEST_F(CheckedRegions, OtherBytesUnderAChecksumThatHoldsAreNamed) {
  alter_entry(files_[1], 100, [](log::EntryHeader&, std::span<std::byte> payload) {
    if (!payload.empty()) payload[0] ^= std::byte{1};
  });
  EXPECT_THAT(violated(images(files_)), ElementsAre("I1"));
  EXPECT_THAT(violated(images({files_[1]}, {history_})), ElementsAre("I1", "I6"));
}

TEST_F(CheckedRegions, AnIdentityThatIsThereTwiceIsNamed) {
  alter_entry(files_[0], 100, [](log::EntryHeader& header, auto) { --header.sequence; });
  EXPECT_THAT(violated(images({files_[0]})), Contains("I5"));
}

TEST_F(CheckedRegions, AStreamWithAGapIsNamed) {
  alter_entry(files_[0], 302, [](log::EntryHeader& header, auto) { header.sequence += 1000; });
  EXPECT_THAT(violated(images({files_[0]})), ElementsAre("I4"));
}

TEST_F(CheckedRegions, HalfABatchIsNamed) {
  const auto committed = images({files_[0]}).json()["regions"][0]["committed"].get<uint64_t>();
  alter_entry(files_[0], committed, [](log::EntryHeader& header, auto) { header.flags = 0; });
  EXPECT_THAT(violated(images({files_[0]})), ElementsAre("R5"));
}

TEST_F(CheckedRegions, WhatWasAcknowledgedAndIsInTooFewImagesIsNamed) {
  // A client that was told so of an entry behind the last.
  const auto verified = images(files_).json()["regions"][0]["verified"].get<uint64_t>();
  const std::string more = replicas_.scratch() / "more.jsonl";
  write_file(more, R"({"process":"client-9.1","op":"append","value":"9.1.1:0123456789abcdef",)"
                   R"("position":)" +
                       std::to_string(verified + 1) +
                       R"(,"durability":"persisted","invoke_ns":9000000000000000000,)"
                       R"("return_ns":9000000000000000001,"result":"ok"})"
                       "\n");
  const Outcome outcome = images(files_, {history_, more});
  EXPECT_THAT(violated(outcome), ElementsAre("I6"));
  EXPECT_THAT(outcome.json()["violations"][0]["what"], HasSubstr("0 of 3 images hold it"));
  // One of three may lack it, two may not.
  flip_byte(files_[1], file_offset(files_[1], entry_offset(files_[1], 100)) + 20);
  EXPECT_THAT(violated(images(files_, {history_})), ElementsAre("I2"));
  flip_byte(files_[2], file_offset(files_[2], entry_offset(files_[2], 100)) + 20);
  EXPECT_THAT(violated(images(files_, {history_})), ElementsAre("I2", "I6"));
}

TEST_F(CheckedRegions, WhatIsNoRegionOfThisLogIsRefusedByName) {
  const auto refused = [&](const std::vector<std::string>& files, const std::string& why) {
    const Outcome outcome = images(files);
    EXPECT_EQ(outcome.exit, code(Ending::invalid)) << outcome.output << why;
    EXPECT_THAT(outcome.errors, HasSubstr(files.back() + ": ")) << why;
    EXPECT_THAT(outcome.errors, HasSubstr(why));
  };
  refused({files_[0], files_[0]}, "replica 1 was given already");
  make_newer(files_[1]);
  refused({files_[1]}, "its identity is of a newer format than 1");
  fs::resize_file(files_[2], 300'000);
  refused({files_[2]}, "its identity names sizes that no region has");
  fs::resize_file(files_[2], 5'000);
  refused({files_[2]}, "neither slot of its identity verifies");
  write_file(files_[2], "");
  refused({files_[2]}, "neither slot of its superblock verifies");
  const Replicas other;
  other.stop();
  refused({files_[0], other.region(2).string()}, "it belongs to another log");
  EXPECT_EQ(images({"/nowhere"}).exit, code(Ending::not_found));
  EXPECT_EQ(images({replicas_.scratch().string()}).exit, code(Ending::io)) << "a directory";
}

TEST_F(CheckedRegions, AHistoryThatCannotBeWrittenIsSaid) {
  ASSERT_EQ(replicas_({"cluster", "start"}).exit, 0);
  EXPECT_EQ(replicas_.append("a\n", {"--history", "/nowhere/h"}).exit, code(Ending::not_found));
  const Outcome full = replicas_.append("a\n", {"--history", "/dev/full"});
  EXPECT_NE(full.exit, 0);
  EXPECT_THAT(full.errors, HasSubstr("the history '/dev/full' cannot be written"));
  EXPECT_NE(replicas_({"read", "--history", "/dev/full"}).exit, 0);
}

}  // namespace
}  // namespace caisson::test
