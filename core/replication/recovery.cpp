// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/recovery.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/log/log_state.hpp"
#include "core/replication/context.hpp"

namespace caisson::replication {

namespace {

// What a stopped replica holds, up to its last batch end.
struct Held {
  log::Superblock superblock;
  log::Cursor tail;
  Position committed;  // as it knows
  log::ViewRun view;
};

Result<Held> examine(const pmem::Region& region) {
  const auto bytes = region.read_superblock();
  if (!bytes) return tl::unexpected(bytes.error());
  auto superblock = log::decode_superblock(*bytes);
  if (!superblock) return tl::unexpected(superblock.error());
  Held held{*superblock,
            superblock->trim,
            std::max(superblock->committed, superblock->trim.position),
            {superblock->view_position, superblock->membership}};
  const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
  const Offset window_end = superblock->trim.end + ring.bytes();
  log::Cursor cursor = held.tail;
  for (;;) {
    const log::Step next = log::step(ring, cursor, window_end);
    if (next.reason != log::Break::none) break;
    if (static_cast<log::Kind>(next.header.kind) == log::Kind::view) {
      const auto view = log::decode_view(log::payload(ring, cursor.end, next.header));
      held.view = {Position{next.header.position}, view.value_or(log::Membership{})};
    }
    held.committed = std::max(held.committed, log::commit_hint(next.header));
    cursor = next.next;
    if ((next.header.flags & log::kFlagBatchEnd) != 0) held.tail = cursor;
  }
  const Position evidence =
      std::max({superblock->damaged_through, superblock->validated.position, held.committed,
                log::committed_beyond(ring, held.tail, window_end)});
  // Zeros that stand in for a page look like the end of the log (R44).
  if (region.poisoned() || superblock->damaged_through == log::kDamagedForGood) {
    return fail(Code::damaged,
                "a page of the memory is gone, and what it held is not known: this replica is "
                "poisoned. Recover another survivor");
  }
  if (evidence > held.tail.position) {
    return fail(Code::damaged, "what is held ends at position " +
                                   std::to_string(held.tail.position.value) +
                                   ", and was good up to " + std::to_string(evidence.value) +
                                   ": this replica is damaged. Recover another survivor");
  }
  return held;
}

std::vector<std::byte> view_entry(const Held& held, const log::Membership& view, Term term,
                                  log::Cursor& behind) {
  const std::vector<std::byte> payload = log::encode_view(view);
  log::EntryHeader header{};
  header.position = held.tail.position.value + 1;
  header.term = term.value;
  header.offset_line = log::offset_line(held.tail.end);
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.kind = static_cast<uint8_t>(log::Kind::view);
  header.flags = log::kFlagBatchEnd;
  header.format = log::kEntryFormat;
  header.view = static_cast<uint32_t>(view.view.value);
  header.commit_lag = 0;  // agreed by decree
  log::seal_header(header, held.tail.chain,
                   log::crc32c(log::kCrcSeed, payload.data(), payload.size()));
  // With a blank line behind it, so that nothing old continues the chain there.
  const uint64_t bytes = log::entry_bytes(payload.size());
  std::vector<std::byte> entry(bytes + log::kHeaderBytes);
  std::memcpy(entry.data(), &header, sizeof header);
  std::memcpy(entry.data() + sizeof header, payload.data(), payload.size());
  behind = {Position{header.position}, held.tail.end + bytes, term, header.chain};
  return entry;
}

}  // namespace

Result<log::ViewRun> last_view(const pmem::Region& region) {
  auto held = examine(region);
  if (!held) return tl::unexpected(std::move(held.error()));
  return held->view;
}

Result<log::Recovered> recover_alone(pmem::Region& region, const LogIdentity& identity,
                                     ReplicaId self, uint64_t birth, uint64_t nonce) {
  const auto held = examine(region);
  if (!held) return tl::unexpected(held.error());
  log::Superblock next = held->superblock;
  if (next.identity != identity || next.replica != self) {
    return fail(Code::wrong_cluster, "the region is another replica's, or another log's");
  }
  const log::Membership& last = held->view.membership;
  // A recovery that was cut short has left its view, and not the birth that belongs to it.
  const bool again = last.voters == just(self) && last.view.value % kRecoveryViews == 0;
  if (birth == 0 || !last.electors().has(self) ||
      (last.births[self.value] != next.birth && !again)) {
    return fail(Code::denied, "replica " + std::to_string(self.value) +
                                  " has no vote in the last view it knows: what it holds may lack "
                                  "anything. Recover another survivor");
  }
  log::Membership alone;
  alone.view = View{(last.view.value / kRecoveryViews + 1) * kRecoveryViews};
  alone.voters = just(self);
  alone.quorum = last.quorum;
  alone.births[self.value] = birth;
  const uint64_t round = std::max(next.promised, held->tail.term).value / 256 + 1;
  const Term term{round * 256 + self.value};
  log::Cursor behind;
  const std::vector<std::byte> entry = view_entry(*held, alone, term, behind);
  if (behind.end + log::kHeaderBytes > next.trim.end + region.geometry().ring_bytes) {
    return fail(Code::no_space, "the ring is full to the last byte");
  }
  region.store_ring(held->tail.end, entry.data(), entry.size());
  region.persist_ring(next.trim.end, held->tail.end + entry.size() - next.trim.end);
  next.recovered = {alone.view, held->committed + 1, behind.position};
  next.birth = birth;
  next.promised = term;
  next.promise_nonce = nonce;
  next.validated = behind;
  next.committed = behind.position;
  const Code code = region.write_superblock(log::encode(next), pmem::Region::Slots::both);
  if (code != Code::ok) return fail(code, "the superblock cannot be written");
  return next.recovered;
}

}  // namespace caisson::replication
