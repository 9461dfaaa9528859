// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/follower.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/replication/history.hpp"

namespace caisson::replication {

Code Follower::seal_ring(Extent extent) {
  // What was taken for the tail may have been overwritten since; the bytes that are there now are
  // what the leader counted. Forgotten now, not behind the revocation: that may be tried again.
  if (unsure()) {
    if (const Code code = forget_unsure(); code != Code::ok) return code;
  }
  stop();
  const Code revoked = c_.endpoint.revoke_all();
  stuck_ = revoked != Code::ok;
  if (stuck_) return revoked;
  if (extent == Extent::whole) {
    if (const Code code = find_all(); code != Code::ok) return code;
  } else {
    commit_hinted(std::max(scan_on(), c_.durable.superblock().committed));
  }
  publish();
  return Code::ok;
}

Code Follower::confess() {
  if (const Code code = c_.durable.save_damage(c_.state.tail().position); code != Code::ok) {
    return code;
  }
  return seal_ring(Extent::whole);
}

Code Follower::forget_unsure() {
  log::Cursor keep = granted_behind_;
  if (c_.state.committed() > keep.position) {
    const auto committed = c_.state.cursor_at(c_.state.committed());
    if (!committed.has_value()) return find_all();
    keep = *committed;
  }
  c_.state.truncate(keep);
  return Code::ok;
}

Position Follower::scan_on() {
  const log::Scan found = log::scan(c_.state);
  chained_end_ = c_.state.tail().end;
  if (c_.state.tail() != c_.state.batch_tail()) c_.state.truncate(c_.state.batch_tail());
  return found.hinted;
}

Code Follower::find_all() {
  const log::Superblock& superblock = c_.durable.superblock();
  const Position known = c_.state.committed();
  c_.state.reset(superblock.trim, {superblock.view_position, superblock.membership});
  const Position hinted = scan_on();
  if (const Code code = look_for_damage(known); code != Code::ok) return code;
  commit_hinted(std::max({hinted, superblock.committed, known}));
  return Code::ok;
}

// `evidence`: it was good through here once.
Code Follower::look_for_damage(Position evidence) {
  const log::Superblock& superblock = c_.durable.superblock();
  const log::Cursor& tail = c_.state.batch_tail();
  evidence = std::max(evidence, superblock.damaged_through);
  // Who has no voice may be behind by any number of entries, and some of them here already.
  if (c_.elector()) {
    evidence =
        std::max(evidence, log::committed_beyond(c_.state.ring(), tail, c_.state.window_end()));
  }
  // Everything up to the persisted cursor was read back whole once.
  evidence = std::max(evidence, superblock.validated.position);
  if (evidence <= tail.position) evidence = Position{0};
  if (evidence == superblock.damaged_through) return Code::ok;
  return c_.durable.save_damage(evidence);
}

void Follower::repaired() {
  if (unsure() || c_.state.batch_tail().position < c_.durable.superblock().damaged_through) return;
  // What repaired it is persistent before the mark goes. Failing costs this replica's vote until
  // the next try, nothing else.
  if (save_progress() == Code::ok) (void)c_.durable.save_damage(Position{0});
}

void Follower::commit_hinted(Position hinted) {
  const Position p = std::min(hinted, c_.state.batch_tail().position);
  if (p <= c_.state.committed()) return;
  if (const auto cursor = c_.state.cursor_at(p); cursor.has_value()) {
    c_.state.commit(p, cursor->end);
  }
}

control::SealReply Follower::seal_reply(Term term, uint64_t nonce, Code code) {
  const log::Superblock& superblock = c_.durable.superblock();
  control::SealReply reply;
  reply.term = term;
  reply.nonce = nonce;
  reply.code = code;
  reply.promised = superblock.promised;
  reply.incarnation = superblock.incarnation;
  reply.persistence = c_.region.persistence();
  if (code == Code::fenced) return reply;
  answer_ = superblock.incarnation.value << 32 | ++answers_;
  given_ = {};
  reply.answer = answer_;
  History history = history_of(c_.state);
  reply.tail = history.tail;
  reply.trim = history.trim;
  reply.epochs = std::move(history.epochs);
  reply.committed = c_.state.committed();
  reply.birth = superblock.birth;
  reply.view = c_.state.view_at(reply.tail.position);
  return reply;
}

// Everything behind `keep`. Returns the bytes that were ever put aside.
Result<uint64_t> Follower::put_aside(const log::Cursor& keep, Term sealed_by) {
  const Offset end = std::max(chained_end_, c_.state.tail().end);
  const auto kept = salvage_.keep(c_.state.ring(), keep, end, sealed_by);
  if (!kept.has_value()) return kept;
  return c_.durable.superblock().salvage_bytes + *kept;
}

Code Follower::cut(const log::Cursor& keep, Term sealed_by) {
  if (keep.position < c_.state.committed()) return Code::damaged;
  if (std::max(chained_end_, c_.state.tail().end) > keep.end) {
    const auto aside = put_aside(keep, sealed_by);
    if (!aside.has_value()) return aside.error().code;
    if (const Code code = c_.durable.save_divergence(keep, *aside); code != Code::ok) return code;
  }
  c_.state.truncate(keep);
  chained_end_ = keep.end;
  blank_behind(keep);
  return Code::ok;
}

Code Follower::discard_orphans(uint64_t id) {
  const SalvageRecord* const record = salvage_.find(id);
  if (record == nullptr) return Code::not_found;
  const Offset at{record->slot.offset};
  const bool undecided = !record->damaged && c_.state.tail().end > c_.state.committed_end() &&
                         at >= c_.state.trim_cursor().end && at < c_.state.tail().end &&
                         record->end() > c_.state.committed_end() &&
                         std::memcmp(c_.state.ring().at(at), record->bytes.data(),
                                     std::min(record->bytes.size(), log::kHeaderBytes)) == 0;
  return undecided ? Code::not_yet : salvage_.discard(id);
}

// Nothing old continues the chain there.
void Follower::blank_behind(const log::Cursor& tail) {
  // In a full ring the line behind the tail is the oldest entry that is still held.
  if (tail.end + log::kHeaderBytes > c_.state.window_end()) return;
  constexpr std::array<std::byte, log::kHeaderBytes> kBlank{};
  c_.region.store_ring(tail.end, kBlank.data(), kBlank.size());
  c_.region.persist_ring(tail.end, kBlank.size());
}

Code Follower::resume_at(const log::Cursor& expected) {
  Position hinted;
  while (c_.state.tail().position < expected.position) {
    const log::Step next = log::step(c_.state.ring(), c_.state.tail(), expected.end);
    if (next.reason != log::Break::none) return Code::damaged;
    hinted = std::max(hinted, log::commit_hint(next.header));
    c_.state.extend(next.header, next.next, next.payload_crc);
  }
  chained_end_ = c_.state.tail().end;
  if (c_.state.tail() != expected || c_.state.batch_tail() != expected) return Code::damaged;
  commit_hinted(hinted);
  return Code::ok;
}

Code Follower::let_in(const control::GrantRequest& request) {
  const log::Cursor& keep = request.divergence;
  const auto own = c_.state.cursor_at(keep.position);
  if (!own.has_value() || *own != keep) return Code::invalid;
  if (const Code code = cut(keep, request.term); code != Code::ok) return code;
  if (!c_.membership().standbys.has(c_.options.self)) return Code::ok;
  return c_.durable.save_grant(request.term, keep.position);
}

void Follower::grant_along(ReplicaId writer, control::SealReply& reply) {
  control::GrantReply given =
      answer_grant(writer, {reply.term, reply.nonce, reply.answer, reply.tail});
  if (given.code == Code::ok) reply.grant = std::move(given.grant);
}

control::GrantReply Follower::answer_grant(ReplicaId writer, const control::GrantRequest& request) {
  const bool given = given_.answer != 0 && request.answer == given_.answer;
  // The reply was lost, or the request came twice: what was granted stands, nothing is cut again.
  if (given && request.divergence == granted_behind_) return given_;
  control::GrantReply reply;
  reply.term = request.term;
  reply.nonce = request.nonce;
  reply.answer = request.answer;
  reply.birth = c_.durable.superblock().birth;
  if (given || request.answer != answer_ || answer_ == 0) {
    reply.code = Code::again;
    return reply;
  }
  if (reply.code = let_in(request); reply.code != Code::ok) return reply;
  auto grant = c_.endpoint.grant(writer, request.term);
  if (!grant.has_value()) {
    reply.code = grant.error().code;
    return reply;
  }
  reply.grant = std::move(*grant);
  given_ = reply;
  leader_ = writer;
  granted_behind_ = request.divergence;
  cell_seen_ = 0;
  publish();
  return reply;
}

Code Follower::rebase(const control::Rebase& request) {
  const bool given = given_.answer != 0 && request.answer == given_.answer;
  if (given || request.answer != answer_ || answer_ == 0) return Code::again;
  const log::Cursor& base = request.base;
  if (base.position <= c_.state.trimmed()) return Code::exists;
  // P13: what is known to be committed here, and not below the base, is not given up.
  if (base.position < c_.state.committed()) return Code::damaged;
  // Who applies by itself needs no more than the log; an application must have come so far first.
  const Position applied = c_.options.auto_apply ? base.position : c_.installed;
  if (applied < base.position) return Code::not_yet;
  // What the leader has trimmed is committed, and applied by every voter: what we hold of it may
  // go, and what else we hold has no future.
  uint64_t aside = c_.durable.superblock().salvage_bytes;
  if (const auto keep = c_.state.cursor_at(c_.state.committed()); keep.has_value()) {
    const auto kept = put_aside(*keep, request.term);
    if (!kept.has_value()) return kept.error().code;
    aside = *kept;
  }
  if (const Code code = c_.durable.save_base(base, request.view, aside); code != Code::ok) {
    return code;
  }
  c_.state.reset(base, request.view);
  c_.applied = base.position;
  chained_end_ = base.end;
  blank_behind(base);
  publish();
  return Code::ok;
}

uint32_t Follower::validate() {
  Position hinted;
  uint32_t entries = 0;
  const uint64_t promised = c_.durable.superblock().promised.value;
  for (; entries < kEntriesPerPoll; ++entries) {
    const log::Step next = log::step(c_.state.ring(), c_.state.tail(), c_.state.window_end());
    if (next.reason != log::Break::none || next.header.term > promised) break;
    hinted = std::max(hinted, log::commit_hint(next.header));
    c_.state.extend(next.header, next.next, next.payload_crc);
  }
  if (entries == 0) return 0;
  chained_end_ = c_.state.tail().end;
  commit_hinted(hinted);
  if (damaged()) repaired();
  publish();
  return entries;
}

void Follower::accept(const transport::CommitCell& cell) {
  if (cell.term != c_.durable.superblock().promised) return;
  trim_to_ = std::max(trim_to_, cell.trim_to);
  if (cell.committed.value == cell_seen_ || cell.committed <= c_.state.committed()) return;
  if (cell.committed > c_.state.batch_tail().position) return;
  // What the leader has committed ends at or behind its term's start: an older entry there is a
  // leftover.
  if (c_.state.term_at(cell.committed) != cell.term) return look_again();
  // P11: only if our own entry there is the one the leader means.
  const auto own = c_.state.cursor_at(cell.committed);
  if (!own.has_value() || own->chain != cell.chain) return;
  cell_seen_ = cell.committed.value;
  c_.state.commit(cell.committed, own->end);
}

void Follower::look_again() {
  if (!unsure()) return;
  // Failing costs this replica's vote until a seal succeeds in it.
  (void)forget_unsure();
  validate();
}

uint32_t Follower::poll(uint64_t now_ns) {
  uint32_t work = 0;
  if (granted()) {
    const Position before = c_.state.committed();
    const uint32_t chained = validate();
    work += chained;
    // While appends flow no cell tells of leftovers: they are looked at again by time.
    if (chained != 0 || !unsure()) {
      looked_ns_ = now_ns;
    } else if (now_ns - looked_ns_ >= kLookAgainNs) {
      looked_ns_ = now_ns;
      look_again();
    }
    accept(c_.endpoint.commit_cell(leader_));
    if (c_.state.committed() != before) ++work;
  }
  return work + keep_books(now_ns);
}

uint32_t Follower::follow_trim() {
  const Position to = std::min(trim_to_, trimmable());
  return to > c_.state.trimmed() && trim(to) == Code::ok ? 1 : 0;
}

// What is committed is sure, whatever stands behind it: a trim may already have followed it.
log::Cursor Follower::durable_tail() const {
  const auto committed = c_.state.cursor_at(c_.state.committed());
  if (leading_) return committed.has_value() ? *committed : c_.durable.superblock().validated;
  const log::Cursor& sure = sure_tail();
  return committed.has_value() && committed->position > sure.position ? *committed : sure;
}

DurableState::Progress Follower::progress() const {
  return {durable_tail(), c_.state.committed(), c_.applied};
}

Code Follower::save_progress() {
  unsaved_since_ns_ = 0;
  const Code code = c_.durable.save_progress(progress());
  publish();
  return code;
}

uint32_t Follower::keep_books(uint64_t now_ns) {
  if (c_.options.auto_apply) c_.applied = c_.state.committed();
  // What came with a state is in it, durably.
  if (c_.installed > c_.applied) {
    c_.applied = std::max(c_.applied, std::min(c_.installed, c_.state.committed()));
  }
  const log::Superblock& superblock = c_.durable.superblock();
  const Offset tail_end = leading_ ? c_.state.committed_end() : sure_tail().end;
  const uint64_t ahead =
      tail_end > superblock.validated.end ? tail_end - superblock.validated.end : 0;
  const bool changed =
      ahead > 0 || c_.state.committed() > superblock.committed || c_.applied > superblock.applied;
  if (!changed) return 0;
  if (unsaved_since_ns_ == 0) unsaved_since_ns_ = now_ns;
  if (ahead < c_.options.cursor_persist_bytes &&
      now_ns - unsaved_since_ns_ < c_.options.cursor_persist_idle_ns) {
    return 0;
  }
  // A full device shows at the next seal, which needs the superblock; progress alone can wait.
  return save_progress() == Code::ok ? 1 : 0;
}

Position Follower::trimmable() const {
  return std::min(c_.durable.superblock().applied, c_.reader_hold);
}

Code Follower::trim(Position p) {
  auto cursor = c_.state.cursor_at(p);
  if (!cursor.has_value()) return cursor.error().code;
  cursor->term = c_.state.term_at(p);
  const log::ViewRun& view = c_.state.view_at(p);
  if (const Code code = c_.durable.save_trim(*cursor, view, progress()); code != Code::ok) {
    return code;
  }
  c_.state.trim(*cursor);
  unsaved_since_ns_ = 0;
  publish();
  return Code::ok;
}

void Follower::publish() const {
  const log::Superblock& superblock = c_.durable.superblock();
  transport::TargetCell cell;
  cell.term = superblock.promised;
  cell.incarnation = superblock.incarnation;
  const log::Cursor& sure = sure_tail();
  cell.validated = sure.position;
  cell.validated_end = sure.end;
  cell.applied = trimmable();
  cell.head = superblock.trim.end;
  cell.trimmed = superblock.trim.position;
  cell.fault = superblock.damaged_through.value;
  c_.endpoint.publish(cell);
}

}  // namespace caisson::replication
