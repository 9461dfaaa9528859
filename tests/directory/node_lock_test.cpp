// SPDX-License-Identifier: BSD-3-Clause
// Who owns a data directory, and since when (P7).
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "core/engine/engine_directory.hpp"

namespace caisson::engine {
namespace {

class NodeLocks : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "caisson-lock-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // Another process, which has the lock when this returns, and then does `what`.
  pid_t owner(const std::function<void(NodeLock& lock, int descriptor)>& what) {
    std::array<int, 2> ready{};
    EXPECT_EQ(pipe(ready.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      const int descriptor = dup(0);
      ::close(descriptor);
      auto lock = NodeLock::take(directory_);
      if (!lock) _exit(1);
      (void)!write(ready[1], "x", 1);
      what(*lock, descriptor);
      _exit(0);
    }
    char word = 0;
    EXPECT_EQ(read(ready[0], &word, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
    return child;
  }
  std::string words() const {
    std::string line;
    std::getline(std::ifstream(directory_ + "/lock"), line);
    return line;
  }

  std::string directory_;
};

// The kernel lets go of a killed process's lock and of its RDMA connections in no order it
// promises.
TEST_F(NodeLocks, AnOwnerThatIsNotGoneIsWaitedFor) {
  std::array<int, 2> lost{};
  ASSERT_EQ(pipe(lost.data()), 0);
  const pid_t before = owner([&](NodeLock&, int descriptor) {
    ::close(descriptor);  // as if it were torn down
    (void)!write(lost[1], "x", 1);
    usleep(300'000);
  });
  char word = 0;
  ASSERT_EQ(read(lost[0], &word, 1), 1);
  EXPECT_FALSE(NodeLock::taken(directory_));
  const auto lock = NodeLock::take(directory_);
  ASSERT_TRUE(lock) << lock.error().message;
  ASSERT_EQ(kill(before, SIGKILL), 0);  // its shell is there until it is waited for
  int status = 0;
  ASSERT_EQ(waitpid(before, &status, 0), before);
  EXPECT_TRUE(WIFEXITED(status)) << "it ran while the directory had another owner";
  ::close(lost[0]);
  ::close(lost[1]);
}

TEST_F(NodeLocks, AnOwnerThatLetsGoIsNotWaitedFor) {
  const pid_t before = owner([](NodeLock& lock, int) {
    lock.release();
    pause();
  });
  while (NodeLock::taken(directory_)) usleep(1'000);
  EXPECT_TRUE(NodeLock::take(directory_));
  EXPECT_EQ(words(), "") << "it has been let go again";
  kill(before, SIGKILL);
  waitpid(before, nullptr, 0);
}

TEST_F(NodeLocks, AnOwnerIsNamed) {
  const pid_t owner = this->owner([](NodeLock&, int) { pause(); });
  const auto second = NodeLock::take(directory_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
  EXPECT_NE(second.error().message.find("process " + std::to_string(owner)), std::string::npos)
      << second.error().message;
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  EXPECT_TRUE(NodeLock::take(directory_)) << "it is dead";
}

// Those of a machine that was restarted, of another pid namespace, and what is no owner at all.
TEST_F(NodeLocks, WhatALockSaysOfOthersHoldsNobodyUp) {
  const auto mine = NodeLock::take(directory_);
  ASSERT_TRUE(mine);
  const std::string self = words();
  const size_t boot = self.rfind(' ') + 1;
  std::string other_boot = self, other_space = self;
  other_boot[boot] = other_boot[boot] == '0' ? '1' : '0';
  other_space.replace(self.rfind(' ', boot - 2) + 1, boot - self.rfind(' ', boot - 2) - 2, "1");
  const pid_t child = fork();
  if (child == 0) {
    for (const std::string& words :
         {other_boot, other_space, std::string("12 garbage"), std::string("7\n"), self + "00",
          std::string(200, '9'), self.substr(0, self.size() - 1) + "g"}) {
      std::filesystem::remove(directory_ + "/lock");
      std::ofstream(directory_ + "/lock") << words;
      alarm(5);
      if (!NodeLock::take(directory_)) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace caisson::engine
