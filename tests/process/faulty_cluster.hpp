// SPDX-License-Identifier: BSD-3-Clause
// A cluster of caisson-faulty under load, and what can be done to it so that its points are passed.
#pragma once

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/points/board.hpp"
#include "tests/support/feeder.hpp"
#include "tests/support/program.hpp"

namespace caisson::test {

// As long as it lives, whoever is started finds the board, and is caisson-faulty.
class FaultyPrograms {
 public:
  explicit FaultyPrograms(const std::filesystem::path& board);
  ~FaultyPrograms();
  FaultyPrograms(const FaultyPrograms&) = delete;
  FaultyPrograms& operator=(const FaultyPrograms&) = delete;

 private:
  const std::string before_;
};

// Lets whoever has stopped itself go on, some time later: long enough to be suspected.
class Warden {
 public:
  explicit Warden(points::Board& board) : board_(board), thread_([this] { run(); }) {}
  ~Warden();
  Warden(const Warden&) = delete;
  Warden& operator=(const Warden&) = delete;

 private:
  void run();
  points::Board& board_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct Trial {
  points::Point point = 0;
  points::Action action = points::Action::kill;
  uint32_t nth = 1;
};

class FaultyCluster {
 public:
  FaultyCluster(points::Board& board, uint64_t seed);

  // Has faults strike, at different points of one script, whatever it takes, and everybody back in
  // service. False: one never struck.
  bool run(const std::vector<Trial>& trials);
  // Ends the load, and judges: every line acknowledged, and every replica holds each of them once.
  void finish();

 private:
  void play(points::Script script);
  void failover();
  void deposed();
  void rivals();
  void orphans();
  void restart();
  void transfer();
  void stream();
  void trim();
  void replace();
  void read();
  void backup();

  size_t struck() const;  // how many of the run's faults
  bool all_struck() const { return struck() == trials_.size(); }
  // One has struck since the script began: it has lost its point, until everybody is back.
  bool news() const { return struck() != struck_at_begin_; }
  bool tries(points::Point point) const;
  void heal();
  void admit(int replica);
  bool signal(int replica, const std::string& name);
  Outcome start() const;
  int a_follower();
  uint64_t committed() const;
  // Each application has applied each line once.
  void compare_states() const;
  // By caisson-check, of all that was appended, read, and is left.
  void judge_history() const;
  // All that is committed through `last`, and was not read before, is the same lines everywhere.
  void read_through(uint64_t last);

  points::Board& board_;
  std::mt19937_64 random_;
  const Replicas replicas_;
  Warden warden_;
  Feeder feeder_;
  const std::string appends_, reads_;  // histories
  Background append_;
  std::vector<Trial> trials_;
  std::vector<uint32_t> struck_before_;  // at the points of these
  size_t struck_at_begin_ = 0;
  uint32_t runs_ = 0;
  uint64_t read_through_ = 0;  // position
  size_t read_bytes_ = 0;      // of the lines
  int backups_ = 0;
  int lost_ = 0;  // the replica whose memory is gone, and that is not admitted again
};

}  // namespace caisson::test
