// SPDX-License-Identifier: BSD-3-Clause
// R43: copies of a log that goes on, and new clusters made of them, which never pose as the
// original.
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

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), std::string::npos) << text;
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// A cluster that was restored; stopped at the end.
class Restored {
 public:
  Restored(const fs::path& backup, fs::path directory) : directory_(std::move(directory)) {
    made = run({"restore", "--from", backup, "--dir", directory_, "--json"});
    if (made.exit == 0) started = run({"cluster", "start", "--dir", directory_, "--json"});
  }
  ~Restored() { (void)run({"cluster", "stop", "--dir", directory_}); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;
  Outcome operator()(Arguments arguments, const std::string& input = "") const {
    arguments.insert(arguments.end(), {"--dir", directory_.string()});
    return run(arguments, input);
  }
  Outcome made;
  Outcome started;

 private:
  const fs::path directory_;
};

class Backup : public testing::Test {
 protected:
  fs::path backup() const { return replicas.scratch() / "backup"; }
  fs::path copy() const { return backup() / "main" / "backup"; }
  Outcome make() const { return replicas({"backup", "make", "--to", backup(), "--json"}); }
  Outcome verify() const { return run({"backup", "verify", "--from", backup(), "--json"}); }
  // Every entry with its position, one JSON object a line.
  std::string entries(uint64_t from) const {
    const Outcome read = replicas({"read", "--from", std::to_string(from), "--json"});
    EXPECT_EQ(read.exit, 0) << read.errors;
    return read.output;
  }

  const Replicas replicas;
};

TEST_F(Backup, ANewClusterGoesOnWhereTheCopyEnds) {
  ASSERT_EQ(replicas.append("x\ny\n", {"--stream", "orders"}).exit, 0);
  ASSERT_EQ(replicas.append(some_lines(1'000)).exit, 0);
  ASSERT_TRUE(eventually([&] {
    return replicas({"trim", "--through", "400", "--json"}).exit == 0;
  }));
  ASSERT_EQ(replicas.append(some_lines(200, 2)).exit, 0);
  const int leader = replicas.leader();
  const std::string before = replicas.read(leader);
  const Outcome tail = replicas({"tail", "--json"});
  ASSERT_EQ(tail.exit, 0) << tail.output;
  const uint64_t last = tail.json()["position"].get<uint64_t>();
  // What a replica's memory says to be committed may be a moment old.
  Outcome made;
  ASSERT_TRUE(eventually([&] {
    fs::remove_all(backup());
    made = make();
    return made.exit == 0 && made.json()["logs"][0]["through"].get<uint64_t>() >= last;
  })) << made.output
      << made.errors;
  const Json said = made.json()["logs"][0];
  EXPECT_GE(said["through"].get<uint64_t>(), 1'200u);
  EXPECT_GE(said["trimmed"].get<uint64_t>(), 400u);
  ASSERT_EQ(replicas.append("after the copy\n").exit, 0);
  const Outcome sound = verify();
  EXPECT_EQ(sound.exit, 0) << sound.output;
  EXPECT_EQ(sound.json()["logs"], made.json()["logs"]);
  EXPECT_EQ(make().exit, code(Exit::exists)) << "nothing is overwritten";

  const uint64_t first = said["trimmed"].get<uint64_t>() + 1;
  const std::string original = entries(first);
  const Restored clone(backup(), replicas.scratch() / "clone");
  ASSERT_EQ(clone.made.exit, 0) << clone.made.output << clone.made.errors;
  ASSERT_EQ(clone.started.exit, 0) << clone.started.output;
  EXPECT_EQ(clone({"read"}).output, before);
  // The same entries at the same positions, in the same streams.
  const std::string restored = clone({"read", "--from", std::to_string(first), "--json"}).output;
  ASSERT_FALSE(restored.empty());
  EXPECT_EQ(original.substr(0, restored.size()), restored);
  // The streams go on: what was trimmed of this one is remembered, too.
  const Outcome more = clone({"append", "--stream", "orders", "--resume", "--json"}, "x\ny\nz\n");
  ASSERT_EQ(more.exit, 0) << more.output;
  EXPECT_EQ(more.json()["skipped"], 2);
  EXPECT_EQ(more.json()["entries"], 1);
  EXPECT_EQ(clone({"read"}).output, before + "z\n");
  // It is a whole cluster: a replica may die.
  ASSERT_EQ(clone({"cluster", "kill", "--replica", "leader"}).exit, 0);
  EXPECT_EQ(clone({"append"}, "on\n").exit, 0);
  // The original knows nothing of it.
  EXPECT_EQ(replicas.read(replicas.leader()), before + "after the copy\n");
  EXPECT_NE(clone({"status", "--json"}).json()["cluster"], replicas.status()["cluster"]);
}

TEST_F(Backup, IsConsistentWhateverGoesOnMeanwhile) {
  const std::string lines = some_lines(20'000, 3);
  write_file(replicas.scratch() / "in", lines);
  Background load({"append", "--dir", replicas.directory(), "--json", "--timeout", "60"},
                  replicas.scratch() / "in", replicas.scratch() / "out");
  pause_ms(100);
  const Outcome made = make();
  ASSERT_EQ(made.exit, 0) << made.output << made.errors;
  EXPECT_EQ(verify().exit, 0);
  EXPECT_EQ(load.wait(), 0);
  const Restored clone(backup(), replicas.scratch() / "clone");
  ASSERT_EQ(clone.started.exit, 0) << clone.made.output << clone.started.output;
  const std::string copied = clone({"read"}).output;
  EXPECT_EQ(copied, lines.substr(0, copied.size())) << "a prefix, and no half of a line";
}

TEST_F(Backup, ACloneCannotPoseAsTheOriginal) {
  ASSERT_EQ(replicas.append(some_lines(100)).exit, 0);
  ASSERT_EQ(make().exit, 0);
  // Into the same cluster, somewhere else.
  const fs::path home = replicas.directory() / "replica-1";
  const fs::path posing = home / "posing.toml";
  write_file(posing, replaced(read_file(home / "node.toml"), "\"data\"", "\"other\""));
  const Outcome same = run({"restore", "--from", backup(), "--config", posing, "--json"});
  EXPECT_EQ(same.exit, code(Exit::wrong_cluster)) << same.output;
  // The copy itself, put in the place of a region.
  replicas.stop();
  fs::copy_file(copy(), replicas.region(2), fs::copy_options::overwrite_existing);
  const Outcome posed = replicas({"cluster", "start", "--replica", "2", "--json"});
  EXPECT_EQ(posed.exit, code(Exit::wrong_cluster)) << posed.output;
}

TEST(BackupQuorum, ARestoredClusterHasTheOriginalsAndNoOther) {
  const Replicas replicas({"--quorum", "all"});
  ASSERT_EQ(replicas.append(some_lines(50)).exit, 0);
  const fs::path backup = replicas.scratch() / "backup";
  const Outcome made = replicas({"backup", "make", "--to", backup, "--json"});
  ASSERT_EQ(made.exit, 0) << made.output;
  EXPECT_EQ(made.json()["logs"][0]["quorum"], "all");
  EXPECT_THAT(run({"backup", "verify", "--from", backup}).output, HasSubstr("quorum all"));

  const Restored clone(backup, replicas.scratch() / "clone");
  ASSERT_EQ(clone.made.exit, 0) << clone.made.output << clone.made.errors;
  EXPECT_EQ(clone.made.json()["logs"][0]["quorum"], "all");
  ASSERT_EQ(clone.started.exit, 0) << clone.started.output;
  const Json members = clone({"member", "list", "--json"}).json()["logs"][0];
  EXPECT_EQ(members["commit_quorum"], 3) << members.dump(1);
  EXPECT_EQ(members["election_quorum"], 1) << members.dump(1);
  EXPECT_EQ(clone({"append"}, "on\n").exit, 0);

  // A node that is configured by hand, and says nothing or something else.
  const fs::path home = replicas.scratch() / "clone" / "replica-1";
  for (const auto& [says, means] :
       {std::pair{"", "majority"}, {"quorum = \"majority\"", "majority"}}) {
    const fs::path config = home / "other.toml";
    const std::string elsewhere = replaced(read_file(home / "node.toml"), "\"data\"", "\"other\"");
    write_file(config, replaced(elsewhere, "quorum = \"all\"", says));
    const Outcome refused = run({"restore", "--from", backup, "--config", config, "--json"});
    EXPECT_EQ(refused.exit, code(Exit::configuration)) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr((backup / "main" / "backup").string()));
    EXPECT_THAT(refused.output, HasSubstr("all"));
    EXPECT_THAT(refused.output, HasSubstr(means));
    EXPECT_FALSE(fs::exists(home / "other")) << "nothing is made";
  }
}

TEST(BackupQuorum, FewerReplicasThanCopiesThatCommitAreRefused) {
  const Replicas replicas({"--quorum", "3"});
  ASSERT_EQ(replicas.append("kept\n").exit, 0);
  const fs::path backup = replicas.scratch() / "backup";
  ASSERT_EQ(replicas({"backup", "make", "--to", backup}).exit, 0);
  const fs::path clone = replicas.scratch() / "clone";
  const Outcome refused =
      run({"restore", "--from", backup, "--dir", clone, "--replicas", "2", "--json"});
  EXPECT_EQ(refused.exit, code(Exit::configuration)) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("--replicas 3"));
  EXPECT_FALSE(fs::exists(clone));
}

TEST_F(Backup, DamageIsFoundAndNotRestored) {
  ASSERT_EQ(replicas.append(some_lines(500)).exit, 0);
  ASSERT_EQ(make().exit, 0);
  flip_byte(copy(), file_offset(copy(), entry_offset(copy(), 250)) + 10);
  const Outcome rotten = verify();
  EXPECT_EQ(rotten.exit, code(Exit::damaged)) << rotten.output;
  EXPECT_THAT(rotten.output, HasSubstr("another one"));
  const fs::path clone = replicas.scratch() / "clone";
  EXPECT_EQ(run({"restore", "--from", backup(), "--dir", clone, "--json"}).exit,
            code(Exit::damaged));
  EXPECT_FALSE(fs::exists(clone));
  fs::remove(backup() / "backup.json");
  EXPECT_EQ(verify().exit, code(Exit::not_found)) << "cut short: it is no backup";
  EXPECT_EQ(run({"backup", "make", "--dir", replicas.directory(), "--to", backup()}).exit,
            code(Exit::exists));
}

}  // namespace
}  // namespace caisson::test
