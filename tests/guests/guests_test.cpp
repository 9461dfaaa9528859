// SPDX-License-Identifier: BSD-3-Clause
// S1, S2, S3, S12 and S14 on machines of their own: three virtual ones with software RDMA adapters
// and NVDIMMs. One client appends numbered lines all the while, and says what became of each, and
// another one reads; in the end every replica has every acknowledged line once, and the same judge
// as everywhere looks at both histories. scripts/guest/scenarios runs them; CAISSON_GUEST_ROUNDS
// says how many faults (default 2), CAISSON_SEED which, CAISSON_GUEST_MTU the network's MTU.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "tests/guests/guest_cluster.hpp"
#include "tests/support/feeder.hpp"

namespace caisson::test {
namespace {

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// 200 lines in a second: the ring holds those of an hour.
constexpr int kLinesAtOnce = 5;

// Reads by one replica after the other, all the while: what was acknowledged before has to be
// there.
class Reader {
 public:
  Reader(const GuestCluster& cluster, std::string history)
      : cluster_(cluster), history_(std::move(history)), thread_([this] { run(); }) {}
  ~Reader() { stop(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  uint64_t reads() const { return reads_; }  // behind stop()

 private:
  void run() {
    std::string from = "1";
    for (int n = 1; !stop_; n = n % kGuests + 1) {
      const Outcome read =
          cluster_({"read", "--replica", std::to_string(n), "--linearizable", "proof", "--from",
                    from, "--positions", "--timeout", "5", "--history", history_});
      pause_ms(300);
      if (read.exit != 0) continue;  // it is off, or cut off
      ++reads_;
      const size_t last = read.output.rfind('\n', read.output.size() - 2);
      const std::string line = read.output.substr(last == std::string::npos ? 0 : last + 1);
      if (const size_t tab = line.find('\t'); tab != std::string::npos) from = line.substr(0, tab);
    }
  }

  const GuestCluster& cluster_;
  const std::string history_;
  uint64_t reads_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What a client has appended, and what became of it.
class Load {
 public:
  explicit Load(const GuestCluster& cluster)
      : cluster_(cluster),
        pipe_(scratch_.path() / "pipe"),
        feeder_(pipe_, kLinesAtOnce),
        appends_(scratch_.path() / "appends.jsonl"),
        append_({"append", "--json", "--dir", cluster.directory().string(), "--timeout", "300",
                 "--history", appends_},
                pipe_, scratch_.path() / "out"),
        reads_(scratch_.path() / "reads-meanwhile.jsonl"),
        reader_(cluster, reads_) {}

  // Ends it, and judges everything.
  void judge() {
    feeder_.stop();
    reader_.stop();
    EXPECT_GT(reader_.reads(), 0u) << "nothing could be read meanwhile";
    ASSERT_EQ(append_.wait(), 0) << read_file(scratch_.path() / "out")
                                 << read_file(scratch_.path() / "out.err");
    const Json result = Json::parse(read_file(scratch_.path() / "out"));
    EXPECT_EQ(result["entries"], feeder_.lines());
    const std::string last = std::to_string(result["last_position"].get<uint64_t>());
    const std::string reads = scratch_.path() / "reads.jsonl";
    const std::string text = feeder_.text();
    for (int n = 1; n <= kGuests; ++n) {
      Outcome read;
      const auto reading = [&] {
        read = cluster_({"read", "--replica", std::to_string(n), "--wait-for", last, "--to", last,
                         "--linearizable", "proof", "--history", reads});
        return read.exit == 0;
      };
      EXPECT_TRUE(eventually(reading, 120'000)) << "replica " << n << ": " << read.errors;
      EXPECT_TRUE(read.output == text) << "replica " << n << " holds something else; " << result;
    }
    const Outcome verdict = check({"--json", appends_, reads_, reads});
    EXPECT_EQ(verdict.exit, 0) << verdict.output << verdict.errors;
    EXPECT_EQ(verdict.json()["acknowledged"], feeder_.lines());
    std::printf(
        "%llu lines appended, all acknowledged, all there once on each replica; %llu "
        "linearizable reads meanwhile\n",
        static_cast<unsigned long long>(feeder_.lines()),
        static_cast<unsigned long long>(reader_.reads()));
  }

 private:
  const GuestCluster& cluster_;
  Scratch scratch_;
  const std::filesystem::path pipe_;
  Feeder feeder_;
  const std::string appends_;
  Background append_;
  const std::string reads_;
  Reader reader_;
};

class Guests : public testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("CAISSON_GUESTS") == nullptr) {
      GTEST_SKIP() << "needs virtual machines: scripts/guest/scenarios starts them";
    }
    cluster_ =
        std::make_unique<GuestCluster>(static_cast<int>(number_from("CAISSON_GUEST_MTU", 1500)));
    cluster_->await_leader();
    load_ = std::make_unique<Load>(*cluster_);
    cluster_->await_progress();
  }
  void TearDown() override {
    if (load_ != nullptr) load_->judge();
  }
  static std::string of(int n) { return std::to_string(n); }
  int any_but(int n) { return (n + static_cast<int>(random_() % 2)) % kGuests + 1; }

  const uint64_t rounds_ = number_from("CAISSON_GUEST_ROUNDS", 2);
  std::mt19937_64 random_{number_from("CAISSON_SEED", 1)};
  std::unique_ptr<GuestCluster> cluster_;
  std::unique_ptr<Load> load_;
};

// S1, with everything that its machine had in flight: the leader's plug is pulled, or a follower's,
// or all of them at once. Now and then its process is killed besides.
TEST_F(Guests, S1_ALeaderDiesWithItsMachine) {
  for (uint64_t round = 1; round <= rounds_ && !HasFailure(); ++round) {
    const int leader = cluster_->await_leader();
    const int victim = round % 3 == 0 ? any_but(leader) : leader;
    SCOPED_TRACE("round " + std::to_string(round) + ", machine " + of(victim) +
                 (victim == leader ? ", the leader's" : ""));
    pause_ms(random_() % 500);
    if (round % 5 == 0) {
      for (int n = 1; n <= kGuests; ++n) cluster_->power_off(n);
      for (int n = 1; n <= kGuests; ++n) cluster_->power_on(n);
    } else {
      cluster_->power_off(victim);
      if (victim == leader) cluster_->await_leader_but(victim);
      cluster_->await_progress();
      cluster_->power_on(victim);
    }
    cluster_->await_progress();
    if (round % 4 == 0) {
      const int killed = cluster_->await_leader();
      cluster_->kill_node(killed);
      cluster_->await_leader_but(killed);
      cluster_->start_node(killed);
      cluster_->await_progress();
    }
    std::printf("S1: %llu of %llu\n", static_cast<unsigned long long>(round),
                static_cast<unsigned long long>(rounds_));
  }
}

// S2: the leader's machine stops with writes in its adapter's queues, and goes on when there is
// another leader that has appended: its writes find nobody.
TEST_F(Guests, S2_APausedLeaderWritesNothingMore) {
  for (uint64_t round = 1; round <= rounds_ && !HasFailure(); ++round) {
    const int leader = cluster_->await_leader();
    SCOPED_TRACE("round " + std::to_string(round) + ", machine " + of(leader));
    pause_ms(random_() % 500);
    cluster_->machines({"pause", of(leader)});
    const int next = cluster_->await_leader_but(leader);
    cluster_->await_progress();
    cluster_->machines({"resume", of(leader)});
    cluster_->await_progress();
    // It knows that it leads no more: somebody else is named by all who answer.
    EXPECT_NE(cluster_->await_leader_but(leader), leader) << "after " << next;
  }
}

// S3: the leader's machine is cut off, in one direction or both, and comes back.
TEST_F(Guests, S3_ALeaderThatIsCutOffAcknowledgesNothing) {
  constexpr const char* kWays[] = {"both", "out", "in"};
  for (uint64_t round = 1; round <= rounds_ && !HasFailure(); ++round) {
    const int leader = cluster_->await_leader();
    const std::string way = kWays[(round - 1) % 3];
    SCOPED_TRACE("round " + std::to_string(round) + ", machine " + of(leader) + ", " + way);
    pause_ms(random_() % 500);
    cluster_->machines({"cut", of(leader), way});
    cluster_->await_leader_but(leader);
    cluster_->await_progress();
    EXPECT_TRUE(eventually([&] { return !cluster_->takes_itself_for_leader(leader); }))
        << "it leads nobody, and does not notice";
    cluster_->machines({"heal", of(leader)});
    cluster_->await_progress();
    std::printf("S3: %llu of %llu\n", static_cast<unsigned long long>(round),
                static_cast<unsigned long long>(rounds_));
  }
}

// S12: without control links the leader goes on appending; without its adapter somebody else does.
TEST_F(Guests, S12_ControlAndDataFailEachOnItsOwn) {
  for (uint64_t round = 1; round <= rounds_ && !HasFailure(); ++round) {
    const int leader = cluster_->await_leader();
    SCOPED_TRACE("round " + std::to_string(round) + ", machine " + of(leader));
    const int follower = any_but(leader);
    cluster_->machines({"cut", of(follower), "both", "tcp"});
    cluster_->await_progress();
    EXPECT_EQ(cluster_->await_leader(), leader) << "a control link is not the data plane";
    cluster_->machines({"heal", of(follower)});
    cluster_->machines({"cut", of(leader), "both", "rdma"});
    cluster_->await_leader_but(leader);
    cluster_->await_progress();
    cluster_->machines({"heal", of(leader)});
    cluster_->await_progress();
  }
}

// S14: members come and go under load while the leader dies.
TEST_F(Guests, S14_MembersChangeWhileTheLeaderDies) {
  for (uint64_t round = 1; round <= rounds_ && !HasFailure(); ++round) {
    const int leader = cluster_->await_leader();
    const int member = any_but(leader);
    SCOPED_TRACE("round " + std::to_string(round) + ", member " + of(member));
    const Outcome removed = (*cluster_)({"member", "remove", "--replica", of(member)});
    EXPECT_EQ(removed.exit, 0) << removed.errors;
    cluster_->await_progress();
    // It comes back with nothing, as every former member does.
    cluster_->lose_memory(member);
    Outcome added;
    EXPECT_TRUE(eventually(
        [&] {
          added = (*cluster_)({"member", "add", "--replica", of(member)});
          return added.exit == 0;
        },
        60'000))
        << added.errors;
    cluster_->kill_node(leader);
    cluster_->await_leader_but(leader);
    cluster_->start_node(leader);
    cluster_->await_progress();
  }
}

// Packets are lost, and the adapters send them again.
TEST_F(Guests, LossCostsTimeOnly) {
  for (int n = 1; n <= kGuests; ++n) cluster_->machines({"lose", of(n), "2"});
  for (uint64_t round = 1; round <= rounds_; ++round) cluster_->await_progress();
  for (int n = 1; n <= kGuests; ++n) cluster_->machines({"heal", of(n)});
}

}  // namespace
}  // namespace caisson::test
