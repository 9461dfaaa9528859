// SPDX-License-Identifier: BSD-3-Clause
// Where a benchmark of appends plays: a fresh cluster whose replica 1 is this process, driven
// inline by the calling thread and leading, and whose other replicas are node processes of their
// own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "caisson/caisson.hpp"
#include "tools/cluster.hpp"

namespace caisson::bench {

struct StageOptions {
  std::filesystem::path directory;  // made, and removed at the end; must not exist
  uint32_t replicas = 3;
  uint32_t spares = 0;  // started, and members of nothing
  uint64_t ring_bytes = 64ull << 20;
  uint64_t suspect_after_us = 2'000'000;  // floor slices and the scheduler must not cost the term
};

class Stage {
 public:
  static Result<std::unique_ptr<Stage>> open(const StageOptions& options);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  Engine& engine() { return *engine_; }
  Log& log() { return *log_; }
  const tools::Cluster& cluster() const { return cluster_; }
  const std::vector<tools::ProcessId>& followers() const { return followers_; }
  int leader_core() const { return leader_core_; }
  const std::vector<int>& follower_cores() const { return follower_cores_; }

  void signal_followers(int signal);
  double follower_cpu_seconds() const;
  // Destroys a spare's memory and starts it again, empty. Turns the engine meanwhile.
  Result<void> renew(ReplicaId spare);
  // The lowest delivered mark of all followers, as they say themselves.
  Result<Position> delivered_by_all_followers();
  // Turns the engine until every follower has delivered `position`, or the time is up.
  Result<Position> await_delivery(Position position, uint64_t timeout_ms);

 private:
  explicit Stage(const StageOptions& options) : options_(options) {}
  Result<void> build();
  Result<void> start_follower(ReplicaId id, bool empty = false);
  Result<void> lead();
  bool settles(Term term);
  Result<void> depose(ReplicaId leader);
  Result<void> turn_while(const std::function<Result<void>()>& work);

  StageOptions options_;
  tools::Cluster cluster_;
  std::vector<tools::ProcessId> followers_;
  std::unique_ptr<Engine> engine_;
  Log* log_ = nullptr;
  int leader_core_ = -1;
  std::vector<int> follower_cores_;
};

// Runs the calling thread on these cores only.
bool pin_this_thread(const std::vector<int>& cores);
std::vector<int> usable_cores();

}  // namespace caisson::bench
