// SPDX-License-Identifier: BSD-3-Clause
// The one failure-detection service of a process (R27): every consumer asks it, nobody keeps a
// private timeout. It reads heartbeats one-sidedly, takes hints (a dropped link, the kernel's death
// notice), and reports suspicion and recovery. A false suspicion costs availability, never safety
// (R21).
#pragma once

#include <array>
#include <cstdint>

#include "caisson/types.hpp"
#include "transport/fabric.hpp"

namespace caisson::control {

// What first made a peer suspect; the failover benchmark reports it.
enum class Evidence : uint8_t { none, silence, death_notice, link_dropped };
std::string_view name(Evidence evidence);

struct FailureDetectorOptions {
  uint64_t suspect_after_ns = 20'000'000;  // silence of a poller's counter
  uint64_t link_hint_ns = 2'000'000;       // silence that suffices once the peer's link has dropped
};

// Thread: one poller.
class FailureDetector {
 public:
  FailureDetector(const FailureDetectorOptions& options, transport::Heartbeats& heartbeats,
                  transport::ReplicaSet peers);

  // Advances our own counter and reads the peers'. Returns how many peers changed their state. The
  // first poll after a long absence of our own (a pause) grants every peer a fresh start: silence
  // that we slept through proves nothing.
  uint32_t poll(uint64_t now_ns);

  void on_link(ReplicaId peer, bool up);

  bool suspected(ReplicaId peer) const { return peers_[peer.value].suspected; }
  Evidence evidence(ReplicaId peer) const { return peers_[peer.value].evidence; }
  // When the peer's counter was last seen to move.
  uint64_t heard_ns(ReplicaId peer) const { return peers_[peer.value].heard_ns; }

 private:
  struct Peer {
    uint64_t counter = 0;
    uint64_t heard_ns = 0;
    bool suspected = false;
    bool link_down = false;
    Evidence evidence = Evidence::none;
  };

  FailureDetectorOptions options_;
  transport::Heartbeats& heartbeats_;
  transport::ReplicaSet members_;
  uint64_t polled_ns_ = 0;
  std::array<Peer, kReplicaIdMax + 1> peers_{};
};

}  // namespace caisson::control
