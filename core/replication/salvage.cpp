// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/salvage.hpp"

#include <cstring>

#include "core/log/crc32c.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::replication {

namespace {

uint32_t checksum(const SalvageHeader& header, std::span<const std::byte> bytes) {
  constexpr size_t kSkip = offsetof(SalvageHeader, bytes);
  const uint32_t crc = log::crc32c(
      log::kCrcSeed, reinterpret_cast<const std::byte*>(&header) + kSkip, sizeof header - kSkip);
  return log::crc32c(crc, bytes.data(), bytes.size());
}

}  // namespace

Result<std::vector<SalvageRecord>> list_salvage(std::span<const std::byte> area, uint64_t used) {
  std::vector<SalvageRecord> records;
  if (used > area.size()) return fail(Code::damaged, "salvage area: shorter than its record says");
  uint64_t at = 0;
  while (at < used) {
    SalvageRecord record;
    if (used - at < sizeof record.header) return fail(Code::damaged, "salvage area: cut header");
    std::memcpy(&record.header, area.data() + at, sizeof record.header);
    const uint64_t bytes = record.header.bytes;
    at += sizeof record.header;
    if (record.header.magic != kSalvageMagic || bytes > used - at) {
      return fail(Code::damaged, "salvage area: no record at byte " + std::to_string(at));
    }
    record.bytes = area.subspan(at, bytes);
    if (checksum(record.header, record.bytes) != record.header.crc) {
      return fail(Code::damaged, "salvage area: checksum of the record at byte " +
                                     std::to_string(at) + " does not hold");
    }
    at += bytes;
    records.push_back(record);
  }
  return records;
}

Result<uint64_t> salvage(pmem::Region& region, const log::Ring& ring, uint64_t used,
                         const log::Cursor& keep, Offset end, Term sealed_by) {
  const uint64_t bytes = end - keep.end;
  const std::span<const std::byte> suffix{ring.at(keep.end), bytes};
  SalvageHeader header{};
  header.magic = kSalvageMagic;
  header.bytes = bytes;
  header.offset = keep.end.value;
  header.before_position = keep.position.value;
  header.before_term = keep.term.value;
  header.before_chain = keep.chain;
  header.sealed_by = sealed_by.value;
  header.crc = checksum(header, suffix);
  // The same suffix may have been stored by an attempt that was cut before the superblock told.
  if (const auto records = list_salvage(region.salvage(), used); records.has_value()) {
    for (const SalvageRecord& record : *records) {
      if (record.header.offset == header.offset && record.header.bytes == bytes &&
          std::memcmp(record.bytes.data(), suffix.data(), bytes) == 0) {
        return used;
      }
    }
  }
  const uint64_t need = sizeof header + bytes;
  if (need > region.salvage().size() - used) {
    return fail(Code::no_space, "salvage area: " + std::to_string(bytes) +
                                    " bytes of displaced entries do not fit; list and discard "
                                    "what it holds, or enlarge it");
  }
  region.store_salvage(used, &header, sizeof header);
  region.store_salvage(used + sizeof header, suffix.data(), bytes);
  region.persist_salvage(used, need);
  return used + need;
}

}  // namespace caisson::replication
