// SPDX-License-Identifier: BSD-3-Clause
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

TEST(Open, CreatesOnceOnly) {
  Cluster cluster;
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  const auto again = Engine::create(cluster.options(1));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_NE(again.error().message.find(cluster.home(1)), std::string::npos)
      << again.error().message;
}

TEST(Open, ASecondOwnerIsRefused) {
  Cluster cluster;
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  const auto second = Engine::open(cluster.options(1));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
  EXPECT_NE(second.error().message.find(std::to_string(getpid())), std::string::npos)
      << second.error().message;
  EXPECT_EQ(Engine::create(cluster.options(1)).error().code, Code::busy);
  cluster.close(1);
  EXPECT_TRUE(Engine::open(cluster.options(1)));
}

TEST(Open, CloseGivesTheReplicaFreeAndKeepsWhatReadersHold) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  int leader = 0;
  auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  ASSERT_EQ(appender->append(bytes_of("kept")).code, Code::ok);
  appender.reset();
  auto subscription = cluster.log(leader).subscribe(Position{0});
  ASSERT_TRUE(subscription);
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  cluster.engine(leader).close();
  const auto again = Engine::open(cluster.options(leader));
  EXPECT_TRUE(again) << again.error().message;
  EXPECT_EQ(text_of(entry.payload), "kept");
  EXPECT_EQ((*subscription)->next(entry), Code::closed);
  subscription->reset();
  cluster.close(leader);
}

TEST(Open, AReplicaWhoseRegionVanishedIsRefusedAndCreatesNothing) {
  Cluster cluster;
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  std::filesystem::remove_all(cluster.home(1) + "/logs");
  const auto refused = Engine::open(cluster.options(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::amnesia);
  EXPECT_NE(refused.error().message.find("main"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(std::filesystem::exists(cluster.home(1) + "/logs/main/region"));
  std::filesystem::remove_all(cluster.home(1));
  const auto gone = Engine::open(cluster.options(1));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::amnesia);
  EXPECT_FALSE(std::filesystem::exists(cluster.home(1)));
}

TEST(Open, ARegionOfAnotherClusterIsRefused) {
  Cluster cluster;
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  EngineOptions other = cluster.options(1);
  other.cluster[0] ^= 1;
  const auto refused = Engine::open(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::wrong_cluster) << refused.error().message;
  // Another replica's region under this replica's name.
  std::filesystem::rename(cluster.home(1), cluster.home(1) + ".away");
  std::filesystem::rename(cluster.home(2), cluster.home(1));
  const auto swapped = Engine::open(cluster.options(1));
  ASSERT_FALSE(swapped);
  EXPECT_EQ(swapped.error().code, Code::wrong_cluster) << swapped.error().message;
}

TEST(Open, GeometryNeverChanges) {
  Cluster cluster;
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  EngineOptions other = cluster.options(1);
  other.logs[0].ring_bytes *= 2;
  const auto refused = Engine::open(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_NE(refused.error().message.find("ring_bytes"), std::string::npos);
}

TEST(Open, AnotherQuorumSystemThanTheLogWasCreatedWithIsRefused) {
  Cluster cluster;
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  EngineOptions other = cluster.options(1);
  other.logs[0].quorum = Quorums::all;
  const auto refused = Engine::open(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_NE(refused.error().message.find("quorum"), std::string::npos) << refused.error().message;

  // One replica was created otherwise than the rest. Who does not see that here does not count its
  // answers to a seal.
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  std::filesystem::remove_all(cluster.home(2));
  EngineOptions odd = cluster.options(2);
  odd.logs[0].quorum = Quorums::flexible;
  odd.logs[0].commit_quorum = 2;
  ASSERT_TRUE(Engine::create(odd));
  const auto among = Engine::open(odd);
  ASSERT_FALSE(among);
  EXPECT_EQ(among.error().code, Code::invalid);
  EXPECT_NE(among.error().message.find(cluster.home(1)), std::string::npos)
      << among.error().message;
}

TEST(Open, OptionsAreCheckedBeforeAnythingIsTouched) {
  Cluster cluster;
  const auto refused_with = [&](auto change) {
    EngineOptions options = cluster.options(1);
    change(options);
    const auto created = Engine::create(options);
    return created ? std::string("accepted") : std::string(name(created.error().code));
  };
  EXPECT_EQ(refused_with([](auto& o) { o.persistence = PersistenceMode::unset; }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.cluster = {}; }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.peers.clear(); }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.logs.clear(); }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.logs[0].ring_bytes = 3 << 20; }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.logs[0].name = "../up"; }), "invalid");
  EXPECT_EQ(refused_with([](auto& o) { o.logs[0].commit_quorum = 2; }), "invalid");
  for (const uint32_t copies : {0u, 1u, 4u}) {
    EXPECT_EQ(refused_with([copies](auto& o) {
                o.logs[0].quorum = Quorums::flexible;
                o.logs[0].commit_quorum = copies;
              }),
              "invalid");
  }
  EXPECT_FALSE(std::filesystem::exists(cluster.home(1)));
}

TEST(Open, APortInUseIsNamed) {
  Cluster cluster;
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  EngineOptions options = cluster.options(2);
  options.listen_port = cluster.options(1).listen_port;
  options.peers[1].port = cluster.options(2).listen_port;
  const auto refused = Engine::open(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy) << refused.error().message;
  EXPECT_NE(refused.error().message.find(std::to_string(options.listen_port)), std::string::npos)
      << refused.error().message;
}

TEST(Open, ACoreThatIsNotThereIsRefused) {
  Cluster cluster({.adjust = [](EngineOptions& o) { o.poller_cores = {4000}; }});
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  const auto refused = Engine::open(cluster.options(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_NE(refused.error().message.find("4000"), std::string::npos);
}

TEST(Open, AnUnknownLogIsNotFound) {
  Cluster cluster;
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  const auto unknown = cluster.engine(1).open_log("nope");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::not_found);
  EXPECT_NE(unknown.error().message.find("main"), std::string::npos);
}

TEST(Open, AloneItKnowsNoLeaderAndSaysSoInTime) {
  Cluster cluster({.suspect_after_us = 20'000});
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(cluster.engine(1).wait_ready(kSecondNs / 5), Code::timed_out);
  const auto refused = cluster.log(1).appender();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_leader);
}

TEST(Open, ManyLogsOnSeveralPollersLeadAndCloseApart) {
  Shape shape;
  shape.logs = {"a", "b", "c", "d", "e"};
  shape.ring_bytes = 1 << 20;
  shape.adjust = [](EngineOptions& o) { o.poller_cores = {-1, -1}; };
  Cluster cluster(shape);
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  for (const auto& name : shape.logs) {
    const int leader = cluster.leader(name);
    ASSERT_NE(leader, 0) << name;
    auto appender = cluster.appender(leader, {}, name);
    ASSERT_NE(appender, nullptr);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(appender->append(bytes_of(name + std::to_string(i))).code, Code::ok);
    }
    const auto contents = cluster.contents(leader, name);
    ASSERT_EQ(contents.size(), 100u);
    EXPECT_EQ(contents.back(), name + "99");
  }
}

TEST(Open, StatusNamesWhatRunsWhere) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_NE(cluster.leader(), 0);
  const std::string status = cluster.engine(1).status_json();
  for (const char* key :
       {"\"persistence\":\"emulated\"",
        why_not_one_machine() != nullptr ? "\"fabric\":\"verbs\"" : "\"fabric\":\"shm\"",
        "\"pollers\"", "\"numa_node\"", "\"links\"", "\"committed\"", "\"name\":\"main\""}) {
    EXPECT_NE(status.find(key), std::string::npos) << key << " in " << status;
  }
}

// Without the right to a real-time priority the engine does not open, and says what to do.
TEST(Open, APollersPriorityIsGivenOrRefused) {
  Shape shape;
  shape.adjust = [](EngineOptions& options) { options.poller_priority = 1; };
  Cluster cluster(shape);
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  // Given, where this test may: it stays given once the poller has set itself up.
  if (const auto engine = Engine::open(cluster.options(1)); engine) {
    // Its first turn comes after that.
    ASSERT_TRUE(cluster.until([&] {
      const auto status = nlohmann::json::parse((*engine)->status_json());
      return status.at("pollers").at(0).at("turns").get<uint64_t>() > 0;
    }));
    int pollers = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::ifstream comm(task.path() / "comm");
      std::getline(comm, name);
      if (!name.starts_with("caisson-poll")) continue;
      ++pollers;
      EXPECT_EQ(sched_getscheduler(std::stoi(task.path().filename())), SCHED_FIFO);
    }
    EXPECT_EQ(pollers, 1);
  } else {
    EXPECT_EQ(engine.error().code, Code::denied) << engine.error().message;
  }
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // No right: neither by limit nor by capability.
    const rlimit none{0, 0};
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (setrlimit(RLIMIT_RTPRIO, &none) != 0 || syscall(SYS_capset, &header, data) != 0) _exit(2);
    const auto engine = Engine::open(cluster.options(1));
    const bool named = !engine && engine.error().code == Code::denied &&
                       engine.error().message.find("ulimit -r") != std::string::npos;
    if (!named && !engine) std::fprintf(stderr, "%s\n", engine.error().message.c_str());
    _exit(named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace caisson::engine_test
