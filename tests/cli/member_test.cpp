// SPDX-License-Identifier: BSD-3-Clause
// Who takes part, changed from the command line on real processes: under load, with kills, and
// after one replica's memory is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <set>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }

std::set<int> voters(const Replicas& replicas) {
  const Outcome outcome = replicas({"member", "list", "--json"});
  EXPECT_EQ(outcome.exit, 0) << outcome.output;
  if (outcome.exit != 0) return {};
  const Json list = outcome.json();
  std::set<int> found;
  for (const Json& member : list["logs"][0]["members"]) {
    if (member["part"] == "voter") found.insert(member["replica"].get<int>());
  }
  return found;
}

TEST(Member, ASpareIsAdmittedAndLetGo) {
  const Replicas replicas({"--spares", "1"});
  ASSERT_EQ(replicas.append(some_lines(500)).exit, 0);
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3}));
  const Outcome added = replicas({"member", "add", "--replica", "4", "--json"});
  ASSERT_EQ(added.exit, 0) << added.errors;
  EXPECT_EQ(added.json()["logs"][0]["settled"], true);
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3, 4}));
  EXPECT_TRUE(eventually([&] { return replicas.read(4) == replicas.read(replicas.leader()); }));
  EXPECT_EQ(replicas({"member", "add", "--replica", "4"}).exit, 0) << "asked again: as it is";
  ASSERT_EQ(replicas({"member", "remove", "--replica", "4"}).exit, 0);
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3}));
  EXPECT_EQ(replicas({"member", "remove", "--replica", "4"}).exit, 0) << "asked again: as it is";
}

TEST(Member, WhatCannotBeIsRefusedWithItsReason) {
  const Replicas replicas({"--spares", "1"});
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "4"}).exit, 0);
  EXPECT_EQ(replicas({"member", "add", "--replica", "9", "--json"}).exit, code(Exit::not_found));
  EXPECT_EQ(replicas({"member", "add"}).exit, code(Exit::usage));
  const Outcome learn = replicas({"member", "add", "--replica", "2", "--learner", "--json"});
  EXPECT_EQ(learn.exit, code(Exit::exists)) << learn.output;
  const Outcome heir = replicas({"leader", "transfer", "--to", "4", "--json"});
  EXPECT_EQ(heir.exit, code(Exit::not_found)) << heir.output;
  EXPECT_THAT(heir.output, HasSubstr("no vote"));
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3}));
}

TEST(Member, ALearnerReceivesTheLogAndBecomesAVoter) {
  const Replicas replicas({"--spares", "1"});
  ASSERT_EQ(replicas({"member", "add", "--replica", "4", "--learner"}).exit, 0);
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3}));
  ASSERT_EQ(replicas.append(some_lines(200)).exit, 0);
  EXPECT_TRUE(eventually([&] { return replicas.read(4) == replicas.read(replicas.leader()); }));
  ASSERT_EQ(replicas({"member", "add", "--replica", "4"}).exit, 0);
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3, 4}));
}

TEST(Member, TheLeadIsHandedOver) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("one\n").exit, 0);
  const int to = replicas.follower();
  const Outcome done = replicas({"leader", "transfer", "--to", std::to_string(to), "--json"});
  ASSERT_EQ(done.exit, 0) << done.output;
  EXPECT_EQ(replicas({"leader", "show", "--json"}).json()["logs"][0]["leader"], to);
  ASSERT_EQ(replicas.append("two\n").exit, 0);
  EXPECT_EQ(replicas.read(to), "one\ntwo\n");
}

// R43, S15: the region is gone for good. It is refused, made anew, and admitted anew; the others
// go on meanwhile.
TEST(Member, AReplicaWhoseMemoryIsGoneComesBackEmptyAndCatchesUp) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append(some_lines(2'000)).exit, 0);
  const int lost = replicas.follower();
  const std::string id = std::to_string(lost);
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", id}).exit, 0);
  fs::remove_all(replicas.region(lost).parent_path());
  EXPECT_EQ(replicas({"cluster", "start", "--replica", id}).exit, code(Exit::amnesia));
  ASSERT_EQ(replicas.append(some_lines(500, 2)).exit, 0);
  const Outcome back = replicas({"cluster", "start", "--replica", id, "--join", "--json"});
  ASSERT_EQ(back.exit, 0) << back.output << back.errors;
  const Outcome admitted = replicas({"member", "replace", "--replica", id, "--by", id, "--json"});
  ASSERT_EQ(admitted.exit, 0) << admitted.output;
  EXPECT_EQ(voters(replicas), (std::set{1, 2, 3}));
  EXPECT_TRUE(eventually([&] { return replicas.read(lost) == replicas.read(replicas.leader()); }));
  // It counts: one of the others may go now.
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "leader"}).exit, 0);
  EXPECT_EQ(replicas.append("after\n").exit, 0);
  EXPECT_EQ(replicas({"cluster", "start", "--replica", id, "--join"}).exit, code(Exit::busy))
      << "it runs";
}

// R26: what the empty one lacks has been trimmed; it begins where the others' logs begin.
TEST(Member, AnEmptyReplicaBeginsWhereTheOthersHaveTrimmed) {
  const Replicas replicas({"--spares", "1"});
  ASSERT_EQ(replicas.append(some_lines(1'000)).exit, 0);
  ASSERT_TRUE(eventually([&] {
    return replicas({"trim", "--through", "900", "--json"}).exit == 0;
  }));
  ASSERT_EQ(replicas({"member", "add", "--replica", "4"}).exit, 0);
  EXPECT_TRUE(eventually([&] { return replicas.read(4) == replicas.read(replicas.leader()); }));
  const Json status = replicas.status();
  EXPECT_GE(status["replicas"][3]["logs"][0]["marks"]["trimmed"].get<uint64_t>(), 900u);
  // A stream whose every entry was trimmed is remembered by the newcomer, too.
  ASSERT_EQ(replicas.append("x\n", {"--stream", "orders"}).exit, 0);
  ASSERT_EQ(replicas({"leader", "transfer", "--to", "4"}).exit, 0);
  ASSERT_EQ(replicas.append("y\n", {"--stream", "orders", "--resume"}).exit, 0);
}

// S14 on real processes: replaced to and fro while a client appends and the leader is killed.
TEST(Member, ChangesUnderLoadSurviveKills) {
  const Replicas replicas({"--spares", "2"});
  const std::string lines = some_lines(60'000, 3);
  write_file(replicas.scratch() / "in", lines);
  Background load({"append", "--dir", replicas.directory(), "--json", "--timeout", "60"},
                  replicas.scratch() / "in", replicas.scratch() / "out");
  const Arguments steps[] = {{"member", "replace", "--replica", "1", "--by", "4"},
                             {"member", "replace", "--replica", "2", "--by", "5"}};
  for (const Arguments& step : steps) {
    Background change(
        [&] {
          Arguments whole;
          whole.insert(whole.end(), step.begin(), step.end());
          whole.insert(whole.end(), {"--dir", replicas.directory(), "--timeout", "40"});
          return whole;
        }(),
        "", replicas.scratch() / "changed");
    pause_ms(15);
    const Outcome killed = replicas({"cluster", "kill", "--replica", "leader", "--json"});
    pause_ms(100);
    if (killed.exit == 0) {
      const std::string id = std::to_string(killed.json()["replica"].get<int>());
      const Outcome back = replicas({"cluster", "start", "--replica", id, "--json"});
      EXPECT_EQ(back.exit, 0) << back.output;
    }
    EXPECT_EQ(change.wait(), 0) << read_file(replicas.scratch() / "changed");
  }
  EXPECT_EQ(voters(replicas), (std::set{3, 4, 5}));
  EXPECT_EQ(load.wait(), 0) << read_file(replicas.scratch() / "out");
  for (const int id : {3, 4, 5}) {
    EXPECT_TRUE(eventually([&] { return replicas.read(id) == lines; })) << "replica " << id;
  }
}

}  // namespace
}  // namespace caisson::test
