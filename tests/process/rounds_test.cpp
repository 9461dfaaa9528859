// SPDX-License-Identifier: BSD-3-Clause
// Rounds of kill -9, SIGSTOP and SIGCONT against the processes of a cluster under load: no
// acknowledged line is lost, none is there twice, all replicas end equal. CAISSON_ROUNDS says how
// many (default 10; scripts/rounds runs 200), CAISSON_SEED which.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/support/feeder.hpp"
#include "tests/support/program.hpp"

namespace caisson::test {
namespace {

namespace fs = std::filesystem;

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

class Rounds {
 public:
  Rounds(const Replicas& replicas, uint64_t seed) : replicas_(replicas), random_(seed) {}

  void play(uint64_t round) {
    const int leader = replicas_.await_leader();
    const bool at_leader = random_() % 2 == 0;
    const int victim = at_leader ? leader : leader % 3 + 1;
    SCOPED_TRACE("round " + std::to_string(round) + ", replica " + std::to_string(victim) +
                 (victim == leader ? ", the leader" : ""));
    switch (random_() % 4) {
      case 0:
      case 1: kill(victim); break;
      case 2: pause(victim); break;
      case 3: kill_paused(victim); break;
    }
    await_progress();
  }

 private:
  void signal(int replica, const std::string& name) {
    const Outcome sent =
        replicas_({"cluster", "kill", "--replica", std::to_string(replica), "--signal", name});
    EXPECT_EQ(sent.exit, 0) << sent.errors;
  }
  void bring_back(int replica) {
    const Outcome back = replicas_({"cluster", "start", "--replica", std::to_string(replica)});
    ASSERT_EQ(back.exit, 0) << back.errors;
  }
  void kill(int replica) {
    signal(replica, "KILL");
    pause_ms(random_() % 200);
    bring_back(replica);
  }
  void pause(int replica) {
    signal(replica, "STOP");
    pause_ms(random_() % 400);
    signal(replica, "CONT");
  }
  void kill_paused(int replica) {
    signal(replica, "STOP");
    pause_ms(random_() % 200);
    signal(replica, "KILL");
    bring_back(replica);
  }
  // The round is over when appends are committed again.
  void await_progress() {
    const auto committed = [&] {
      return replicas_.status()["logs"][0]["committed"].get<uint64_t>();
    };
    const uint64_t before = committed();
    EXPECT_TRUE(eventually([&] { return committed() > before + 20; }, 30'000))
        << replicas_.status().dump(2);
  }

  const Replicas& replicas_;
  std::mt19937_64 random_;
};

TEST(Rounds, NoLineIsLostOrThereTwiceWhoeverIsKilledOrPaused) {
  const uint64_t rounds = number_from("CAISSON_ROUNDS", 10);
  const uint64_t seed = number_from("CAISSON_SEED", std::random_device{}());
  SCOPED_TRACE("CAISSON_SEED=" + std::to_string(seed));
  const Replicas replicas({"--ring-bytes", "256MiB"});
  const fs::path pipe = replicas.scratch() / "pipe";
  Feeder feeder(pipe);
  const std::string appends = replicas.scratch() / "appends.jsonl";
  const std::string reads = replicas.scratch() / "reads.jsonl";
  Background append({"append", "--json", "--dir", replicas.directory().string(), "--timeout", "60",
                     "--history", appends},
                    pipe, replicas.scratch() / "out");
  Rounds game(replicas, seed);
  for (uint64_t round = 1; round <= rounds && !::testing::Test::HasFailure(); ++round) {
    game.play(round);
    if (round % 20 == 0) std::printf("%llu rounds\n", static_cast<unsigned long long>(round));
  }
  feeder.stop();
  ASSERT_EQ(append.wait(), 0) << read_file(replicas.scratch() / "out")
                              << read_file(replicas.scratch() / "out.err");
  const Json result = Json::parse(read_file(replicas.scratch() / "out"));
  EXPECT_EQ(result["entries"], feeder.lines());
  const std::string text = feeder.text();
  const std::string last = std::to_string(result["last_position"].get<uint64_t>());
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_TRUE(replicas.read(replica, {"--wait-for", last, "--to", last, "--linearizable", "proof",
                                        "--history", reads}) == text)
        << "replica " << replica << " holds something else; " << result;
  }
  replicas.stop();
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_EQ(run({"log", "verify", replicas.data(replica).string()}).exit, 0)
        << "replica " << replica;
  }
  const Outcome verdict = replicas.judge({appends, reads});
  EXPECT_EQ(verdict.exit, 0) << verdict.output << verdict.errors;
  EXPECT_EQ(verdict.json()["acknowledged"], feeder.lines());
  EXPECT_EQ(verdict.json()["reads"], 3);
}

// Everybody dies at once, and everything acknowledged is there when they come back.
TEST(Rounds, AllReplicasAreKilledTogether) {
  const Replicas replicas({"--ring-bytes", "64MiB"});
  const std::string history = replicas.scratch() / "history.jsonl";
  std::string all;
  for (uint32_t round = 1; round <= 3; ++round) {
    const std::string text = some_lines(5'000, round);
    ASSERT_EQ(replicas.append(text, {"--history", history}).exit, 0);
    all += text;
    for (int replica = 1; replica <= 3; ++replica) {
      ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(replica)}).exit, 0);
    }
    // As the kill left them.
    const Outcome verdict = replicas.judge({history});
    EXPECT_EQ(verdict.exit, 0) << verdict.output << verdict.errors;
    ASSERT_EQ(replicas({"cluster", "start"}).exit, 0);
    EXPECT_TRUE(replicas({"read", "--linearizable", "leader", "--history", history}).output == all)
        << "after round " << round;
  }
}

}  // namespace
}  // namespace caisson::test
