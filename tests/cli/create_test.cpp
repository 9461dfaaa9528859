// SPDX-License-Identifier: BSD-3-Clause
// Clusters that are made, moved, lost in part, and made again by hand.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }

TEST(Create, AnAmnesiacIsNotMadeAnew) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("kept\n").exit, 0);
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "3"}).exit, 0);
  const std::string config = (replicas.directory() / "replica-3" / "node.toml").string();
  fs::remove(replicas.region(3));
  EXPECT_EQ(run({"node", "--config", config, "--create"}).exit, code(Exit::amnesia));
  fs::remove_all(replicas.data(3));
  const Outcome refused = run({"node", "--config", config, "--create"});
  EXPECT_EQ(refused.exit, code(Exit::amnesia)) << refused.errors;
  EXPECT_FALSE(fs::exists(replicas.region(3)));
}

TEST(Create, WithoutItsCertificateNothingIsMade) {
  const Replicas replicas;
  replicas.stop();
  for (int id = 1; id <= 3; ++id) fs::remove_all(replicas.data(id));
  const fs::path home = replicas.directory() / "replica-1";
  fs::rename(home / "node.crt", home / "away");
  const Arguments create = {"node", "--config", (home / "node.toml").string(), "--create"};
  EXPECT_EQ(run(create).exit, code(Exit::not_found));
  EXPECT_FALSE(fs::exists(replicas.region(1)));
  fs::rename(home / "away", home / "node.crt");
  Background node(create, {}, replicas.scratch() / "out");
  EXPECT_TRUE(eventually(
      [&] { return read_file(replicas.scratch() / "out").find("ready") != std::string::npos; }));
  // Somebody else's process is named, and left alone.
  const Outcome busy = replicas({"cluster", "stop"});
  EXPECT_EQ(busy.exit, code(Exit::busy));
  EXPECT_THAT(busy.errors, HasSubstr(std::to_string(node.pid())));
  EXPECT_TRUE(node.runs());
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait(), 0);
}

TEST(Create, AClusterMayBeMovedAndACopyLeavesTheOriginalAlone) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("original\n").exit, 0);
  replicas.stop();
  const fs::path copy = replicas.scratch() / "copy";
  fs::copy(replicas.directory(), copy, fs::copy_options::recursive);
  const Arguments dir = {"--dir", copy.string()};
  const auto with_copy = [&](Arguments arguments, const std::string& input = "") {
    arguments.insert(arguments.end(), dir.begin(), dir.end());
    return run(arguments, input);
  };
  const Outcome started = with_copy({"cluster", "start"});
  EXPECT_EQ(started.exit, 0) << started.errors;
  EXPECT_EQ(with_copy({"append"}, "copy\n").exit, 0);
  EXPECT_EQ(with_copy({"cluster", "stop"}).exit, 0);
  ASSERT_EQ(replicas({"cluster", "start"}).exit, 0);
  EXPECT_EQ(replicas({"read"}).output, "original\n");
}

TEST(Create, OtherOptionsForAClusterThatIsThereAreRefused) {
  const Replicas replicas;
  EXPECT_EQ(replicas({"cluster", "start", "--persistence", "real"}).exit, code(Exit::exists));
  EXPECT_EQ(replicas({"cluster", "start", "--idle", "busy"}).exit, code(Exit::exists));
  EXPECT_EQ(replicas({"cluster", "start", "--idle", "adaptive"}).exit, 0);
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "2", "--signal", "STOP"}).exit, 0);
  const Outcome stopped = replicas({"cluster", "start", "--replica", "2"});
  EXPECT_EQ(stopped.exit, code(Exit::busy));
  EXPECT_THAT(stopped.errors, HasSubstr("--signal CONT"));
  EXPECT_EQ(replicas({"cluster", "kill", "--replica", "2", "--signal", "CONT"}).exit, 0);
}

TEST(Client, ItsFilesAreMissedAtOnce) {
  const Replicas replicas;
  fs::rename(replicas.directory() / "client.crt", replicas.scratch() / "away");
  for (const Arguments& command :
       {Arguments{"append"}, {"tail"}, {"status"}, {"cluster", "status"}}) {
    const uint64_t before = now_ms();
    const Outcome refused = replicas(command);
    EXPECT_EQ(refused.exit, code(Exit::not_found)) << command[0];
    EXPECT_THAT(refused.errors, HasSubstr("client.crt"));
    EXPECT_LT(now_ms() - before, 5'000u);
  }
  fs::rename(replicas.scratch() / "away", replicas.directory() / "client.crt");
}

TEST(Client, AFullRingIsNamed) {
  const Replicas replicas({"--ring-bytes", "1MiB"});
  const Outcome full = replicas({"append", "--timeout", "3"}, some_lines(20'000));
  EXPECT_NE(full.exit, 0);
  EXPECT_THAT(full.errors, HasSubstr("ring of log 'main' is full"));
  EXPECT_THAT(full.errors, HasSubstr("caisson trim"));
  const Outcome more = replicas({"append", "--timeout", "3"}, "one\n");
  EXPECT_EQ(more.exit, code(Exit::timed_out)) << more.errors;
  EXPECT_THAT(more.errors, HasSubstr("is full"));
  EXPECT_THAT(replicas({"status"}).output, HasSubstr("of 1.00 MiB"));
  const Outcome early = replicas({"trim", "--through", "99999999"});
  EXPECT_EQ(early.exit, code(Exit::timed_out));
  EXPECT_THAT(early.errors, HasSubstr("is not committed yet; the last that is: "));
}

TEST(Client, ALineThatItsStreamRefusesIsNotAppended) {
  const Replicas replicas;
  const auto pipe = replicas.scratch() / "pipe", out = replicas.scratch() / "out";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int fd = open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  Background append({"append", "--json", "--stream", "7", "--dir", replicas.directory().string()},
                    pipe, out);
  ASSERT_EQ(write(fd, "one\n", 4), 4);
  ASSERT_TRUE(eventually([&] { return replicas({"read"}).output == "one\n"; }));
  ASSERT_EQ(replicas({"append", "--stream", "7"}, "other\n").exit, 0);
  ASSERT_EQ(write(fd, "two\n", 4), 4);
  EXPECT_EQ(append.wait(), code(Exit::stream)) << read_file(replicas.scratch() / "out.err");
  const Json result = Json::parse(read_file(out));
  EXPECT_EQ(result["not_appended_lines"], Json::array({2}));
  EXPECT_EQ(result["indefinite_lines"], Json::array());
  EXPECT_THAT(read_file(replicas.scratch() / "out.err"), Not(HasSubstr("fate unknown")));
  close(fd);
}

}  // namespace
}  // namespace caisson::test
