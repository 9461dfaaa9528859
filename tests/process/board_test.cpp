// SPDX-License-Identifier: BSD-3-Clause
// The board of the fault points counts what it should, whatever becomes of who passes.
#include "tests/points/board.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/program.hpp"

namespace caisson::points {
namespace {

constexpr Point kHere = at("append.data");
constexpr Point kThere = at("endpoint.revoke");

class BoardOfProcesses : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(board, nullptr); }

  // What became of a process that passes `point` so many times, as waitpid says it.
  int child(Point point, int times, int options = 0) {
    pid = fork();
    if (pid == 0) {
      Board* const own = Board::open(path);
      int failed = 0;
      for (int i = 0; i < times; ++i) failed += own->pass(point) ? 1 : 0;
      _exit(failed);
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, options), pid);
    return status;
  }

  test::Scratch scratch;
  const std::string path = (scratch.path() / "board").string();
  Board* const board = Board::open(path);
  pid_t pid = 0;
};

TEST_F(BoardOfProcesses, CountsThePassingsOfWhoeverDied) {
  board->order(kHere, Action::kill, 3);
  const int status = child(kHere, 10);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_EQ(board->cell(kHere).passings, 3u);
  EXPECT_EQ(board->cell(kHere).struck[static_cast<size_t>(Action::kill)], 1u);
  EXPECT_FALSE(board->waits(kHere));
}

TEST_F(BoardOfProcesses, StrikesOnceAndThereOnly) {
  board->order(kHere, Action::fail, 2);
  EXPECT_EQ(WEXITSTATUS(child(kThere, 5)), 0);
  EXPECT_EQ(WEXITSTATUS(child(kHere, 1)), 0);
  EXPECT_EQ(WEXITSTATUS(child(kHere, 5)), 1);  // its first: the second of all
  EXPECT_EQ(board->cell(kHere).passings, 6u);
  EXPECT_EQ(board->cell(kThere).struck[static_cast<size_t>(Action::fail)], 0u);
}

TEST_F(BoardOfProcesses, SaysWhoHasStoppedItself) {
  board->order(kHere, Action::pause, 1);
  ASSERT_TRUE(WIFSTOPPED(child(kHere, 2, WUNTRACED)));
  EXPECT_EQ(board->cell(kHere).stopped, pid);
  EXPECT_EQ(board->cell(kHere).passings, 1u);
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(board->cell(kHere).passings, 2u);
}

TEST_F(BoardOfProcesses, NamesWhatWasNeverPassedOrNeverStruck) {
  for (Point point = 0; point < kPointCount; ++point) {
    (void)board->pass(point);
    ++board->cell(point).struck[0];
  }
  EXPECT_EQ(board->missing(), std::vector<Point>());
  board->cell(kHere).struck[0] = 0;
  board->cell(kThere).passings = 0;
  EXPECT_EQ(board->missing(), (std::vector<Point>{kHere, kThere}));
}

}  // namespace
}  // namespace caisson::points
