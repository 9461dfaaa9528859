// SPDX-License-Identifier: BSD-3-Clause
// R43, R17: what is restored has the quorum system of the log that was backed up, and no other.
#include <gmock/gmock.h>

#include <fstream>

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

std::string read_all(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Flips a bit of `word`, which stands in `file` once.
void spoil(const std::string& file, const std::string& word) {
  const size_t at = read_all(file).find(word);
  ASSERT_NE(at, std::string::npos) << file;
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(at));
  out.put(static_cast<char>(word[0] ^ 4));
}

class BackupFiles : public testing::Test {
 protected:
  void SetUp() override {
    original_.start();
    if (HasFatalFailure()) return;
    const auto appender = original_.appender_at_leader(leader_);
    ASSERT_NE(appender, nullptr);
    for (int i = 0; i < 20; ++i) {
      const std::string entry = "entry number " + std::to_string(i) + ".";
      ASSERT_EQ(appender->append(bytes_of(entry)).code, Code::ok);
    }
    ASSERT_EQ(appender->flush(kPatienceNs), Code::ok);
  }
  void stop() {
    for (int id = 1; id <= 3; ++id) original_.close(id);
  }
  auto backup() {
    const EngineOptions options = original_.options(leader_);
    return engine::backup_log(options, options.logs[0], file_);
  }
  auto restore(const EngineOptions& options) {
    return engine::restore_log(options, options.logs[0], file_);
  }
  void expect_refused(const EngineOptions& options, Code code, const std::string& words) {
    const auto refused = restore(options);
    ASSERT_FALSE(refused) << words;
    EXPECT_EQ(refused.error().code, code) << refused.error().message;
    EXPECT_THAT(refused.error().message, HasSubstr(words));
    EXPECT_FALSE(std::filesystem::exists(clone_.home(1) + "/logs")) << "something was made";
  }

  Cluster original_;
  Cluster clone_;
  const std::string file_ = original_.directory() + "/copy";
  int leader_ = 0;
};

TEST_F(BackupFiles, OfANodeThatRunsHoldsWhatWasCommittedAndIsNeverOverwritten) {
  const EngineOptions options = original_.options(leader_);
  // It holds what its own entries, or the superblock, say is committed: both are a little late.
  ASSERT_TRUE(original_.until([&] {
    std::filesystem::remove(file_);
    const Position known = engine::committed_in_file(options, options.logs[0]);
    const auto made = backup();
    if (!made) return false;
    EXPECT_LE(known, made->through);
    return made->entries >= 20;
  }));
  const std::string before = read_all(file_);
  EXPECT_EQ(backup().error().code, Code::exists);
  EXPECT_EQ(read_all(file_), before);
}

TEST_F(BackupFiles, OfWhatIsMissingOrDamagedIsNotMade) {
  stop();
  const std::string region = original_.home(leader_) + "/logs/main/region";
  spoil(region, "entry number 3.");
  const auto damaged = backup();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::damaged);
  EXPECT_THAT(damaged.error().message, HasSubstr("take another one"));
  EXPECT_FALSE(std::filesystem::exists(file_));
  std::filesystem::remove(region);
  EXPECT_EQ(backup().error().code, Code::amnesia);
  EXPECT_FALSE(std::filesystem::exists(file_));
  const EngineOptions options = original_.options(leader_);
  EXPECT_EQ(engine::committed_in_file(options, options.logs[0]), Position{});
}

TEST_F(BackupFiles, ADamagedCopyIsFoundAndRestoresNothing) {
  stop();
  ASSERT_TRUE(backup());
  const EngineOptions clone = clone_options(clone_, 1, kMajority);
  spoil(file_, "entry number 7.");
  const auto verified = engine::verify_backup(file_);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, Code::damaged);
  EXPECT_THAT(verified.error().message, HasSubstr("use another one"));
  expect_refused(clone, Code::damaged, "use another one");
}

TEST_F(BackupFiles, WhatIsNoBackupIsNotTakenForOne) {
  stop();
  const std::string region = original_.home(leader_) + "/logs/main/region";
  const auto replica = engine::verify_backup(region);
  ASSERT_FALSE(replica);
  EXPECT_EQ(replica.error().code, Code::invalid);
  EXPECT_THAT(replica.error().message, HasSubstr("no backup"));
  EXPECT_EQ(engine::verify_backup(original_.directory() + "/none").error().code, Code::amnesia);
  std::ofstream(file_) << "nothing of the kind";
  EXPECT_FALSE(engine::verify_backup(file_));
}

TEST_F(BackupFiles, IsRestoredIntoNothingOnceIntoAClusterOfItsOwn) {
  stop();
  ASSERT_TRUE(backup());
  const EngineOptions clone = clone_options(clone_, 1, kMajority);
  EngineOptions same = clone;
  same.cluster = original_.options(1).cluster;
  expect_refused(same, Code::wrong_cluster, "a cluster of its own");
  EngineOptions rules = clone;
  rules.replica = ReplicaId{9};
  expect_refused(rules, Code::invalid, "not among the peers");
  LogOptions other = clone.logs[0];
  other.name = "other";
  EXPECT_EQ(engine::restore_log(clone, other, file_).error().code, Code::not_found);
  ASSERT_TRUE(restore(clone));
  const std::string region = clone_.home(1) + "/logs/main/region";
  const std::string before = read_all(region);
  const auto again = restore(clone);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_EQ(read_all(region), before);
}

TEST_F(BackupFiles, ARingThatHasNoRoomForItToGoOnIsRefused) {
  auto appender = original_.appender_at_leader(leader_);
  ASSERT_NE(appender, nullptr);
  const std::string large(200'000, 'x');
  for (int i = 0; i < 5; ++i) ASSERT_EQ(appender->append(bytes_of(large)).code, Code::ok);
  appender.reset();
  stop();
  ASSERT_TRUE(backup());
  EngineOptions small = clone_options(clone_, 1, kMajority);
  small.logs[0].ring_bytes = 1 << 20;
  small.logs[0].entry_bytes_max = 0;
  expect_refused(small, Code::too_large, "choose a larger one");
}

}  // namespace
}  // namespace caisson::engine_test
