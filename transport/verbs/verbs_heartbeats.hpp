// SPDX-License-Identifier: BSD-3-Clause
// Heartbeats of nodes that an RDMA network joins (R27): a counter that the poller itself advances,
// fetched by the peers without its help, over a connection of its own for each pair of nodes. What
// stops the counter stops the heartbeat, and so does what stops the adapter or the network: a peer
// that cannot be read is silent. Of a death there is no word here; a dropped control link is the
// hint that shortens the wait.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "transport/fabric.hpp"
#include "transport/verbs/device.hpp"
#include "transport/verbs/reading.hpp"

namespace caisson::transport::verbs {

struct VerbsHeartbeatOptions {
  ReplicaId self;
  ReplicaSet peers;
  std::shared_ptr<Device> device;
  uint64_t pause_ns = 500'000;  // from one look at a peer to the next, at least
  Patience patience;
};

class VerbsHeartbeats final : public Heartbeats {
 public:
  // no_space: the adapter has no room, or memory cannot be pinned.
  static Result<std::unique_ptr<VerbsHeartbeats>> open(const VerbsHeartbeatOptions& options);
  ~VerbsHeartbeats() override;

  // Thread: any; never waits for another one's look.
  Beat read(ReplicaId peer) const override;
  // Thread: the first poller's.
  void beat() override;
  std::vector<std::byte> introduction(ReplicaId peer, uint64_t now_ns) override;
  Code meet(ReplicaId peer, std::span<const std::byte> introduction) override;

 private:
  struct Own;
  struct Peer;
  explicit VerbsHeartbeats(const VerbsHeartbeatOptions& options);
  Result<void> open_all();
  Result<void> open_peer(Peer& peer);
  [[nodiscard]] Code connect(Peer& peer);
  void reap() const;
  void look_at(Peer& peer) const;

  const VerbsHeartbeatOptions options_;
  const uint64_t life_;
  std::unique_ptr<Own> own_;  // fetched by the peers
  uint64_t counter_ = 0;      // the poller's
  mutable std::mutex mutex_;  // guards everything of a peer but what is atomic in it
  Owned<ibv_cq> fetched_;
  std::array<std::unique_ptr<Peer>, kReplicaIdMax + 1> peers_;
};

}  // namespace caisson::transport::verbs
