// SPDX-License-Identifier: BSD-3-Clause
// `log verify` and `log dump` on copies of real regions, whole and broken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "core/log/entry_format.hpp"
#include "tests/cli/region_bytes.hpp"
#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }

Outcome verify(const fs::path& path) { return run({"log", "verify", path.string(), "--json"}); }

// One cluster's regions, cleanly stopped, shared by all these tests; each works on a copy.
class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(replicas_.append(some_lines(500)).exit, 0);
    // Delivered everywhere, so that each replica persists that it is committed.
    last_ = std::stoull(replicas_({"tail"}).output);
    for (int replica = 1; replica <= 3; ++replica) {
      (void)replicas_.read(replica, {"--wait-for", std::to_string(last_)});
    }
    replicas_.stop();
    copy_ = replicas_.scratch() / "region";
    fs::copy_file(replicas_.region(1), copy_);
  }

  void flip_in_entry(uint64_t position, uint64_t byte) {
    flip_byte(copy_, file_offset(copy_, entry_offset(copy_, position)) + byte);
  }

  Replicas replicas_;
  fs::path copy_;
  uint64_t last_ = 0;
};

TEST_F(Verify, StoppedReplicasAreSoundAndAgree) {
  for (int replica = 1; replica <= 3; ++replica) {
    const Outcome outcome = verify(replicas_.data(replica));
    EXPECT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
    EXPECT_EQ(outcome.json()["verdict"], "sound");
    EXPECT_EQ(outcome.json()["replica"], replica);
    // Stopped one after the other, they may have chosen another leader in between: its term's
    // start.
    EXPECT_GE(outcome.json()["committed_up_to"], last_);
    EXPECT_LE(outcome.json()["committed_up_to"], last_ + 2);
    EXPECT_EQ(outcome.json()["data_entries"], 500);
    EXPECT_EQ(outcome.json()["superblock"]["a"]["valid"], true);
  }
  EXPECT_THAT(run({"log", "verify", replicas_.data(1).string()}).output,
              HasSubstr("committed up to"));
}

TEST_F(Verify, ItNeverWrites) {
  const std::string before = read_file(copy_);
  const auto written = fs::last_write_time(copy_);
  EXPECT_EQ(verify(copy_).exit, 0);
  EXPECT_EQ(run({"log", "dump", copy_.string()}).exit, 0);
  EXPECT_TRUE(read_file(copy_) == before);
  EXPECT_EQ(fs::last_write_time(copy_), written);
}

TEST_F(Verify, AFlippedByteInACommittedEntryIsDamageAtItsPosition) {
  for (const uint64_t byte : {uint64_t{0}, uint64_t{9}, uint64_t{40}, uint64_t{63}}) {
    fs::copy_file(replicas_.region(1), copy_, fs::copy_options::overwrite_existing);
    flip_in_entry(250, byte);
    const Outcome outcome = verify(copy_);
    EXPECT_EQ(outcome.exit, code(Exit::damaged)) << "byte " << byte << outcome.output;
    EXPECT_EQ(outcome.json()["position"], 250) << "byte " << byte;
    EXPECT_NE(outcome.json()["reason"], "");
  }
}

TEST_F(Verify, OneLostSuperblockSlotIsNoDamage) {
  flip_byte(copy_, 100);
  const Outcome outcome = verify(copy_);
  EXPECT_EQ(outcome.exit, 0) << outcome.output << outcome.errors;
  EXPECT_EQ(outcome.json()["superblock"]["a"]["valid"], false);
  EXPECT_EQ(outcome.json()["superblock"]["b"]["valid"], true);
  flip_byte(copy_, 4096 + 100);
  EXPECT_EQ(verify(copy_).exit, code(Exit::amnesia));
}

TEST_F(Verify, WhatIsNoRegionIsRefused) {
  EXPECT_EQ(verify("/nowhere/at/all").exit, code(Exit::not_found));
  write_file(copy_, "");
  EXPECT_NE(verify(copy_).exit, 0);
  write_file(copy_, std::string(1 << 20, 'x'));
  EXPECT_NE(verify(copy_).exit, 0);
  fs::create_directory(replicas_.scratch() / "empty");
  EXPECT_EQ(verify(replicas_.scratch() / "empty").exit, code(Exit::amnesia));
}

TEST_F(Verify, ATruncatedFileIsRefused) {
  fs::resize_file(copy_, fs::file_size(copy_) / 2);
  const Outcome outcome = verify(copy_);
  EXPECT_NE(outcome.exit, 0);
  EXPECT_NE(outcome.exit, code(Exit::unfinished));
  EXPECT_LT(outcome.exit, 128) << "it crashed";
}

TEST_F(Verify, DumpShowsEveryEntry) {
  const Outcome dump = run({"log", "dump", copy_.string(), "--json"});
  EXPECT_EQ(dump.exit, 0) << dump.errors;
  std::istringstream lines(dump.output);
  uint64_t expected = 1, data = 0;
  std::string payloads;
  for (std::string line; std::getline(lines, line); ++expected) {
    const Json entry = Json::parse(line);
    EXPECT_EQ(entry["position"], expected);
    if (entry["kind"] != "data") continue;
    ++data;
    payloads += entry["payload"].get<std::string>() + "\n";
  }
  EXPECT_EQ(data, 500u);
  EXPECT_EQ(payloads, some_lines(500));
  const Outcome part = run({"log", "dump", copy_.string(), "--from", "10", "--to", "12"});
  EXPECT_EQ(std::count(part.output.begin(), part.output.end(), '\n'), 3);
}

// A crash of every process under load: what lies behind the last complete batch is a tail, never
// damage.
TEST(VerifyAfterACrash, TheLogIsSoundUpToItsTail) {
  const Replicas replicas;
  write_file(replicas.scratch() / "in", some_lines(200'000));
  Background append({"append", "--dir", replicas.directory().string(), "--timeout", "1"},
                    replicas.scratch() / "in", replicas.scratch() / "out");
  ASSERT_TRUE(eventually(
      [&] { return replicas.status()["logs"][0]["committed"].get<uint64_t>() > 2'000; }));
  for (int replica = 1; replica <= 3; ++replica) {
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(replica)}).exit, 0);
  }
  (void)append.wait();
  for (int replica = 1; replica <= 3; ++replica) {
    const Outcome outcome = verify(replicas.data(replica));
    EXPECT_TRUE(outcome.exit == 0 || outcome.exit == code(Exit::unfinished))
        << outcome.output << outcome.errors;
    EXPECT_GT(outcome.json()["tail"].get<uint64_t>(), 1'000u);
  }
}

// A torn entry behind the tail: a header that was meant for this place, its bytes not all there.
TEST(VerifyAfterACrash, ATornEntryIsAnUnfinishedTail) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append(some_lines(100)).exit, 0);
  for (int replica = 1; replica <= 3; ++replica) {
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(replica)}).exit, 0);
  }
  const fs::path region = replicas.region(1);
  const uint64_t last = last_position(region);
  const uint64_t end = entry_offset(region, last + 1);
  log::EntryHeader torn{};
  torn.position = last + 1;
  torn.offset_line = log::offset_line(Offset{end});
  torn.payload_bytes = 10;
  const uint64_t at = file_offset(region, end);
  std::string bytes = read_file(region);
  bytes.replace(at, sizeof torn, reinterpret_cast<const char*>(&torn), sizeof torn);
  write_file(region, bytes);
  const Outcome outcome = verify(region);
  EXPECT_EQ(outcome.exit, code(Exit::unfinished)) << outcome.output << outcome.errors;
  EXPECT_EQ(outcome.json()["position"], last + 1);
  // Such a replica takes part again.
  EXPECT_EQ(replicas({"cluster", "start"}).exit, 0);
  EXPECT_EQ(replicas({"read"}).output, some_lines(100));
}

}  // namespace
}  // namespace caisson::test
