// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/durable_state.hpp"

#include <algorithm>

namespace caisson::replication {

// In memory only once it is on the media: what is answered and published is read from there. In
// both slots whatever it is: a replica that has lost the newer one must not take rot below a cursor
// that stood there for the end of its log (P16), nor forget what it has put aside (P15).
Code DurableState::write(const log::Superblock& next) {
  const log::SuperblockBytes bytes = log::encode(next);
  const Code code = region_.write_superblock(bytes, pmem::Region::Slots::both);
  if (code == Code::ok) superblock_ = next;
  return code;
}

Code DurableState::begin_incarnation() {
  log::Superblock next = superblock_;
  ++next.incarnation.value;
  return write(next);
}

Code DurableState::promise(Term term, uint64_t nonce) {
  log::Superblock next = superblock_;
  next.promised = term;
  next.promise_nonce = nonce;
  return write(next);
}

log::Superblock DurableState::with(const Progress& progress) const {
  log::Superblock next = superblock_;
  // What was good once stays evidence (P16): a leader may hold more than it knows to be committed.
  // Only what is cut off lowers it.
  if (progress.validated.position > next.validated.position) next.validated = progress.validated;
  next.committed = std::min(progress.committed, progress.validated.position);
  next.applied = std::min(progress.applied, next.committed);
  return next;
}

// Of what is still held: a cursor may be left behind by the trim point.
void DurableState::persist_through(Offset end) {
  const Offset from = std::max(superblock_.trim.end, std::min(superblock_.validated.end, end));
  if (end > from) region_.persist_ring(from, end - from);
}

Code DurableState::save_progress(const Progress& progress) {
  persist_through(progress.validated.end);
  return write(with(progress));
}

Code DurableState::save_trim(const log::Cursor& to, const log::ViewRun& view,
                             const Progress& progress) {
  persist_through(progress.validated.end);
  log::Superblock next = with(progress);
  next.trim = to;
  next.membership = view.membership;
  next.view_position = view.first;
  return write(next);
}

Code DurableState::save_base(const log::Cursor& base, const log::ViewRun& view,
                             uint64_t salvage_bytes) {
  log::Superblock next = superblock_;
  next.trim = next.validated = base;
  next.committed = next.applied = base.position;
  next.membership = view.membership;
  next.view_position = view.first;
  next.salvage_bytes = salvage_bytes;
  next.damaged_through = Position{0};
  return write(next);
}

Code DurableState::save_divergence(const log::Cursor& keep, uint64_t salvage_bytes) {
  log::Superblock next = superblock_;
  if (next.validated.position > keep.position) next.validated = keep;
  next.salvage_bytes = salvage_bytes;
  return write(next);
}

Code DurableState::save_grant(Term term, Position behind) {
  log::Superblock next = superblock_;
  next.granted = {term, behind};
  return write(next);
}

Code DurableState::save_damage(Position through) {
  log::Superblock next = superblock_;
  next.damaged_through = through;
  return write(next);
}

}  // namespace caisson::replication
