// SPDX-License-Identifier: BSD-3-Clause
// R26: a replica whose memory is gone rejoins a log that has trimmed what it lacks, and its
// application gets the state from another's.
#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"
#include "tests/engine/toy_state.hpp"

namespace caisson::engine_test {
namespace {

class StateCluster : public testing::Test {
 protected:
  static constexpr int kReplicas = 4;

  static Shape shape(StateCluster& test) {
    Shape shape;
    shape.replicas = kReplicas;
    shape.auto_apply = false;
    shape.adjust = [&test](EngineOptions& options) {
      options.state_bytes_per_s = test.bytes_per_s;
      options.logs[0].state = std::make_shared<ToyState>(*test.disks[options.replica.value - 1]);
    };
    return shape;
  }

  void SetUp() override {
    for (auto& disk : disks) disk = std::make_unique<ToyDisk>();
    cluster.start();
  }

  // Every application applies what it is delivered, and says so.
  void apply_on(int id) {
    if (!cluster.is_open(id)) return;
    ToyDisk& disk = *disks[static_cast<size_t>(id - 1)];
    Log& log = cluster.log(id);
    // Before its state is there, there is nothing behind it to apply.
    if (log.tail() <= disk.reached()) return;
    auto subscription = log.subscribe(disk.reached() + 1);
    if (!subscription) return;
    Entry entry;
    while ((*subscription)->next(entry) == Code::ok) disk.apply(entry.position, entry.payload);
    subscription->reset();
    (void)log.mark_applied(disk.reached());
  }
  void apply_everywhere() {
    for (int id = 1; id <= kReplicas; ++id) apply_on(id);
  }
  // Appends, applies, and trims nearly all of it.
  void fill_and_trim() {
    int leads = 0;
    const auto appender = cluster.appender_at_leader(leads);
    ASSERT_NE(appender, nullptr);
    for (int i = 0; i < 200; ++i) {
      ASSERT_EQ(appender->append(bytes_of("entry " + std::to_string(i))).code, Code::ok);
    }
    const Position through{cluster.log(leads).tail().value - 5};
    Code code = Code::held;
    ReplicaId holder;
    ASSERT_TRUE(cluster.until([&] {
      apply_everywhere();
      code = cluster.log(leads).trim(through, &holder);
      return code == Code::ok;
    })) << name(code)
        << " by replica " << unsigned{holder.value};
  }

  void wipe(int id) {
    cluster.close(id);
    std::filesystem::remove_all(cluster.home(id));
    disks[static_cast<size_t>(id - 1)] = std::make_unique<ToyDisk>();
    const auto made = Engine::create(cluster.options(id), Engine::Creation::joining);
    ASSERT_TRUE(made) << made.error().message;
    cluster.open(id);
  }

  // The view change goes on beside the test.
  void readmit(int id) {
    const ReplicaSet whom = just(ReplicaId{static_cast<uint8_t>(id)});
    ASSERT_TRUE(cluster.until([&] {
      const int leads = cluster.leader({}, {id});
      return leads != 0 &&
             cluster.log(leads).change_members({.remove = whom}, 5 * kSecondNs) == Code::ok;
    }));
    ASSERT_TRUE(cluster.until([&] {
      const int leads = cluster.leader({}, {id});
      if (leads == 0) return false;
      // It takes its time; that it was taken is enough.
      const Code code = cluster.log(leads).change_members({.add = whom}, 1'000'000);
      return code == Code::ok || code == Code::timed_out;
    }));
  }

  nlohmann::json transfer(int id) {
    return nlohmann::json::parse(cluster.log(id).status_json())["state_transfer"];
  }
  bool half_way(int id) {
    const nlohmann::json now = transfer(id);
    return now["phase"] == "copying" && now["bytes_done"] >= (size_t{1} << 20);
  }

  // It votes, and its application has come as far as everybody's, with the same state.
  void expect_whole(int id) {
    const ReplicaId whom{static_cast<uint8_t>(id)};
    ASSERT_TRUE(cluster.until([&] {
      const int leads = cluster.leader();
      return leads != 0 && cluster.log(leads).members().voters.has(whom);
    })) << cluster.log(id).status_json();
    int leads = 0;
    const auto appender = cluster.appender_at_leader(leads);
    ASSERT_NE(appender, nullptr);
    ASSERT_EQ(appender->append(bytes_of("after")).code, Code::ok);
    const Position tail = cluster.log(leads).tail();
    for (int other = 1; other <= kReplicas; ++other) {
      ASSERT_EQ(cluster.log(other).wait_for(tail, 20 * kSecondNs), Code::ok) << other;
    }
    ASSERT_TRUE(cluster.until([&] {
      apply_everywhere();
      return std::all_of(disks.begin(), disks.end(),
                         [&](const auto& disk) { return disk->reached() >= tail; });
    }));
    for (const auto& disk : disks) EXPECT_EQ(disk->digest(), disks[0]->digest());
    EXPECT_EQ(disks[static_cast<size_t>(id - 1)]->finished, 1u);
    EXPECT_TRUE(cluster.until([&] { return transfer(id)["phase"] == "idle"; }));
  }

  int not_leading() { return cluster.leader() == kReplicas ? kReplicas - 1 : kReplicas; }

  uint64_t bytes_per_s = 64 << 20;
  std::array<std::unique_ptr<ToyDisk>, kReplicas> disks;
  Cluster cluster{shape(*this)};
};

class SlowStateCluster : public StateCluster {
 protected:
  SlowStateCluster() { bytes_per_s = 4 << 20; }
};

TEST_F(StateCluster, AWipedReplicaGetsTheApplicationsState) {
  fill_and_trim();
  const int id = not_leading();
  wipe(id);
  readmit(id);
  expect_whole(id);
  EXPECT_EQ(disks[static_cast<size_t>(id - 1)]->begun, 1u);
}

TEST_F(SlowStateCluster, ATargetThatStopsHalfWayGoesOnFromThere) {
  fill_and_trim();
  const int id = not_leading();
  wipe(id);
  readmit(id);
  ASSERT_TRUE(cluster.until([&] { return half_way(id); })) << cluster.log(id).status_json();
  cluster.close(id);
  cluster.open(id);
  expect_whole(id);
  EXPECT_EQ(disks[static_cast<size_t>(id - 1)]->begun, 1u);
}

TEST_F(SlowStateCluster, ASourceThatStopsHalfWayIsReplacedByAnother) {
  fill_and_trim();
  const int id = not_leading();
  wipe(id);
  readmit(id);
  ASSERT_TRUE(cluster.until([&] { return half_way(id); })) << cluster.log(id).status_json();
  const int source = transfer(id)["replica"];
  EXPECT_NE(source, cluster.leader({}, {id})) << "the leader has enough to do";
  cluster.close(source);
  ASSERT_TRUE(cluster.until([&] { return disks[static_cast<size_t>(id - 1)]->finished == 1; }))
      << cluster.log(id).status_json();
  cluster.open(source);
  expect_whole(id);
  EXPECT_EQ(disks[static_cast<size_t>(id - 1)]->begun, 1u) << "the other one has the same bytes";
}

TEST_F(SlowStateCluster, AppendsGoOnMeanwhile) {
  fill_and_trim();
  const int id = not_leading();
  wipe(id);
  readmit(id);
  ASSERT_TRUE(cluster.until([&] { return half_way(id); })) << cluster.log(id).status_json();
  int leads = 0;
  const auto appender = cluster.appender_at_leader(leads);
  ASSERT_NE(appender, nullptr);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(appender->append(bytes_of("meanwhile " + std::to_string(i))).code, Code::ok);
  }
  expect_whole(id);
}

TEST(StateOptions, AHookIsForApplicationsThatSayWhatTheyHaveApplied) {
  ToyDisk disk;
  Shape shape;
  shape.adjust = [&](EngineOptions& options) {
    options.logs[0].state = std::make_shared<ToyState>(disk);
  };
  Cluster cluster(shape);
  const auto created = Engine::create(cluster.options(1));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, Code::invalid);
  EXPECT_NE(created.error().message.find("auto_apply"), std::string::npos);
}

}  // namespace
}  // namespace caisson::engine_test
