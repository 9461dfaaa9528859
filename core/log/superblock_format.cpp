// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/superblock_format.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace caisson::log {

namespace {

struct CursorLayout {
  uint64_t position;
  uint64_t end;
  uint64_t term;
  uint32_t chain;
  uint32_t reserved;
};
static_assert(sizeof(CursorLayout) == 32);

struct Layout {
  uint32_t magic;
  uint16_t version;
  uint8_t replica;
  uint8_t commit_quorum;
  uint8_t cluster[16];
  uint64_t log;
  uint64_t ring_bytes;
  uint64_t incarnation;
  uint64_t promised;
  uint64_t promise_nonce;
  uint64_t view;
  uint64_t view_position;
  uint64_t voters;
  CursorLayout trim;
  CursorLayout validated;
  uint64_t committed;
  uint64_t applied;
  uint64_t damaged_through;
  uint64_t salvage_bytes;
  // Zero in version 1, which ends in front of `births`.
  uint64_t birth;
  uint64_t outgoing;
  uint64_t learners;
  uint64_t joining;
  uint64_t leaving;
  uint64_t recovered_view;
  uint64_t loss_from;
  uint64_t recovered_position;
  uint64_t standbys;
  uint64_t births[kReplicaIdMax + 1];
  // Not written by the first programs of version 2.
  StandbyBounds standby_bounds;
  uint64_t granted_term;
  uint64_t granted_behind;
};
static_assert(sizeof(Layout) == kSuperblockBytes);
static_assert(offsetof(Layout, birth) == 184);
static_assert(offsetof(Layout, births) == kSuperblockBytesV1);
static_assert(offsetof(Layout, standby_bounds) == kSuperblockBytesV2);
static_assert(offsetof(Layout, trim) == 88);
static_assert(offsetof(Layout, committed) == 152);

CursorLayout pack(const Cursor& c) {
  return {c.position.value, c.end.value, c.term.value, c.chain, 0};
}
Cursor unpack(const CursorLayout& c) {
  return {Position{c.position}, Offset{c.end}, Term{c.term}, c.chain};
}

}  // namespace

SuperblockBytes encode(const Superblock& s) {
  Layout layout{};
  layout.magic = kSuperblockMagic;
  layout.version = kSuperblockVersion;
  layout.replica = s.replica.value;
  std::memcpy(layout.cluster, s.identity.cluster.data(), sizeof layout.cluster);
  layout.log = s.identity.log;
  layout.ring_bytes = s.ring_bytes;
  layout.incarnation = s.incarnation.value;
  layout.promised = s.promised.value;
  layout.promise_nonce = s.promise_nonce;
  layout.view = s.membership.view.value;
  layout.view_position = s.view_position.value;
  layout.voters = s.membership.voters.bits;
  layout.commit_quorum = s.membership.quorum.commit;
  layout.outgoing = s.membership.outgoing.bits;
  layout.learners = s.membership.learners.bits;
  layout.joining = s.membership.joining.bits;
  layout.leaving = s.membership.leaving.bits;
  layout.standbys = s.membership.standbys.bits;
  layout.standby_bounds = s.membership.standby_bounds;
  std::memcpy(layout.births, s.membership.births.data(), sizeof layout.births);
  layout.birth = s.birth;
  layout.trim = pack(s.trim);
  layout.validated = pack(s.validated);
  layout.committed = s.committed.value;
  layout.applied = s.applied.value;
  layout.damaged_through = s.damaged_through.value;
  layout.salvage_bytes = s.salvage_bytes;
  layout.recovered_view = s.recovered.view.value;
  layout.loss_from = s.recovered.loss_from.value;
  layout.recovered_position = s.recovered.position.value;
  layout.granted_term = s.granted.term.value;
  layout.granted_behind = s.granted.behind.value;
  SuperblockBytes bytes;
  std::memcpy(bytes.data(), &layout, sizeof layout);
  return bytes;
}

Result<Superblock> decode_superblock(std::span<const std::byte> bytes) {
  if (bytes.size() < kSuperblockBytesV1) return fail(Code::invalid, "superblock: too short");
  Layout layout{};
  std::memcpy(&layout, bytes.data(), std::min(bytes.size(), sizeof layout));
  if (layout.magic != kSuperblockMagic) return fail(Code::invalid, "superblock: not a log's");
  if (layout.version > kSuperblockVersion) {
    return fail(Code::wrong_version, "superblock: log format " + std::to_string(layout.version) +
                                         ", this program knows up to " +
                                         std::to_string(kSuperblockVersion) +
                                         "; use a newer caisson");
  }
  if (layout.version >= 2 && bytes.size() < kSuperblockBytesV2) {
    return fail(Code::invalid, "superblock: too short");
  }
  Superblock s;
  s.replica = ReplicaId{layout.replica};
  std::memcpy(s.identity.cluster.data(), layout.cluster, sizeof layout.cluster);
  s.identity.log = layout.log;
  s.ring_bytes = layout.ring_bytes;
  s.incarnation = Incarnation{layout.incarnation};
  s.promised = Term{layout.promised};
  s.promise_nonce = layout.promise_nonce;
  s.membership.view = View{layout.view};
  s.view_position = Position{layout.view_position};
  s.membership.voters = {layout.voters};
  s.membership.quorum.commit = layout.commit_quorum;
  if (layout.version >= 2) {
    s.membership.outgoing = {layout.outgoing};
    s.membership.learners = {layout.learners};
    s.membership.joining = {layout.joining};
    s.membership.leaving = {layout.leaving};
    s.membership.standbys = {layout.standbys};
    s.membership.standby_bounds = layout.standby_bounds;
    std::memcpy(s.membership.births.data(), layout.births, sizeof layout.births);
    s.birth = layout.birth;
    s.recovered = {View{layout.recovered_view}, Position{layout.loss_from},
                   Position{layout.recovered_position}};
    s.granted = {Term{layout.granted_term}, Position{layout.granted_behind}};
  }
  s.trim = unpack(layout.trim);
  s.validated = unpack(layout.validated);
  s.committed = Position{layout.committed};
  s.applied = Position{layout.applied};
  s.damaged_through = Position{layout.damaged_through};
  s.salvage_bytes = layout.salvage_bytes;
  const bool sound =
      layout.version >= 1 && std::has_single_bit(s.ring_bytes) && layout.replica >= 1 &&
      layout.replica <= kReplicaIdMax &&
      // Whoever has not been admitted yet knows of no view.
      (s.membership == Membership{} || consistent(s.membership)) &&
      s.trim.position <= s.validated.position && s.trim.end <= s.validated.end &&
      s.validated.end - s.trim.end <= s.ring_bytes && s.trim.end.value % kEntryAlignBytes == 0 &&
      s.validated.end.value % kEntryAlignBytes == 0 && s.committed <= s.validated.position &&
      s.applied <= s.committed && s.trim.position <= s.applied;
  if (!sound) return fail(Code::invalid, "superblock: fields contradict each other");
  return s;
}

}  // namespace caisson::log
