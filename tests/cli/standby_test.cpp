// SPDX-License-Identifier: BSD-3-Clause
// R14, S18 on real processes: a standby is admitted, bounds the appends, takes over, and the old
// primary comes back with what only it had.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;

constexpr int kStandby = 4;

int code(Exit exit) { return static_cast<int>(exit); }
std::string text(int number) { return std::to_string(number); }

class Standby : public testing::Test {
 protected:
  void admit() const {
    const Outcome added = replicas({"member", "add", "--replica", "4", "--standby", "--json"});
    ASSERT_EQ(added.exit, 0) << added.output << added.errors;
  }
  Json member() const {
    const Json list = replicas({"member", "list", "--json"}).json()["logs"][0];
    for (const Json& each : list["members"]) {
      if (each["replica"] == kStandby) return each;
    }
    return {};
  }
  // It has everything, and the leader knows so.
  void wait_for_standby() const {
    ASSERT_TRUE(eventually([&] {
      const Json now = member();
      return now["state"] == "in_sync" && now["lag"]["entries"] == 0;
    })) << member();
  }
  void kill_standby() const {
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", text(kStandby)}).exit, 0);
    ASSERT_TRUE(eventually([&] { return member()["state"] == "detached"; })) << member();
  }
  Outcome start(int id) const {
    return replicas({"cluster", "start", "--replica", text(id), "--json"});
  }
  Outcome promote(const Arguments& more = {"--i-accept-loss"}) const {
    Arguments arguments{"standby", "promote", "--replica", text(kStandby), "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return replicas(arguments);
  }
  Json records(int id) const {
    const Outcome listed = replicas({"salvage", "list", "--replica", text(id), "--json"});
    EXPECT_EQ(listed.exit, 0) << listed.output << listed.errors;
    return listed.exit == 0 ? listed.json()["logs"][0]["replicas"][0]["records"] : Json::array();
  }
  // Every node's configuration, with other bounds.
  void configure(const std::string& keys) const {
    replicas.stop();
    for (int id = 1; id <= kStandby; ++id) {
      const auto file = replicas.directory() / ("replica-" + text(id)) / "node.toml";
      std::string config = read_file(file);
      const size_t at = config.find("standby_policy = ");
      ASSERT_NE(at, std::string::npos) << config;
      config.replace(at, config.find('\n', at) + 1 - at, keys);
      write_file(file, config);
    }
    ASSERT_EQ(replicas({"cluster", "start"}).exit, 0);
  }

  const Replicas replicas{{"--spares", "1"}};
};

TEST_F(Standby, TakesOverAndTheOldPrimaryComesBack) {
  admit();
  EXPECT_EQ(member()["part"], "standby");
  EXPECT_EQ(replicas({"member", "add", "--replica", "4", "--standby"}).exit, 0) << "as it is";
  const std::string kept = some_lines(500);
  ASSERT_EQ(replicas.append(kept).exit, 0);
  wait_for_standby();
  kill_standby();
  const std::string late = some_lines(200, 7);
  const Outcome acknowledged = replicas.append(late, {"--json"});
  ASSERT_EQ(acknowledged.exit, 0) << acknowledged.errors;
  EXPECT_GE(member()["lag"]["entries"], 200);
  const Outcome status = replicas({"status"});
  EXPECT_THAT(status.output, HasSubstr("standby 4 lacks"));

  EXPECT_EQ(promote({}).exit, code(Exit::usage)) << "nobody accepted the loss";
  EXPECT_EQ(promote().exit, code(Exit::busy)) << "the primary runs";
  replicas.stop();
  EXPECT_EQ(replicas({"standby", "promote", "--replica", "1", "--i-accept-loss"}).exit,
            code(Exit::denied));
  const Outcome promoted = promote();
  ASSERT_EQ(promoted.exit, 0) << promoted.output << promoted.errors;
  const Json said = promoted.json()["logs"][0];
  EXPECT_EQ(said["loss"]["from"], said["last"]["position"].get<uint64_t>() + 1);
  EXPECT_GE(acknowledged.json()["first_position"], said["loss"]["from"]);
  EXPECT_LE(acknowledged.json()["last_position"], said["loss"]["through"]);
  EXPECT_EQ(promote().json()["logs"][0]["loss"], said["loss"]) << "asked again";

  ASSERT_EQ(start(kStandby).exit, 0);
  ASSERT_EQ(replicas.append("after\n").exit, 0);
  EXPECT_EQ(replicas.read(kStandby), kept + "after\n");
  for (int id = 1; id < kStandby; ++id) {
    const Outcome refused = start(id);
    EXPECT_EQ(refused.exit, code(Exit::wrong_view)) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr("member readmit"));
  }
  for (int id = 1; id < kStandby; ++id) {
    const Outcome back = replicas({"member", "readmit", "--replica", text(id), "--json"});
    ASSERT_EQ(back.exit, 0) << back.output;
    EXPECT_EQ(back.json()["logs"][0]["agrees_through"], said["last"]["position"]);
    ASSERT_EQ(start(id).exit, 0);
    ASSERT_EQ(replicas({"member", "add", "--replica", text(id)}).exit, 0);
  }
  uint64_t appended = 0;
  for (int id = 1; id < kStandby; ++id) {
    const Json listed = records(id);
    ASSERT_EQ(listed.size(), 1u) << id;
    EXPECT_EQ(listed[0]["data_entries"], 200);
    EXPECT_EQ(listed[0]["absent"], 200);
    const Outcome again = replicas({"salvage", "resubmit", "--replica", text(id), "--record",
                                    std::to_string(listed[0]["record"].get<uint64_t>()), "--json"});
    ASSERT_EQ(again.exit, 0) << again.output << again.errors;
    appended += again.json()["appended"].get<uint64_t>();
    EXPECT_TRUE(records(id).empty());
  }
  EXPECT_EQ(appended, 200u) << "three replicas held them";
  EXPECT_EQ(replicas.read(kStandby), kept + "after\n" + late);
  EXPECT_TRUE(eventually([&] { return replicas.read(1) == kept + "after\n" + late; }));
}

TEST_F(Standby, AnAppendBeyondTheBoundSaysWhoIsInTheWay) {
  configure("standby_policy = \"error\"\nstandby_lag_entries = 100\n");
  admit();
  const Outcome before = replicas.append(some_lines(50), {"--json"});
  ASSERT_EQ(before.exit, 0) << before.errors;
  wait_for_standby();
  kill_standby();
  const Outcome held = replicas.append(some_lines(300, 3), {"--json"});
  EXPECT_EQ(held.exit, code(Exit::held)) << held.output;
  EXPECT_THAT(held.errors, HasSubstr("standby 4 lacks"));
  EXPECT_THAT(held.errors, HasSubstr("caisson member remove"));
  EXPECT_LE(held.json()["entries"], 100);
  // Another leader cannot know how much of its predecessor's a dead standby has.
  const Json terms = held.json()["terms"];
  if (terms == before.json()["terms"]) {
    EXPECT_GE(held.json()["entries"], 50);
  }
  EXPECT_TRUE(member()["lag"]["at_bound"].get<bool>());

  configure("standby_policy = \"stall\"\n");
  wait_for_standby();
  kill_standby();
  const Outcome stalled = replicas({"append", "--timeout", "4"}, some_lines(300, 5));
  EXPECT_EQ(stalled.exit, code(Exit::indefinite)) << stalled.errors;
  EXPECT_THAT(stalled.errors, HasSubstr("standby 4 lacks"));
  ASSERT_EQ(replicas({"member", "remove", "--replica", "4"}).exit, 0);
  EXPECT_EQ(replicas.append(some_lines(300, 6)).exit, 0) << "without it";
}

}  // namespace
}  // namespace caisson::test
