// SPDX-License-Identifier: BSD-3-Clause
// R46: the logs of one node speak to another node in one frame a turn. When a node dies that led
// all of them, all of them seal.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr int kLogs = 12;

Shape many_logs() {
  Shape shape;
  shape.runs_inline = true;
  shape.ring_bytes = 1 << 20;
  shape.logs.clear();
  for (int i = 0; i < kLogs; ++i) shape.logs.push_back("log-" + std::to_string(i));
  return shape;
}

struct Sent {
  uint64_t messages = 0;
  uint64_t frames = 0;  // that carried them
};

Sent sent_by(Cluster& cluster, int id, const char* messages, const char* frames) {
  const auto poller = nlohmann::json::parse(cluster.engine(id).status_json())["pollers"][0];
  return {poller[messages].get<uint64_t>(), poller[frames].get<uint64_t>()};
}
Sent seals_of(Cluster& cluster, int id) { return sent_by(cluster, id, "seals", "seal_frames"); }
Sent all_of(Cluster& cluster, int id) {
  return sent_by(cluster, id, "control_messages", "control_frames");
}
Sent since(const Sent& before, const Sent& now) {
  return {now.messages - before.messages, now.frames - before.frames};
}

struct Death {
  Sent seals;    // asked for by both who are left
  Sent answers;  // of one of them, and what else it says

  // One frame for each node, and as many again where a log is a turn behind.
  bool sealed_together() const {
    return seals.messages >= 2u * kLogs && seals.frames * kLogs <= 2 * seals.messages;
  }
  bool answered_together() const {
    return answers.messages >= 1u * kLogs && answers.frames * 2 <= answers.messages;
  }
};

// Node 1, which leads every log, dies.
void node_1_dies(Cluster& cluster, Death& death) {
  const std::vector<std::string>& logs = cluster.shape().logs;
  // The others hear of each other's death alone. Where the machine stands still for a while a log
  // may have gone elsewhere meanwhile, and comes back.
  ASSERT_TRUE(cluster.until([&] {
    return std::ranges::count_if(logs, [&](const std::string& log) {
             const int now = cluster.leader(log);
             if (now > 1) (void)cluster.log(now, log).hand_over(ReplicaId{1}, kSecondNs / 1000);
             return now != 1;
           }) == 0;
  }));
  const Sent by_2 = seals_of(cluster, 2);
  const Sent by_3 = seals_of(cluster, 3);
  const Sent answered = all_of(cluster, 3);
  cluster.close(1);
  ASSERT_TRUE(cluster.until([&] {
    return std::ranges::all_of(logs,
                               [&](const std::string& log) { return cluster.leader(log) > 1; });
  }));
  const Sent asked_2 = since(by_2, seals_of(cluster, 2));
  const Sent asked_3 = since(by_3, seals_of(cluster, 3));
  death.seals = {asked_2.messages + asked_3.messages, asked_2.frames + asked_3.frames};
  death.answers = since(answered, all_of(cluster, 3));
  for (const std::string& log : logs) {
    EXPECT_TRUE(cluster.until([&] {
      const int now = cluster.leader(log);
      auto appender = now > 1 ? cluster.log(now, log).appender({}) : fail(Code::again, log);
      return appender && (*appender)->append(bytes_of("after")).code == Code::ok;
    })) << log;
  }
}

TEST(ManyLogs, ANodesDeathIsSealedInOneFrameForEachNode) {
  Death death;
  // A node that the machine holds up asks log by log, each when its own time is over: that says
  // nothing of what a turn sends. Where a turn sends frame by frame, no try gets through.
  constexpr int kTries = 10;
  for (int i = 0; i < kTries && !(death.sealed_together() && death.answered_together()); ++i) {
    Cluster cluster(many_logs());
    cluster.start();
    ASSERT_NO_FATAL_FAILURE(node_1_dies(cluster, death));
  }
  EXPECT_TRUE(death.sealed_together())
      << death.seals.messages << " seals in " << death.seals.frames << " frames";
  EXPECT_TRUE(death.answered_together())
      << death.answers.messages << " messages in " << death.answers.frames << " frames";
  RecordProperty("seals", static_cast<int>(death.seals.messages));
  RecordProperty("seal_frames", static_cast<int>(death.seals.frames));
  RecordProperty("answers", static_cast<int>(death.answers.messages));
  RecordProperty("answer_frames", static_cast<int>(death.answers.frames));
}

}  // namespace
}  // namespace caisson::engine_test
