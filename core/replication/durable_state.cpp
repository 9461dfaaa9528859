// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/durable_state.hpp"

#include <algorithm>

namespace caisson::replication {

Code DurableState::write(pmem::Region::Slots slots) {
  const log::SuperblockBytes bytes = log::encode(superblock_);
  return region_.write_superblock(bytes, slots);
}

Code DurableState::begin_incarnation() {
  ++superblock_.incarnation.value;
  return write(pmem::Region::Slots::both);
}

Code DurableState::promise(Term term, uint64_t nonce) {
  superblock_.promised = term;
  superblock_.promise_nonce = nonce;
  return write(pmem::Region::Slots::both);
}

void DurableState::take(const Progress& progress) {
  superblock_.validated = progress.validated;
  superblock_.committed = std::min(progress.committed, progress.validated.position);
  superblock_.applied = std::min(progress.applied, superblock_.committed);
}

Code DurableState::save_progress(const Progress& progress) {
  const Offset from = std::min(superblock_.validated.end, progress.validated.end);
  region_.persist_ring(from, progress.validated.end - from);
  take(progress);
  return write(pmem::Region::Slots::one);
}

Code DurableState::save_trim(const log::Cursor& to, const Progress& progress) {
  const Offset from = std::min(superblock_.validated.end, progress.validated.end);
  region_.persist_ring(from, progress.validated.end - from);
  take(progress);
  superblock_.trim = to;
  return write(pmem::Region::Slots::one);
}

Code DurableState::save_divergence(const log::Cursor& keep, uint64_t salvage_bytes) {
  if (superblock_.validated.position > keep.position) superblock_.validated = keep;
  superblock_.salvage_bytes = salvage_bytes;
  return write(pmem::Region::Slots::one);
}

Code DurableState::save_damage(Position through) {
  superblock_.damaged_through = through;
  return write(pmem::Region::Slots::both);
}

}  // namespace caisson::replication
