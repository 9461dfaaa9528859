// SPDX-License-Identifier: BSD-3-Clause
// R46: the logs of one node speak to another node in one frame a turn. When a node dies that led
// all of them, all of them seal.
#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr int kLogs = 12;

Shape many_logs() {
  Shape shape;
  shape.runs_inline = true;
  shape.ring_bytes = 1 << 20;
  shape.suspect_after_us = 100'000;
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

bool leads_all(Cluster& cluster, int id) {
  for (const std::string& log : cluster.shape().logs) {
    if (!cluster.log(id, log).leadership().is_self) return false;
  }
  return true;
}

TEST(ManyLogs, ANodesDeathIsSealedInOneFrameForEachNode) {
  Cluster cluster(many_logs());
  cluster.start();
  // Node 1 leads every log: the others hear of each other's death alone.
  for (const std::string& log : cluster.shape().logs) {
    ASSERT_TRUE(cluster.until([&] {
      const int now = cluster.leader(log);
      if (now > 1) (void)cluster.log(now, log).hand_over(ReplicaId{1}, kSecondNs / 1000);
      return now == 1;
    })) << log;
  }
  ASSERT_TRUE(leads_all(cluster, 1));
  const Sent sealed = seals_of(cluster, 2);
  const Sent answered = all_of(cluster, 3);
  cluster.close(1);
  ASSERT_TRUE(cluster.until([&] { return leads_all(cluster, 2); }));
  const Sent seals = since(sealed, seals_of(cluster, 2));
  const Sent answers = since(answered, all_of(cluster, 3));
  RecordProperty("seals", static_cast<int>(seals.messages));
  RecordProperty("seal_frames", static_cast<int>(seals.frames));
  RecordProperty("answers", static_cast<int>(answers.messages));
  RecordProperty("answer_frames", static_cast<int>(answers.frames));
  EXPECT_GE(seals.messages, 2u * kLogs) << "each log asks two nodes";
  // One frame for each node, and as many again where a log is a turn behind.
  EXPECT_LE(seals.frames * kLogs, 2 * seals.messages) << "those of a turn travel together";
  EXPECT_GE(answers.messages, 1u * kLogs);
  EXPECT_LE(answers.frames * 2, answers.messages) << "and so do the answers";
  for (const std::string& log : cluster.shape().logs) {
    EXPECT_EQ(cluster.appender(2, {}, log)->append(bytes_of("after")).code, Code::ok);
  }
}

}  // namespace
}  // namespace caisson::engine_test
