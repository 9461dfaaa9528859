// SPDX-License-Identifier: BSD-3-Clause
// Lines are appended once each, whoever is killed meanwhile.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using tools::Exit;

TEST(ExactlyOnce, TheLeaderIsKilledInTheMiddle) {
  const Replicas replicas({"--ring-bytes", "64MiB"});
  const std::string text = some_lines(200'000);
  write_file(replicas.scratch() / "in", text);
  Background append({"append", "--json", "--dir", replicas.directory().string()},
                    replicas.scratch() / "in", replicas.scratch() / "out");
  ASSERT_TRUE(eventually([&] {
    const Json status = replicas.status();
    return status["logs"][0]["committed"].get<uint64_t>() > 20'000;
  }));
  const int leader = replicas.await_leader();
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", "leader"}).exit, 0);
  ASSERT_EQ(append.wait(), 0) << read_file(replicas.scratch() / "out.err");
  const Json result = Json::parse(read_file(replicas.scratch() / "out"));
  EXPECT_EQ(result["entries"], 200'000);
  ASSERT_EQ(replicas({"cluster", "start", "--replica", std::to_string(leader)}).exit, 0);
  const std::string last = std::to_string(result["last_position"].get<uint64_t>());
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_TRUE(replicas.read(replica, {"--wait-for", last, "--to", last}) == text)
        << "replica " << replica << ", " << result;
  }
}

TEST(ExactlyOnce, TheLeaderIsPausedInTheMiddle) {
  const Replicas replicas({"--ring-bytes", "64MiB"});
  const std::string text = some_lines(200'000, 2);
  write_file(replicas.scratch() / "in", text);
  Background append({"append", "--json", "--dir", replicas.directory().string()},
                    replicas.scratch() / "in", replicas.scratch() / "out");
  ASSERT_TRUE(eventually([&] {
    const Json status = replicas.status();
    return status["logs"][0]["committed"].get<uint64_t>() > 10'000;
  }));
  const std::string leader = std::to_string(replicas.await_leader());
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", leader, "--signal", "STOP"}).exit, 0);
  EXPECT_EQ(append.wait(), 0) << read_file(replicas.scratch() / "out.err");
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", leader, "--signal", "CONT"}).exit, 0);
  const Json result = Json::parse(read_file(replicas.scratch() / "out"));
  const std::string last = std::to_string(result["last_position"].get<uint64_t>());
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_TRUE(replicas.read(replica, {"--wait-for", last, "--to", last}) == text)
        << "replica " << replica << ", " << result;
  }
}

TEST(ExactlyOnce, AKilledClientGoesOnWithResume) {
  const Replicas replicas({"--ring-bytes", "64MiB"});
  const std::string text = some_lines(100'000, 3);
  write_file(replicas.scratch() / "in", text);
  const Arguments command = {
      "append", "--json", "--stream", "backup", "--resume", "--dir", replicas.directory().string()};
  uint64_t kills = 0;
  for (; kills < 5; ++kills) {
    Background append(command, replicas.scratch() / "in", replicas.scratch() / "out");
    pause_ms(20 + 15 * kills);
    append.signal(SIGKILL);
    if (append.wait() == 0) break;
  }
  const Outcome ended =
      run_other({"/bin/sh", "-c",
                 program() + " append --json --stream backup --resume --dir " +
                     replicas.directory().string() + " < " + (replicas.scratch() / "in").string()});
  ASSERT_EQ(ended.exit, 0) << ended.errors;
  EXPECT_GT(kills, 0u);
  EXPECT_EQ(ended.json()["entries"].get<uint64_t>() + ended.json()["skipped"].get<uint64_t>(),
            100'000u);
  EXPECT_TRUE(replicas({"read"}).output == text);
}

TEST(ExactlyOnce, ResumingWhatIsWholeAppendsNothing) {
  const Replicas replicas;
  const std::string text = some_lines(1000);
  ASSERT_EQ(replicas.append(text, {"--stream", "7", "--resume"}).json()["entries"], 1000);
  const Json again = replicas.append(text, {"--stream", "7", "--resume"}).json();
  EXPECT_EQ(again["entries"], 0);
  EXPECT_EQ(again["skipped"], 1000);
  // Without --resume the stream begins anew.
  EXPECT_EQ(replicas.append(text, {"--stream", "7"}).json()["entries"], 1000);
  EXPECT_EQ(replicas({"read"}).output, text + text);
}

// The leader and a follower are paused after the stream was opened: the third alone elects nobody.
TEST(ExactlyOnce, WithoutAQuorumLinesAreIndefiniteAndNamed) {
  const Replicas replicas;
  const auto pipe = replicas.scratch() / "pipe", out = replicas.scratch() / "out";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int fd = open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  Background append({"append", "--json", "--stream", "9", "--timeout", "3", "--dir",
                     replicas.directory().string()},
                    pipe, out);
  ASSERT_EQ(write(fd, "before\n", 7), 7);
  ASSERT_TRUE(eventually([&] { return replicas({"read"}).output == "before\n"; }));
  const std::string leader = std::to_string(replicas.await_leader());
  const std::string follower = std::to_string(replicas.follower());
  for (const std::string& paused : {leader, follower}) {
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", paused, "--signal", "STOP"}).exit, 0);
  }
  ASSERT_EQ(write(fd, "unknown\n", 8), 8);
  pause_ms(200);
  close(fd);
  EXPECT_EQ(append.wait(), static_cast<int>(Exit::indefinite)) << read_file(out.string() + ".err");
  const Json result = Json::parse(read_file(out));
  EXPECT_EQ(result["entries"], 1);
  EXPECT_EQ(result["indefinite_lines"], Json::array({2}));
  for (const std::string& paused : {leader, follower}) {
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", paused, "--signal", "CONT"}).exit, 0);
  }
  // The same stream and input settle it.
  const Outcome settled = replicas.append("before\nunknown\n", {"--stream", "9", "--resume"});
  ASSERT_EQ(settled.exit, 0) << settled.errors;
  EXPECT_EQ(replicas({"read"}).output, "before\nunknown\n");
}

// Acknowledged by a leader that has lost its followers, and dies: its client is told which lines.
TEST(Apology, LinesThatDieWithTheirLeaderAreNamedAndAppendedAgain) {
  for (int round = 1; round <= 5; ++round) {
    const Replicas replicas;
    const auto pipe = replicas.scratch() / "pipe", out = replicas.scratch() / "out";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    const int fd = open(pipe.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    Background append({"append", "--json", "--stream", "9", "--durability", "local", "--dir",
                       replicas.directory().string()},
                      pipe, out);
    ASSERT_EQ(write(fd, "1\n", 2), 2);
    ASSERT_TRUE(eventually([&] { return replicas({"read"}).output == "1\n"; }));
    const int leader = replicas.await_leader();
    std::vector<std::string> others;
    for (int id = 1; id <= 3; ++id) {
      if (id != leader) others.push_back(std::to_string(id));
    }
    for (const std::string& other : others) {
      ASSERT_EQ(replicas({"cluster", "kill", "--replica", other}).exit, 0);
    }
    ASSERT_EQ(write(fd, "2\n3\n", 4), 4);
    pause_ms(50);
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(leader)}).exit, 0);
    // The first one knows no leader before the second one is there, so it is not waited for.
    Background first({"node", "--config",
                      (replicas.directory() / ("replica-" + others[0]) / "node.toml").string()},
                     "/dev/null", replicas.scratch() / "first");
    ASSERT_EQ(replicas({"cluster", "start", "--replica", others[1]}).exit, 0);
    ASSERT_EQ(write(fd, "4\n", 2), 2);
    close(fd);
    const int exit = append.wait();
    const auto end_first = [&] {
      first.signal(SIGTERM);
      (void)first.wait();
    };
    // The leader may have noticed first that it is alone: then it acknowledged nothing.
    if (exit == 0) {
      end_first();
      continue;
    }
    EXPECT_EQ(exit, static_cast<int>(Exit::apology)) << read_file(out.string() + ".err");
    const Json result = Json::parse(read_file(out));
    ASSERT_EQ(result["apologies"].size(), 1u) << result;
    EXPECT_EQ(result["apologies"][0]["first_line"], 2);
    EXPECT_EQ(result["apologies"][0]["last_line"], 3);
    EXPECT_EQ(result["not_appended_lines"], Json::array({4}));
    const Outcome again = replicas.append("1\n2\n3\n4\n", {"--stream", "9", "--resume"});
    ASSERT_EQ(again.exit, 0) << again.errors;
    EXPECT_EQ(again.json()["skipped"], 1);
    EXPECT_TRUE(again.json()["apologies"].empty()) << "they were shown, and taken";
    EXPECT_EQ(replicas({"read"}).output, "1\n2\n3\n4\n");
    end_first();
    return;
  }
  FAIL() << "in five rounds no leader acknowledged anything alone";
}

}  // namespace
}  // namespace caisson::test
