// SPDX-License-Identifier: BSD-3-Clause
#include "tests/points/board.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace caisson::points {

Board* Board::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return nullptr;
  void* got = MAP_FAILED;
  if (::ftruncate(fd, sizeof(Board)) == 0) {
    got = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  ::close(fd);
  return got == MAP_FAILED ? nullptr : static_cast<Board*>(got);
}

std::vector<Point> Board::missing() const {
  std::vector<Point> missing;
  for (Point point = 0; point < kPointCount; ++point) {
    const Cell& cell = cells_[point];
    if (cell.passings.load() == 0 || cell.strikes() == 0) missing.push_back(point);
  }
  return missing;
}

bool Board::pass_ordered(Cell& cell) {
  uint64_t order = cell.order.load();
  bool strikes = false;
  do {
    if (order == 0) return false;
    strikes = static_cast<uint32_t>(order) <= 1;
  } while (!cell.order.compare_exchange_weak(order, strikes ? 0 : order - 1));
  if (!strikes) return false;
  const auto action = static_cast<Action>(order >> 32);
  cell.struck[static_cast<size_t>(action)].fetch_add(1);
  // To this very thread: it does not come back from here before the signal has been taken.
  if (action == Action::kill) ::raise(SIGKILL);
  if (action == Action::pause) {
    cell.stopped.store(::getpid());
    ::raise(SIGSTOP);
  }
  return action == Action::fail;
}

Board& board() {
  static Board alone{};
  static Board* const shared = [] {
    const char* const path = std::getenv(kBoardVariable);
    Board* const opened = path != nullptr ? Board::open(path) : &alone;
    if (opened == nullptr) std::abort();  // what is not counted proves nothing
    return opened;
  }();
  return *shared;
}

}  // namespace caisson::points
