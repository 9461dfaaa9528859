// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/orphans.hpp"

#include "core/log/entry_format.hpp"

namespace caisson::replication {

namespace {

// The entry that continues `cursor` in the record's bytes; false: there is none, or it is damaged.
bool step(const SalvageRecord& record, const log::Cursor& cursor, log::EntryHeader& header,
          uint32_t& payload_crc) {
  const Offset begin{record.slot.offset};
  if (cursor.end < begin || cursor.end.value % log::kEntryAlignBytes != 0) return false;
  const uint64_t at = cursor.end - begin;
  if (at >= record.bytes.size() || record.bytes.size() - at < log::kHeaderBytes) return false;
  const auto left = record.bytes.subspan(at);
  header = log::load_header(left.data());
  const uint32_t hash = log::header_hash(header);
  if (!log::header_sound(header, hash) || header.position != cursor.position.value + 1 ||
      header.offset_line != log::offset_line(cursor.end) ||
      log::entry_bytes(header.payload_bytes) > left.size()) {
    return false;
  }
  payload_crc = log::crc32c(log::kCrcSeed, left.data() + log::kHeaderBytes, header.payload_bytes);
  return log::chain_next(cursor.chain, hash, payload_crc) == header.chain;
}

void judge(OrphanEntry& entry, uint32_t payload_crc, const log::LogState& log, Position committed) {
  if (!entry.data || entry.identity.client == 0) return;
  using Is = log::StreamTable::Recollection::Is;
  const auto known = log.streams().recall(entry.identity, payload_crc);
  if (known.is == Is::absent) entry.fate = OrphanFate::absent;
  const bool held = known.is == Is::same || known.is == Is::other;
  if (!held || known.position > committed) return;
  entry.fate = known.is == Is::same ? OrphanFate::present : OrphanFate::replaced;
  entry.again = known.position;
}

uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
  return hash ^ (hash >> 29);
}

}  // namespace

OrphanRecord describe(const SalvageRecord& record) {
  OrphanRecord out;
  out.id = record.slot.id;
  out.before = Position{record.slot.before_position};
  out.sealed_by = Term{record.slot.sealed_by};
  out.ring_bytes = record.slot.bytes;
  out.damaged = record.damaged;
  return out;
}

OrphanPage read_orphans(const SalvageRecord& record, const log::Cursor& from,
                        const OrphanPageLimits& limits, const log::LogState& log,
                        Position committed) {
  OrphanPage page;
  page.next = from;
  page.damaged = record.damaged;
  uint64_t bytes = 0;
  while (!page.damaged && page.next.end < record.end()) {
    log::EntryHeader header;
    uint32_t payload_crc = 0;
    if (!step(record, page.next, header, payload_crc)) {
      page.damaged = true;
      break;
    }
    if (!page.entries.empty() && (page.entries.size() >= limits.entries_max ||
                                  bytes + header.payload_bytes > limits.bytes_max)) {
      return page;
    }
    OrphanEntry& entry = page.entries.emplace_back();
    entry.position = Position{header.position};
    entry.term = Term{header.term};
    entry.data = header.kind == static_cast<uint8_t>(log::Kind::data);
    entry.batch_end = (header.flags & log::kFlagBatchEnd) != 0;
    entry.identity = {header.client, header.incarnation, header.sequence};
    entry.payload_bytes = header.payload_bytes;
    judge(entry, payload_crc, log, committed);
    // Read, if not copied: the checksum has been over them.
    bytes += header.payload_bytes;
    if (limits.payloads == OrphanPayloads::copied) {
      const auto payload = record.bytes.subspan(
          page.next.end - Offset{record.slot.offset} + log::kHeaderBytes, header.payload_bytes);
      entry.payload.assign(payload.begin(), payload.end());
    }
    page.next = {Position{header.position}, page.next.end + log::entry_bytes(header.payload_bytes),
                 Term{header.term}, header.chain};
  }
  page.last = true;
  return page;
}

uint64_t resubmission_client(const LogIdentity& log, Term term, Position first) {
  uint64_t hash = 0x6f727068616e73;  // "orphans"
  for (size_t i = 0; i < log.cluster.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, log.cluster.data() + i, sizeof word);
    hash = mix(hash, word);
  }
  hash = mix(mix(mix(hash, log.log), term.value), first.value);
  return hash == 0 ? 1 : hash;
}

}  // namespace caisson::replication
