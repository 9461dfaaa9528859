// SPDX-License-Identifier: BSD-3-Clause
// Lines are appended once each, whoever is killed meanwhile.
#include <gtest/gtest.h>
#include <signal.h>

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

TEST(ExactlyOnce, WithoutAQuorumLinesAreIndefiniteAndNamed) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("before\n", {"--stream", "9", "--resume"}).exit, 0);
  // A pipe that stays open: the lines are sent while nobody can commit them.
  const int leader = replicas.await_leader();
  for (int replica = 1; replica <= 3; ++replica) {
    if (replica == leader) continue;
    ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(replica)}).exit, 0);
  }
  const Outcome outcome =
      replicas.append("before\nlost?\n", {"--stream", "9", "--resume", "--timeout", "2"});
  EXPECT_TRUE(outcome.exit == static_cast<int>(Exit::indefinite) ||
              outcome.exit == static_cast<int>(Exit::unreachable) ||
              outcome.exit == static_cast<int>(Exit::timed_out))
      << outcome.exit << outcome.errors;
  ASSERT_EQ(replicas({"cluster", "start"}).exit, 0);
  const Outcome settled = replicas.append("before\nlost?\n", {"--stream", "9", "--resume"});
  ASSERT_EQ(settled.exit, 0) << settled.errors;
  EXPECT_EQ(replicas({"read"}).output, "before\nlost?\n");
}

}  // namespace
}  // namespace caisson::test
