// SPDX-License-Identifier: BSD-3-Clause
// R43, R17: what is restored has the quorum system of the log that was backed up, and no other.
#include <gmock/gmock.h>

#include "core/engine/engine_backup.hpp"
#include "core/engine/engine_parts.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

using engine::BackupReport;
using ::testing::HasSubstr;

struct System {
  const char* name;
  Quorums quorum;
  uint32_t copies;
  uint8_t agreed;
};

void PrintTo(const System& system, std::ostream* out) { *out << system.name; }

void configure(EngineOptions& options, const System& system) {
  options.logs[0].quorum = system.quorum;
  options.logs[0].commit_quorum = system.copies;
}

Shape shape_of(const System& system) {
  Shape shape;
  shape.adjust = [system](EngineOptions& options) { configure(options, system); };
  return shape;
}

// The configuration of the new cluster's node.
EngineOptions clone_options(const Cluster& clone, int id, const System& system) {
  EngineOptions options = clone.options(id);
  options.cluster = {0xc1, 0x01, 0x2e};
  configure(options, system);
  return options;
}

constexpr System kMajority{"Majority", Quorums::majority, 0, 0};
constexpr System kAll{"All", Quorums::all, 0, 255};
constexpr System kTwo{"Two", Quorums::flexible, 2, 2};
constexpr System kThree{"Three", Quorums::flexible, 3, 3};

class BackupOf : public testing::TestWithParam<System> {
 protected:
  // A few committed entries, and the copy of the replica that led.
  void SetUp() override {
    original_.start();
    int leader = 0;
    auto appender = original_.appender_at_leader(leader);
    ASSERT_NE(appender, nullptr);
    ASSERT_EQ(appender->append(bytes_of("kept")).code, Code::ok);
    appender.reset();
    for (int id = 1; id <= 3; ++id) original_.close(id);
    file_ = original_.directory() + "/copy";
    const EngineOptions options = original_.options(leader);
    const auto made = engine::backup_log(options, options.logs[0], file_);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->quorum.commit, GetParam().agreed);
  }
  Result<BackupReport> restore(int id, const System& as) {
    const EngineOptions options = clone_options(clone_, id, as);
    return engine::restore_log(options, options.logs[0], file_);
  }

  Cluster original_{shape_of(GetParam())};
  Cluster clone_{shape_of(GetParam())};
  std::string file_;
};

TEST_P(BackupOf, KeepsItsQuorumSystemAndServes) {
  const auto known = engine::verify_backup(file_);
  ASSERT_TRUE(known) << known.error().message;
  EXPECT_EQ(known->quorum.commit, GetParam().agreed);
  std::vector<std::unique_ptr<Engine>> engines;
  for (int id = 1; id <= 3; ++id) {
    const auto restored = restore(id, GetParam());
    ASSERT_TRUE(restored) << restored.error().message;
    EXPECT_EQ(restored->quorum.commit, GetParam().agreed);
  }
  for (int id = 1; id <= 3; ++id) {
    auto engine = Engine::open(clone_options(clone_, id, GetParam()));
    ASSERT_TRUE(engine) << engine.error().message;
    engines.push_back(std::move(*engine));
  }
  Log* serves = nullptr;
  ASSERT_TRUE(clone_.until([&] {
    for (auto& engine : engines) {
      Log* const log = *engine->open_log("main");
      if (log->leadership().is_self) serves = log;
    }
    return serves != nullptr;
  }));
  const Members members = serves->members();
  EXPECT_EQ(members.commit_quorum, GetParam().quorum == Quorums::all ? 3u : 2u);
  EXPECT_EQ(members.commit_quorum + members.election_quorum, 4u);
}

TEST_P(BackupOf, AnotherQuorumSystemIsRefusedBeforeAnythingIsMade) {
  for (const System& other : {kMajority, kAll, kTwo, kThree}) {
    if (other.agreed == GetParam().agreed) continue;
    SCOPED_TRACE(other.name);
    const auto refused = restore(1, other);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::invalid);
    const std::string& why = refused.error().message;
    EXPECT_THAT(why, HasSubstr(file_));
    EXPECT_THAT(why, HasSubstr("was created with " +
                               engine::quorum_text(log::QuorumSystem{GetParam().agreed})));
    EXPECT_THAT(why, HasSubstr("the configuration says " +
                               engine::quorum_text(log::QuorumSystem{other.agreed})));
    EXPECT_FALSE(std::filesystem::exists(clone_.home(1)));
  }
}

INSTANTIATE_TEST_SUITE_P(Systems, BackupOf, testing::Values(kMajority, kAll, kTwo),
                         [](const auto& with) { return with.param.name; });

// A learner's superblock knows no view before its first trim; its entries do.
TEST(Backup, OfALearnersCopyHasTheQuorumSystemOfTheLog) {
  Shape shape;
  shape.replicas = 4;
  shape.adjust = [](EngineOptions& options) {
    configure(options, kAll);
    options.peers[3].spare = true;
  };
  Cluster cluster(shape);
  cluster.start();
  int leader = 0;
  const auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  ReplicaSet spare;
  spare.add(ReplicaId{4});
  Code admitted = Code::not_found;
  ASSERT_TRUE(cluster.until([&] {
    admitted = cluster.log(leader).change_members({.learn = spare}, 20 * kSecondNs);
    return admitted != Code::not_found;
  }));
  ASSERT_EQ(admitted, Code::ok);
  ASSERT_EQ(appender->append(bytes_of("kept")).code, Code::ok);
  ASSERT_TRUE(cluster.until([&] { return cluster.contents(4).size() == 1; }));
  const EngineOptions options = cluster.options(4);
  const std::string file = cluster.directory() + "/copy";
  BackupReport copied;
  ASSERT_TRUE(cluster.until([&] {
    std::filesystem::remove(file);
    const auto made = engine::backup_log(options, options.logs[0], file);
    if (made) copied = *made;
    return copied.entries > 0;
  }));
  EXPECT_EQ(copied.quorum.commit, kAll.agreed);
}

}  // namespace
}  // namespace caisson::engine_test
