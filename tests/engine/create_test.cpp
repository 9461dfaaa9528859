// SPDX-License-Identifier: BSD-3-Clause
// A replica is created once, with its cluster: all of it or nothing, and never again after it may
// have taken part.
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

namespace fs = std::filesystem;

std::string message_of(const Result<void>& result) { return result ? "" : result.error().message; }
std::string code_of(const Result<void>& result) {
  return std::string(result ? "ok" : name(result.error().code));
}

TEST(Create, OneThatRanIsNotMadeAnewInItsDirectory) {
  Cluster cluster;
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  cluster.close(1);
  fs::remove(cluster.home(1) + "/logs/main/region");
  const auto refused = Engine::create(cluster.options(1));
  EXPECT_EQ(code_of(refused), "amnesia");
  EXPECT_NE(message_of(refused).find(cluster.home(1)), std::string::npos) << message_of(refused);
  fs::remove(cluster.home(1) + "/heartbeat");
  EXPECT_EQ(code_of(Engine::create(cluster.options(1))), "amnesia");
  EXPECT_FALSE(fs::exists(cluster.home(1) + "/logs/main/region"));
}

TEST(Create, OneThatRanIsNotMadeAnewWithoutItsDirectory) {
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_NE(cluster.leader(), 0);
  cluster.close(3);
  fs::remove_all(cluster.home(3));
  const auto refused = Engine::create(cluster.options(3));
  EXPECT_EQ(code_of(refused), "amnesia");
  EXPECT_NE(message_of(refused).find("has written to"), std::string::npos) << message_of(refused);
  // What the others keep of it is in memory: a restart of the machine takes it away.
  cluster.close(1);
  cluster.close(2);
  fs::remove_all(cluster.home(1));
  cluster.open(2);
  ASSERT_FALSE(HasFatalFailure());
  cluster.close(2);
  EXPECT_EQ(code_of(Engine::create(cluster.options(3))), "amnesia");
}

TEST(Create, TheOthersMayRunAlreadyWhileAClusterIsMade) {
  Cluster cluster;
  for (int id = 1; id <= 3; ++id) {
    const auto created = Engine::create(cluster.options(id));
    ASSERT_TRUE(created) << created.error().message;
    cluster.open(id);
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_NE(cluster.leader(), 0);
}

TEST(Create, AnotherClustersRegionIsNoWitness) {
  Cluster cluster;
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_NE(cluster.leader(), 0);
  cluster.close(1);
  fs::remove_all(cluster.home(1));
  EngineOptions other = cluster.options(1);
  other.cluster[0] ^= 1;
  const auto created = Engine::create(other);
  EXPECT_TRUE(created) << created.error().message;
}

TEST(Create, WhatFailsHalfWayLeavesNothingAndMayBeRepeated) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small file system needs root";
  Shape shape;
  shape.logs = {"main", "audit"};
  shape.ring_bytes = 16 << 20;
  Cluster cluster(shape);
  const std::string home = cluster.home(1);
  fs::create_directories(home);
  if (mount("tmpfs", home.c_str(), "tmpfs", 0, "size=24m") != 0) {
    GTEST_SKIP() << "this system does not allow a mount";
  }
  const auto refused = Engine::create(cluster.options(1));
  EXPECT_EQ(code_of(refused), "no_space") << message_of(refused);
  EXPECT_FALSE(fs::exists(home + "/logs"));
  EXPECT_FALSE(fs::exists(home + "/creating"));
  EXPECT_EQ(mount("tmpfs", home.c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  const auto created = Engine::create(cluster.options(1));
  EXPECT_TRUE(created) << created.error().message;
  EXPECT_EQ(umount(home.c_str()), 0);
}

TEST(Create, WhatWasCutShortIsBegunAgain) {
  Shape shape;
  shape.logs = {"main", "audit"};
  Cluster cluster(shape);
  cluster.create_all();
  ASSERT_FALSE(HasFatalFailure());
  // As a process leaves it that is killed after the first of two regions.
  std::ofstream(cluster.home(1) + "/creating");
  fs::remove(cluster.home(1) + "/logs/audit/region");
  const auto created = Engine::create(cluster.options(1));
  EXPECT_TRUE(created) << created.error().message;
  EXPECT_FALSE(fs::exists(cluster.home(1) + "/creating"));
  EXPECT_EQ(code_of(Engine::create(cluster.options(1))), "exists");
  cluster.open(1);
}

}  // namespace
}  // namespace caisson::engine_test
