// SPDX-License-Identifier: BSD-3-Clause
// What linearizable reads ask of a leader (R31).
#include "core/replication/leader.hpp"
#include "core/replication/proof.hpp"

namespace caisson::replication {

ReadPoint Leader::prove() const {
  // P19: before its term start is committed a leader does not know what its predecessors have
  // acknowledged.
  if (!serving()) return {0, Code::not_leader, {}};
  const Proof proof = prove_leading(c_, term_);
  return {0, proof.code, proof.position};
}

Code Leader::append_noop() {
  if (!serving()) return Code::not_leader;
  // As an append: what is kept free is not for reads.
  if (heir_.value != 0 || !room_for(c_.state.tail().end + log::entry_bytes(0), headroom_bytes_)) {
    return Code::again;
  }
  return append_own(log::Kind::noop, std::span<const std::byte>{});
}

}  // namespace caisson::replication
