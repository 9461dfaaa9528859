// SPDX-License-Identifier: BSD-3-Clause
// Who owns a data directory, and since when (P7).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/engine/engine_directory.hpp"

namespace caisson::engine {
namespace {

using std::chrono::milliseconds;

class NodeLocks : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "caisson-lock-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    std::filesystem::remove_all(directory_);
  }

  // Another process, which takes the lock, does `what`, is then known to have done so, and lives on
  // for so long.
  pid_t owner(const std::function<void(NodeLock& lock)>& what, unsigned seconds = 60) {
    std::array<int, 2> ready{};
    EXPECT_EQ(pipe(ready.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      auto lock = NodeLock::take(directory_);
      if (!lock) _exit(1);
      what(*lock);
      (void)!write(ready[1], "x", 1);
      alarm(2 * seconds);
      usleep(seconds * 500'000);
      _exit(0);
    }
    children_.push_back(child);
    ::close(ready[1]);
    char word = 0;
    EXPECT_EQ(read(ready[0], &word, 1), 1) << "it has not got the lock";
    ::close(ready[0]);
    return child;
  }
  std::string words() const {
    std::string line;
    std::ifstream in(directory_ + "/lock");
    std::getline(in, line);
    return line;
  }
  void expect_in_use_by(pid_t owner) {
    const auto refused = NodeLock::take(directory_, milliseconds(1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::busy);
    EXPECT_NE(refused.error().message.find("process " + std::to_string(owner)), std::string::npos)
        << refused.error().message;
  }

  std::string directory_;
  std::vector<pid_t> children_;
};

// The kernel lets go of a killed process's lock and of its RDMA connections in no order it
// promises.
TEST_F(NodeLocks, AnOwnerThatIsNotGoneIsWaitedFor) {
  const pid_t before = owner([](NodeLock& lock) { lock.abandon(); }, 1);
  EXPECT_FALSE(NodeLock::taken(directory_));
  const auto lock = NodeLock::take(directory_);
  ASSERT_TRUE(lock) << lock.error().message;
  ASSERT_EQ(kill(before, SIGKILL), 0);  // its shell is there until it is waited for
  int status = 0;
  ASSERT_EQ(waitpid(before, &status, 0), before);
  children_.clear();
  EXPECT_TRUE(WIFEXITED(status)) << "it ran while the directory had another owner";
}

TEST_F(NodeLocks, AnOwnerThatDoesNotGoIsNotWaitedForForEver) {
  const pid_t before = owner([](NodeLock& lock) { lock.abandon(); });
  expect_in_use_by(before);
  expect_in_use_by(before);
  EXPECT_FALSE(NodeLock::taken(directory_));
}

TEST_F(NodeLocks, AnOwnerThatLetsGoIsNotWaitedFor) {
  owner([](NodeLock& lock) { lock.release(); });
  EXPECT_TRUE(NodeLock::take(directory_, milliseconds(1)));
  EXPECT_EQ(words(), "") << "it has been let go again";
}

TEST_F(NodeLocks, AnOwnerIsNamedHoweverOftenItIsAskedFor) {
  const pid_t owner = this->owner([](NodeLock&) {});
  const std::string said = words();
  expect_in_use_by(owner);
  expect_in_use_by(owner);
  EXPECT_EQ(words(), said) << "who is refused leaves it as it is";
  kill(owner, SIGKILL);
  while (NodeLock::taken(directory_)) usleep(1'000);
  EXPECT_TRUE(NodeLock::take(directory_)) << "it is dead, though nobody has waited for it";
}

// The machine was restarted, another pid namespace, a number alone, and what is no owner at all.
TEST_F(NodeLocks, WhatALockSaysOfOthersHoldsNobodyUp) {
  owner([](NodeLock& lock) { lock.abandon(); });
  const std::string said = words();
  const size_t boot = said.rfind(' ') + 1, space = said.rfind(' ', boot - 2) + 1;
  std::string other_boot = said, other_space = said;
  other_boot[boot] = other_boot[boot] == '0' ? '1' : '0';
  other_space.replace(space, boot - space - 1, "1");
  for (const std::string& words :
       {other_boot, other_space, said.substr(0, said.find(' ')), std::string("12 garbage"),
        said + "00", std::string(200, '9'), said.substr(0, said.size() - 1) + "g"}) {
    std::ofstream(directory_ + "/lock") << words;
    EXPECT_TRUE(NodeLock::take(directory_, milliseconds(1))) << words;
  }
  std::ofstream(directory_ + "/lock") << said;
  EXPECT_FALSE(NodeLock::take(directory_, milliseconds(1))) << "this one does";
}

}  // namespace
}  // namespace caisson::engine
