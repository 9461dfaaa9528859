// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/failure_detector.hpp"

namespace caisson::control {

std::string_view name(Evidence evidence) {
  switch (evidence) {
    case Evidence::none: return "none";
    case Evidence::silence: return "silence";
    case Evidence::death_notice: return "death_notice";
    case Evidence::link_dropped: return "link_dropped";
  }
  return "unknown";
}

FailureDetector::FailureDetector(const FailureDetectorOptions& options,
                                 transport::Heartbeats& heartbeats, transport::ReplicaSet peers)
    : options_(options), heartbeats_(heartbeats), members_(peers) {}

uint32_t FailureDetector::poll(uint64_t now_ns) {
  heartbeats_.beat();
  const bool slept = polled_ns_ == 0 || now_ns - polled_ns_ > options_.suspect_after_ns / 2;
  polled_ns_ = now_ns;
  uint32_t changes = 0;
  for (uint64_t bits = members_.bits; bits != 0; bits &= bits - 1) {
    const ReplicaId id{static_cast<uint8_t>(__builtin_ctzll(bits))};
    Peer& peer = peers_[id.value];
    const transport::Beat beat = heartbeats_.read(id);
    if (slept) peer.heard_ns = now_ns;
    Evidence evidence = Evidence::none;
    if (beat.known && beat.counter != peer.counter && !beat.dead) {
      peer.counter = beat.counter;
      peer.heard_ns = now_ns;
    } else if (beat.dead) {
      evidence = Evidence::death_notice;
    } else {
      const uint64_t silence_ns = now_ns - peer.heard_ns;
      if (silence_ns >= options_.suspect_after_ns) {
        evidence = Evidence::silence;
      } else if (peer.link_down && silence_ns >= options_.link_hint_ns) {
        evidence = Evidence::link_dropped;
      }
    }
    const bool suspected = evidence != Evidence::none;
    if (suspected != peer.suspected) {
      peer.suspected = suspected;
      ++changes;
    }
    peer.evidence = evidence;  // silence may turn into proof
  }
  return changes;
}

void FailureDetector::on_link(ReplicaId peer, bool up) {
  if (peer.value <= kReplicaIdMax) peers_[peer.value].link_down = !up;
}

}  // namespace caisson::control
