// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/recovery.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "core/log/log_state.hpp"
#include "core/log/view_entry.hpp"
#include "core/replication/context.hpp"
#include "core/replication/salvage.hpp"

namespace caisson::replication {

namespace {

// What a stopped replica holds, up to its last batch end.
struct Held {
  log::Superblock superblock;
  log::Cursor tail;
  Position committed;  // as it knows
  log::ViewRun view;
  log::Cursor chained;  // behind the last entry, batch end or not
  // Before this replica first went on alone: the view then, and where the log ended.
  log::Membership before;
  log::Cursor before_end;
  Position evidence;  // it was good, or committed, through here once
  Position beyond;    // entries behind a hole say that so much is committed somewhere; 0: nothing
};

bool by_decree(const log::Membership& view, ReplicaId self) {
  return view.voters == just(self) && view.view.value != 0 && view.view.value % kRecoveryViews == 0;
}

Result<Held> look_through(const pmem::Region& region) {
  const auto bytes = region.read_superblock();
  if (!bytes) return tl::unexpected(bytes.error());
  auto superblock = log::decode_superblock(*bytes);
  if (!superblock) return tl::unexpected(superblock.error());
  Held held;
  held.superblock = *superblock;
  held.tail = held.chained = superblock->trim;
  held.committed = std::max(superblock->committed, superblock->trim.position);
  held.view = {superblock->view_position, superblock->membership};
  held.before = superblock->membership;
  bool decreed = by_decree(superblock->membership, superblock->replica);
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  const Offset window_end = superblock->trim.end + ring.bytes();
  log::Cursor cursor = held.tail;
  for (;;) {
    const log::Step next = log::step(ring, cursor, window_end);
    if (next.reason != log::Break::none) break;
    if (static_cast<log::Kind>(next.header.kind) == log::Kind::view) {
      const auto view = log::decode_view(log::payload(ring, cursor.end, next.header));
      held.view = {Position{next.header.position}, view.value_or(log::Membership{})};
      const bool decree = by_decree(held.view.membership, superblock->replica);
      if (decree && !decreed) held.before_end = cursor;
      if (!decree) held.before = held.view.membership;
      decreed = decree;
    }
    held.committed = std::max(held.committed, log::commit_hint(next.header));
    cursor = held.chained = next.next;
    if ((next.header.flags & log::kFlagBatchEnd) != 0) held.tail = cursor;
  }
  // Zeros that stand in for a page look like the end of the log (R44).
  if (region.poisoned() || superblock->damaged_through == log::kDamagedForGood) {
    return fail(Code::damaged,
                "a page of the memory is gone, and what it held is not known: this replica is "
                "poisoned. Recover another survivor");
  }
  held.evidence =
      std::max({superblock->damaged_through, superblock->validated.position, held.committed});
  held.beyond = log::committed_beyond(ring, held.tail, window_end);
  if (!decreed) held.before_end = held.tail;
  return held;
}

Result<void> expect_sound(const Held& held, Position evidence) {
  if (evidence <= held.tail.position) return {};
  return fail(Code::damaged, "what is held ends at position " +
                                 std::to_string(held.tail.position.value) +
                                 ", and was good up to " + std::to_string(evidence.value) +
                                 ": this replica is damaged. Recover another survivor");
}

Result<void> expect_own(const Held& held, const LogIdentity& identity, ReplicaId self) {
  if (held.superblock.identity == identity && held.superblock.replica == self) return {};
  return fail(Code::wrong_cluster, "the region is another replica's, or another log's");
}

// The last batch end at or below `through`; held.tail if it ends before.
log::Cursor batch_end_at(const log::Ring& ring, const Held& held, Position through) {
  log::Cursor keep = held.superblock.trim;
  log::Cursor cursor = keep;
  while (cursor.position < std::min(through, held.tail.position)) {
    const log::Step step = log::step(ring, cursor, held.tail.end);
    if (step.reason != log::Break::none) break;
    cursor = step.next;
    if ((step.header.flags & log::kFlagBatchEnd) != 0) keep = cursor;
  }
  return keep;
}

}  // namespace

Result<log::ViewRun> last_view(const pmem::Region& region) {
  auto held = look_through(region);
  if (!held) return tl::unexpected(std::move(held.error()));
  return held->view;
}

namespace {

// No header is left behind `keep`: none that continues the chain, and none that says what was
// committed.
void blank(pmem::Region& region, const log::Cursor& keep, Offset window_end) {
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  constexpr std::array<std::byte, log::kHeaderBytes> kBlank{};
  for (Offset at = keep.end; at + log::kHeaderBytes <= window_end;
       at = at + log::kEntryAlignBytes) {
    const log::EntryHeader header = log::load_header(ring.at(at));
    if (header.position <= keep.position.value || header.offset_line != log::offset_line(at) ||
        !log::header_sound(header)) {
      continue;
    }
    region.store_ring(at, kBlank.data(), kBlank.size());
    region.persist_ring(at, kBlank.size());
  }
}

// Has the log go on behind held.tail, by a view in which `self` votes alone.
Result<log::Recovered> go_on_alone(pmem::Region& region, const Held& held, uint64_t birth,
                                   uint64_t nonce) {
  log::Superblock next = held.superblock;
  const ReplicaId self = next.replica;
  const log::Membership& last = held.view.membership;
  log::Membership alone;
  alone.view = decreed_after(last.view);
  alone.voters = just(self);
  alone.quorum = last.quorum;
  alone.births[self.value] = birth;
  const Term term = term_above(std::max(next.promised, held.tail.term), self);
  auto [entry, behind] = log::view_entry(held.tail, alone, term);
  // With a blank line behind it, so that nothing old continues the chain there.
  entry.resize(entry.size() + log::kHeaderBytes);
  if (behind.end + log::kHeaderBytes > next.trim.end + region.geometry().ring_bytes) {
    return fail(Code::no_space, "the ring is full to the last byte");
  }
  region.store_ring(held.tail.end, entry.data(), entry.size());
  region.persist_ring(next.trim.end, held.tail.end + entry.size() - next.trim.end);
  blank(region, behind, next.trim.end + region.geometry().ring_bytes);
  // Repeated, it is the same entry from which on the others have no part in this log; it may have
  // been trimmed since.
  const Position kept = held.before_end.position;
  const bool again = kept.value == 0 || next.recovered.position == kept + 1;
  if (!again) next.recovered = {{}, std::min(held.committed, kept) + 1, kept + 1};
  next.recovered.view = alone.view;
  next.birth = birth;
  next.promised = term;
  next.promise_nonce = nonce;
  next.validated = behind;
  next.committed = behind.position;
  const Code code = region.write_superblock(log::encode(next), pmem::Region::Slots::both);
  if (code != Code::ok) return fail(code, "the superblock cannot be written");
  return next.recovered;
}

// Behind `keep` stands what this log will not go on with.
Result<void> put_aside(pmem::Region& region, log::Superblock& superblock, const log::Cursor& keep,
                       Offset end, Term sealed_by) {
  if (end <= keep.end) return {};
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  SalvageArea area(region);
  const auto kept = area.keep(ring, keep, end, sealed_by);
  if (!kept) return tl::unexpected(kept.error());
  superblock.salvage_bytes += *kept;
  return {};
}

}  // namespace

Result<log::Recovered> recover_alone(pmem::Region& region, const LogIdentity& identity,
                                     ReplicaId self, uint64_t birth, uint64_t nonce) {
  const auto held = look_through(region);
  if (!held) return tl::unexpected(held.error());
  if (auto own = expect_own(*held, identity, self); !own) return tl::unexpected(own.error());
  const Position evidence = std::max(held->evidence, held->beyond);
  if (auto sound = expect_sound(*held, evidence); !sound) return tl::unexpected(sound.error());
  const log::Membership& last = held->view.membership;
  // A recovery that was cut short has left its view, and not the birth that belongs to it.
  if (birth == 0 || !last.electors().has(self) ||
      (last.births[self.value] != held->superblock.birth && !by_decree(last, self))) {
    return fail(Code::denied, "replica " + std::to_string(self.value) +
                                  " has no vote in the last view it knows: what it holds may lack "
                                  "anything. Recover another survivor");
  }
  return go_on_alone(region, *held, birth, nonce);
}

uint64_t entries_at_most(const StandbyBounds& bounds) {
  const uint64_t by_bytes = bounds.bytes / log::entry_bytes(0);
  return bounds.entries == 0 ? by_bytes : std::min(bounds.entries, by_bytes);
}

Result<Takeover> promote_standby(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                                 uint64_t birth, uint64_t nonce) {
  auto held = look_through(region);
  if (!held) return tl::unexpected(held.error());
  if (auto own = expect_own(*held, identity, self); !own) return tl::unexpected(own.error());
  // What was committed elsewhere need not have arrived here.
  if (auto sound = expect_sound(*held, held->evidence); !sound) {
    return tl::unexpected(sound.error());
  }
  const log::Membership& before = held->before;
  const bool again = by_decree(held->view.membership, self);
  if (birth == 0 || !before.standbys.has(self) ||
      (before.births[self.value] != held->superblock.birth && !again)) {
    return fail(Code::denied, "replica " + std::to_string(self.value) +
                                  " is no standby in the last view it knows: nothing bounds what "
                                  "it may lack. Promote a standby, or recover a voter "
                                  "(caisson member recover)");
  }
  const log::Granted granted = held->superblock.granted;
  if (!again && granted.term > held->tail.term) {
    // Of the leader that was let in last, no entry has arrived: what stands behind the grant may be
    // somebody else's.
    const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
    const log::Cursor sure = batch_end_at(ring, *held, std::max(granted.behind, held->committed));
    auto aside = put_aside(region, held->superblock, sure, held->chained.end, granted.term);
    if (!aside) return tl::unexpected(aside.error());
    held->tail = held->before_end = sure;
  }
  const log::Cursor& end = held->before_end;
  Takeover takeover{{}, {end.term, end.position}, held->beyond, before.standby_bounds};
  const auto recovered = go_on_alone(region, *held, birth, nonce);
  if (!recovered) return tl::unexpected(recovered.error());
  takeover.recovered = *recovered;
  return takeover;
}

Result<Position> leave_behind(pmem::Region& region, const LogIdentity& identity, ReplicaId self,
                              Position through, Term sealed_by, uint64_t birth) {
  const auto held = look_through(region);
  if (!held) return tl::unexpected(held.error());
  if (auto own = expect_own(*held, identity, self); !own) return tl::unexpected(own.error());
  log::Superblock next = held->superblock;
  if (birth == 0) return fail(Code::invalid, "a birth is not 0");
  if (next.trim.position > through) {
    return fail(Code::trimmed, "it has trimmed beyond position " + std::to_string(through.value) +
                                   ", where the log went on without it");
  }
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  const log::Cursor keep = batch_end_at(ring, *held, through);
  // What an attempt that was cut short has put aside is no damage.
  const auto records = read_salvage(region.salvage());
  const bool again = std::any_of(records.begin(), records.end(), [&](const auto& record) {
    return !record.damaged && record.before() == keep;
  });
  if (!again && held->evidence > held->tail.position) {
    return fail(Code::damaged, "what it holds cannot be read beyond position " +
                                   std::to_string(held->tail.position.value) +
                                   ", and was good up to " + std::to_string(held->evidence.value) +
                                   ": keep its directory for what may be only there, and have it "
                                   "come back empty");
  }
  if (auto aside = put_aside(region, next, keep, held->chained.end, sealed_by); !aside) {
    return tl::unexpected(aside.error());
  }
  blank(region, keep, next.trim.end + ring.bytes());
  next.validated = keep;
  next.committed = std::min(next.committed, keep.position);
  next.applied = std::min(next.applied, next.committed);
  next.birth = birth;
  next.granted = {};
  const Code code = region.write_superblock(log::encode(next), pmem::Region::Slots::both);
  if (code != Code::ok) return fail(code, "the superblock cannot be written");
  return keep.position;
}

}  // namespace caisson::replication
