// SPDX-License-Identifier: BSD-3-Clause
// R43: a quorum is lost for good. One survivor goes on alone, says what may be lost, and whoever
// comes back from before has no part in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/region_bytes.hpp"
#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }
std::string text(int number) { return std::to_string(number); }

class Recover : public testing::Test {
 protected:
  // Two of three are gone; their directories may come back from `attic`.
  void lose_two() {
    ASSERT_EQ(replicas.append(some_lines(1'000)).exit, 0);
    survivor = replicas.follower();
    for (int id = 1; id <= 3; ++id) {
      if (id != survivor) lost.push_back(id);
    }
    ASSERT_TRUE(eventually([&] { return replicas.read(survivor) == some_lines(1'000); }));
    replicas.stop();
    for (const int id : lost) fs::rename(replicas.data(id), attic(id));
  }
  fs::path attic(int id) const { return replicas.scratch() / ("attic-" + text(id)); }
  Outcome recover(const Arguments& more = {"--i-accept-loss"}) const {
    Arguments arguments{"member", "recover", "--replica", text(survivor), "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return replicas(arguments);
  }
  Outcome start(int id, const Arguments& more = {}) const {
    Arguments arguments{"cluster", "start", "--replica", text(id), "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return replicas(arguments);
  }

  const Replicas replicas;
  int survivor = 0;
  std::vector<int> lost;
};

TEST_F(Recover, ASurvivorGoesOnAloneAndWhoComesBackIsRefused) {
  lose_two();
  EXPECT_EQ(recover({}).exit, code(Exit::usage)) << "nobody accepted the loss";
  const Outcome done = recover();
  ASSERT_EQ(done.exit, 0) << done.output << done.errors;
  const Json said = done.json()["logs"][0];
  EXPECT_EQ(said["log"], "main");
  EXPECT_GE(said["adopted_through"].get<uint64_t>(), 1'000u);
  EXPECT_LE(said["loss_from"].get<uint64_t>(), said["adopted_through"].get<uint64_t>() + 1);

  ASSERT_EQ(start(survivor).exit, 0);
  ASSERT_EQ(replicas.append("after\n").exit, 0);
  EXPECT_EQ(replicas.read(survivor), some_lines(1'000) + "after\n");
  const Json status = replicas.status()["replicas"][static_cast<size_t>(survivor - 1)];
  EXPECT_EQ(status["logs"][0]["recovered"]["view"], said["view"]);
  EXPECT_EQ(status["logs"][0]["recovered"]["loss_from"], said["loss_from"]);
  EXPECT_EQ(status["logs"][0]["recovered"]["adopted_through"], said["adopted_through"]);

  // Both come back as they were: together they would be a quorum of the past.
  for (const int id : lost) {
    fs::rename(attic(id), replicas.data(id));
    const Outcome back = start(id);
    EXPECT_EQ(back.exit, code(Exit::wrong_view)) << back.output;
    EXPECT_THAT(back.output, HasSubstr("went on alone"));
  }
  ASSERT_EQ(replicas.append("still\n").exit, 0);

  // As new ones they may.
  for (const int id : lost) {
    fs::remove_all(replicas.data(id));
    const Outcome back = start(id, {"--join"});
    ASSERT_EQ(back.exit, 0) << back.output;
    ASSERT_EQ(replicas({"member", "add", "--replica", text(id)}).exit, 0);
  }
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", text(survivor)}).exit, 0);
  ASSERT_EQ(replicas.append("whole\n").exit, 0);
  EXPECT_TRUE(eventually(
      [&] { return replicas.read(lost[0]) == some_lines(1'000) + "after\nstill\nwhole\n"; }));
  EXPECT_EQ(start(survivor).exit, 0) << "it was never left behind";
}

TEST_F(Recover, NothingIsGivenUpWhileAQuorumIsThereOrTheReplicaRuns) {
  ASSERT_EQ(replicas.append(some_lines(100)).exit, 0);
  survivor = 2;
  EXPECT_EQ(recover().exit, code(Exit::busy));
  replicas.stop();
  const Outcome needless = recover();
  EXPECT_EQ(needless.exit, code(Exit::exists)) << needless.output;
  EXPECT_THAT(needless.output, HasSubstr("no quorum is lost"));
  EXPECT_EQ(replicas({"cluster", "start"}).exit, 0);
  EXPECT_EQ(replicas.append("after\n").exit, 0);
}

TEST_F(Recover, AReplicaThatLostItsMemoryOrIsDamagedIsNoGroundToBuildUpon) {
  lose_two();
  const fs::path region = replicas.region(survivor);
  const fs::path aside = replicas.scratch() / "aside";
  fs::rename(region, aside);
  EXPECT_EQ(recover().exit, code(Exit::amnesia));
  fs::rename(aside, region);
  const uint64_t at = file_offset(region, entry_offset(region, 500)) + 10;
  flip_byte(region, at);
  const Outcome rotten = recover();
  EXPECT_EQ(rotten.exit, code(Exit::damaged)) << rotten.output;
  EXPECT_THAT(rotten.output, HasSubstr("another survivor"));
}

}  // namespace
}  // namespace caisson::test
