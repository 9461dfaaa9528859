// SPDX-License-Identifier: BSD-3-Clause
// R44 on real processes: pages of a replica's region are gone while it runs. A file that is cut
// short under its mapping raises the same signal as a media error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using tools::Exit;

Json log_of(const Replicas& replicas, int replica) {
  const Json status = replicas.status();
  return status["replicas"][static_cast<size_t>(replica - 1)]["logs"][0];
}

bool poisoned(const Replicas& replicas, int replica) {
  const Json log = log_of(replicas, replica);
  return log.contains("poison") && log["poison"]["poisoned"] == true;
}

// `lines` are being appended while `harm` is done, and go through.
template <typename Harm>
void harm_under_load(const Replicas& replicas, const std::string& lines, Harm harm) {
  write_file(replicas.scratch() / "in", lines);
  Background load({"append", "--dir", replicas.directory(), "--json", "--timeout", "60"},
                  replicas.scratch() / "in", replicas.scratch() / "out");
  pause_ms(20);
  harm();
  EXPECT_EQ(load.wait(), 0) << read_file(replicas.scratch() / "out");
}

void expect_poisoned(const Replicas& replicas, int replica) {
  ASSERT_TRUE(eventually([&] { return poisoned(replicas, replica); })) << replicas.status().dump(1);
}

// The ring lies behind the salvage area, which is as large.
void lose_pages(const Replicas& replicas, int replica) {
  const fs::path region = replicas.region(replica);
  fs::resize_file(region, fs::file_size(region) / 2);
}

// What docs/operations.md says, for a replica whose pages are gone.
void replace(const Replicas& replicas, int lost, Exit refusal = Exit::damaged) {
  const std::string id = std::to_string(lost);
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", id}).exit, 0);
  const Outcome refused = replicas({"cluster", "start", "--replica", id});
  EXPECT_EQ(refused.exit, static_cast<int>(refusal)) << refused.output << refused.errors;
  fs::rename(replicas.region(lost).parent_path(), replicas.scratch() / "poisoned");
  const Outcome back = replicas({"cluster", "start", "--replica", id, "--join"});
  ASSERT_EQ(back.exit, 0) << back.output << back.errors;
  const Outcome admitted = replicas({"member", "replace", "--replica", id, "--by", id, "--json"});
  ASSERT_EQ(admitted.exit, 0) << admitted.output;
  EXPECT_TRUE(eventually([&] { return replicas.read(lost) == replicas.read(replicas.leader()); }));
  EXPECT_FALSE(poisoned(replicas, lost));
}

TEST(Poison, AFollowerThatLosesPagesUnderLoadIsReplacedAndNothingIsLost) {
  const Replicas replicas;
  const std::string lines = some_lines(40'000, 5);
  const int lost = replicas.follower();
  harm_under_load(replicas, lines, [&] { lose_pages(replicas, lost); });
  expect_poisoned(replicas, lost);
  EXPECT_EQ(log_of(replicas, lost)["role"], "damaged") << "its process goes on";
  const Outcome read = replicas({"read", "--replica", std::to_string(lost)});
  EXPECT_EQ(read.exit, static_cast<int>(Exit::damaged)) << read.errors;
  EXPECT_THAT(replicas({"status"}).output, HasSubstr("poisoned"));
  replace(replicas, lost);
  // It counts: another one may go now.
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "leader"}).exit, 0);
  ASSERT_EQ(replicas.append("after\n").exit, 0);
  EXPECT_EQ(replicas.read(replicas.await_leader()), lines + "after\n");
}

TEST(Poison, ALeaderThatLosesPagesMakesRoomAndIsReplaced) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("before\n").exit, 0);
  const int lost = replicas.await_leader();
  const std::string lines = some_lines(20'000, 6);
  harm_under_load(replicas, lines, [&] { lose_pages(replicas, lost); });
  expect_poisoned(replicas, lost);
  ASSERT_TRUE(eventually([&] {
    const int leader = replicas.leader();
    return leader != 0 && leader != lost;
  }));
  EXPECT_EQ(replicas.read(replicas.await_leader()), "before\n" + lines);
  replace(replicas, lost);
}

TEST(Poison, AReplicaWhoseRegionIsDeletedUnderItIsReplaced) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("before\n").exit, 0);
  const int lost = replicas.await_leader();
  const std::string lines = some_lines(20'000, 8);
  harm_under_load(replicas, lines, [&] { fs::remove(replicas.region(lost)); });
  expect_poisoned(replicas, lost);
  EXPECT_EQ(log_of(replicas, lost)["poison"]["deleted"], true);
  EXPECT_THAT(replicas({"status"}).output, HasSubstr("was deleted while it runs"));
  EXPECT_EQ(replicas.read(replicas.await_leader()), "before\n" + lines);
  replace(replicas, lost, Exit::amnesia);
}

// Heartbeats and post are mapped by every node of the machine: cut short under all of them, and
// deleted, they end no process, and are there again.
TEST(Poison, NodesWhoseHeartbeatAndPostAreCutShortGoOn) {
  const Replicas replicas;
  const std::string lines = some_lines(40'000, 7);
  harm_under_load(replicas, lines, [&] {
    for (int replica = 1; replica <= 3; ++replica) {
      for (const char* const name : {"heartbeat", "post"}) {
        const fs::path file = replicas.data(replica) / name;
        const auto bytes = fs::file_size(file);
        const auto whole = [&] {
          std::error_code none_yet;
          return fs::file_size(file, none_yet) == bytes && !none_yet;
        };
        fs::resize_file(file, 0);
        EXPECT_TRUE(eventually(whole)) << file;
        fs::remove(file);
        EXPECT_TRUE(eventually(whole)) << file;
      }
    }
  });
  const Json status = replicas.status();
  for (int replica = 1; replica <= 3; ++replica) {
    SCOPED_TRACE(replica);
    const Json& report = status["replicas"][static_cast<size_t>(replica - 1)];
    EXPECT_TRUE(report["logs"].is_array()) << report.dump(1);
    EXPECT_THAT(read_file(replicas.data(replica).parent_path() / "log"),
                HasSubstr("it was made anew"));
    EXPECT_TRUE(eventually([&] { return replicas.read(replica) == lines; }));
  }
  // A death is told by the new files as it was by the old ones.
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "leader"}).exit, 0);
  EXPECT_EQ(replicas.append("after\n").exit, 0);
}

}  // namespace
}  // namespace caisson::test
