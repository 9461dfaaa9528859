// SPDX-License-Identifier: BSD-3-Clause
// How a leader trims (R8), and carries the stream table over what is trimmed (R30).
#include <algorithm>

#include "core/replication/leader.hpp"

namespace caisson::replication {

// Who still needs entries at or below p; 0: nobody.
ReplicaId Leader::holder_of(Position p) const {
  ReplicaId holding;
  if (p > books_.trimmable()) holding = c_.options.self;
  const ReplicaSet joining = c_.membership().joining;
  // What a standby still lacks, or has not applied, it would lack when it takes over.
  for_each((c_.state.voices() | joining | c_.membership().standbys) - just(c_.options.self),
           [&](ReplicaId id) {
             const Peer& peer = peers_[id.value];
             // Who is still to join holds the log only while it is being caught up, or is about to
             // be.
             if (joining.has(id) && peer.phase != Phase::attached) {
               if (tend_ns_ < peer.based_until_ns) holding = id;
               return;
             }
             const transport::TargetCell cell = c_.endpoint.target_cell(id);
             const bool known = peer.phase == Phase::attached && cell.term == term_ &&
                                cell.incarnation == peer.incarnation;
             if (!known || cell.applied < p) holding = id;
           });
  return holding;
}

// too_large: the stream table is full, and nobody in it can be forgotten.
Code Leader::write_checkpoint() {
  const log::StreamTable& streams = c_.state.streams();
  const size_t part_bytes = std::min<size_t>(kCheckpointPartBytes, c_.options.entry_bytes_max);
  const size_t left_out =
      streams.carry(c_.state.committed(), part_bytes, checkpoint_bytes_max() / 2, checkpoint_);
  if (streams.full() && left_out == 0) return Code::too_large;
  return append_own(log::Kind::checkpoint, checkpoint_.payloads());
}

Code Leader::trim(Position p, ReplicaId* holder) {
  if (!serving()) return Code::not_leader;
  if (p <= c_.state.trimmed()) return Code::ok;
  if (p > c_.state.committed()) return Code::not_yet;
  if (p > books_.trimmable()) {
    if (const Code code = books_.save_progress(); code != Code::ok) return code;
  }
  const ReplicaId holding = holder_of(p);
  trim_holder_ = holding;
  if (holding.value != 0) {
    if (holder != nullptr) *holder = holding;
    return Code::held;
  }
  if (p >= c_.state.checkpoint() && !c_.state.streams().empty()) {
    if (c_.state.checkpoint_pending() || trim_wish_.value != 0) return Code::again;
    const Code code = write_checkpoint();
    if (code == Code::ok) trim_wish_ = p;
    // No room for one: an earlier leader's, which trimmed further than we had when we took over,
    // allows some of it.
    const Position allowed = c_.state.checkpoint();
    if (code == Code::again && allowed > c_.state.trimmed() + 1) {
      (void)trim_through(Position{allowed.value - 1});
    }
    if (code != Code::ok) return code;
    return Code::again;
  }
  return trim_through(p);
}

Code Leader::trim_through(Position p) {
  if (const Code code = books_.trim(p); code != Code::ok) return code;
  trim_to_ = std::max(trim_to_, p);
  return Code::ok;
}

uint32_t Leader::trim_as_wished() {
  if (c_.state.checkpoint() <= trim_wish_) return 0;
  const Position wish = trim_wish_;
  trim_wish_ = Position{0};
  (void)trim(wish, nullptr);  // a reader may have come meanwhile: whoever asks again is told
  return 1;
}

}  // namespace caisson::replication
