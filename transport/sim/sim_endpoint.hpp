// SPDX-License-Identifier: BSD-3-Clause
// One process's view of a SimFabric.
#pragma once

#include "transport/fabric.hpp"
#include "transport/sim/sim_fabric.hpp"

namespace caisson::transport::sim {

class SimEndpoint : public Endpoint {
 public:
  SimEndpoint(SimFabric& fabric, ReplicaId self)
      : fabric_(fabric), self_(self), process_(fabric.node(self).process) {}

  Code revoke_all() override;
  Result<Grant> grant(ReplicaId writer, Term term) override;
  void publish(const TargetCell& cell) override;
  void publish_promise(Term promised, uint64_t birth) override;
  CommitCell commit_cell(ReplicaId writer) const override;

  Code attach(ReplicaId target, const Grant& grant, Offset from) override;
  void detach(ReplicaId target) override;
  void fan_out(ReplicaSet targets, Offset at, const void* source, size_t n) override;
  void fan_out_own(ReplicaSet targets, Offset at, size_t n) override;
  void write(ReplicaId target, Offset at, size_t n) override;
  void complete_through(ReplicaSet targets, bool own, Offset end) override;
  size_t poll(std::span<Completion> out) override;
  bool read(ReplicaId target, Offset at, void* destination, size_t n) override;
  TargetCell target_cell(ReplicaId target) const override;
  Standing standing_of(ReplicaId target) const override;
  void write_commit_cell(ReplicaSet targets, const CommitCell& cell) override;
  uint64_t window_bytes() const override { return 0; }
  std::byte* claim(Offset at, size_t n) override;
  void revoke_claims() override;

 private:
  SimFabric::Node& node() const { return fabric_.nodes_[self_.value]; }
  void post(ReplicaSet targets, Offset at, const std::byte* source, size_t n, bool in_own_ring);

  SimFabric& fabric_;
  const ReplicaId self_;
  const uint64_t process_;
};

class SimHeartbeats : public Heartbeats {
 public:
  SimHeartbeats(SimFabric& fabric, ReplicaId self) : fabric_(fabric), self_(self) {}
  void beat() override;
  Beat read(ReplicaId peer) const override;

 private:
  SimFabric& fabric_;
  const ReplicaId self_;
};

}  // namespace caisson::transport::sim
