// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/salvage.hpp"

#include <algorithm>

#include "core/log/entry_format.hpp"

namespace caisson::replication {

namespace {

uint64_t slots_of(uint64_t area_bytes) { return directory_bytes(area_bytes) / sizeof(SalvageSlot); }

// The bytes lie in the area, behind the directory.
bool inside(const SalvageSlot& slot, uint64_t area_bytes) {
  return slot.at >= directory_bytes(area_bytes) && slot.at <= area_bytes && slot.bytes > 0 &&
         slot.bytes <= area_bytes - slot.at && slot.offset <= UINT64_MAX - slot.bytes &&
         (slot.at | slot.bytes | slot.offset) % log::kEntryAlignBytes == 0;
}

log::Cursor behind(const log::Cursor& cursor, const log::EntryHeader& header) {
  return {Position{header.position}, cursor.end + log::entry_bytes(header.payload_bytes),
          Term{header.term}, header.chain};
}

}  // namespace

std::vector<SalvageRecord> read_salvage(std::span<const std::byte> area) {
  std::vector<SalvageRecord> records;
  for (uint64_t i = 0; i < slots_of(area.size()); ++i) {
    SalvageRecord record;
    record.slot = load_slot(area, i);
    if (record.slot.state != kSlotKept) continue;
    record.damaged = record.slot.crc != slot_crc(record.slot) || !inside(record.slot, area.size());
    if (!record.damaged) record.bytes = area.subspan(record.slot.at, record.slot.bytes);
    records.push_back(record);
  }
  std::sort(records.begin(), records.end(),
            [](const SalvageRecord& a, const SalvageRecord& b) { return a.slot.id < b.slot.id; });
  return records;
}

SalvageArea::SalvageArea(pmem::Region& region)
    : region_(region), records_(read_salvage(region.salvage())) {}

const SalvageRecord* SalvageArea::find(uint64_t id) const {
  const auto found = std::find_if(records_.begin(), records_.end(),
                                  [id](const SalvageRecord& r) { return r.slot.id == id; });
  return found == records_.end() ? nullptr : &*found;
}

uint64_t SalvageArea::kept_bytes() const {
  uint64_t sum = 0;
  for (const SalvageRecord& record : records_) sum += record.bytes.size();
  return sum;
}

std::vector<SalvageArea::Extent> SalvageArea::free_extents() const {
  const uint64_t area_bytes = region_.salvage().size();
  std::vector<Extent> taken;
  for (const SalvageRecord& record : records_) {
    if (inside(record.slot, area_bytes)) taken.push_back({record.slot.at, record.slot.bytes});
  }
  std::sort(taken.begin(), taken.end(), [](Extent a, Extent b) { return a.at < b.at; });
  taken.push_back({area_bytes, 0});
  std::vector<Extent> free;
  uint64_t from = directory_bytes(area_bytes);
  for (const Extent& each : taken) {
    if (each.at > from) free.push_back({from, each.at - from});
    from = std::max(from, each.at + each.bytes);
  }
  return free;
}

// Slots that may be written anew: those with the lowest ids first, so that the highest id ever
// given is still there to be read. The last one is never given away for the same reason.
std::vector<uint32_t> SalvageArea::free_slots() const {
  const auto area = region_.salvage();
  std::vector<std::pair<uint32_t, uint32_t>> free;
  for (uint32_t i = 0; i < slots_of(area.size()); ++i) {
    const SalvageSlot slot = load_slot(area, i);
    if (slot.state == kSlotKept) continue;
    const bool known = slot.state == kSlotDiscarded && slot.crc == slot_crc(slot);
    free.emplace_back(known ? slot.id : 0, i);
  }
  std::sort(free.begin(), free.end());
  std::vector<uint32_t> indices;
  for (size_t i = 0; i + 1 < free.size(); ++i) indices.push_back(free[i].second);
  return indices;
}

uint64_t SalvageArea::room_bytes() const {
  if (free_slots().empty()) return 0;
  uint64_t most = 0;
  for (const Extent& each : free_extents()) most = std::max(most, each.bytes);
  return most;
}

// The record that holds the very entry that stands at `at` in the ring.
const SalvageRecord* SalvageArea::holder(const log::Ring& ring, Offset at) const {
  for (const SalvageRecord& record : records_) {
    if (record.damaged || at < Offset{record.slot.offset} || at >= record.end()) continue;
    const std::byte* const kept = record.bytes.data() + (at.value - record.slot.offset);
    // Position, term and chain are in the header: they name the entry and all before it (P14).
    if (std::memcmp(kept, ring.at(at), log::kHeaderBytes) == 0) return &record;
  }
  return nullptr;
}

// What no record holds yet: an earlier attempt may have been cut before the superblock told.
std::vector<SalvageArea::Run> SalvageArea::missing(const log::Ring& ring, log::Cursor from,
                                                   Offset end) const {
  std::vector<Run> runs;
  const bool overlaps = std::any_of(records_.begin(), records_.end(), [&](const auto& record) {
    return !record.damaged && Offset{record.slot.offset} < end && from.end < record.end();
  });
  if (!overlaps) {
    if (from.end < end) runs.push_back({from, end});
    return runs;
  }
  bool open = false;
  while (from.end < end) {
    const log::Cursor next = behind(from, log::load_header(ring.at(from.end)));
    const bool held = holder(ring, from.end) != nullptr;
    if (!held && !open) runs.push_back({from, next.end});
    if (!held) runs.back().end = next.end;
    open = !held;
    from = next;
  }
  return runs;
}

Result<uint64_t> SalvageArea::keep(const log::Ring& ring, const log::Cursor& keep, Offset end,
                                   Term sealed_by) {
  std::vector<Run> runs = missing(ring, keep, end);
  std::vector<Extent> extents = free_extents();
  const std::vector<uint32_t> slots = free_slots();
  full_ = runs.size() > slots.size();
  for (Run& run : runs) {
    const uint64_t bytes = run.end - run.before.end;
    const auto fits = std::find_if(extents.begin(), extents.end(),
                                   [&](const Extent& each) { return each.bytes >= bytes; });
    full_ |= fits == extents.end();
    if (full_) {
      return fail(Code::no_space, "salvage area: " + std::to_string(bytes) +
                                      " bytes of displaced entries do not fit; resubmit or discard "
                                      "what it holds, or enlarge it");
    }
    run.at = fits->at;
    fits->at += bytes;
    fits->bytes -= bytes;
  }
  uint32_t id = 0;
  for (uint64_t i = 0; i < slots_of(region_.salvage().size()); ++i) {
    const SalvageSlot slot = load_slot(region_.salvage(), i);
    if (slot.crc == slot_crc(slot)) id = std::max(id, slot.id);
  }
  uint64_t stored = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    const uint64_t bytes = run.end - run.before.end;
    region_.store_salvage(run.at, ring.at(run.before.end), bytes);
    region_.persist_salvage(run.at, bytes);
    store(slots[i], {++id, run.before.chain, run.before.end.value, bytes, run.before.position.value,
                     run.before.term.value, sealed_by.value, run.at, 0, 0});
    stored += bytes;
  }
  if (!runs.empty()) records_ = read_salvage(region_.salvage());
  return stored;
}

// First the fields, then the word that makes them count.
void SalvageArea::store(uint32_t index, SalvageSlot slot) {
  const uint64_t at = index * sizeof slot;
  region_.store_salvage(at, &slot, sizeof slot);
  region_.persist_salvage(at, sizeof slot);
  slot.crc = slot_crc(slot);
  slot.state = kSlotKept;
  constexpr size_t kWord = offsetof(SalvageSlot, crc);
  region_.store_salvage(at + kWord, &slot.crc, sizeof slot - kWord);
  region_.persist_salvage(at + kWord, sizeof slot - kWord);
}

Code SalvageArea::discard(uint64_t id) {
  const auto area = region_.salvage();
  bool found = false;
  for (uint64_t i = 0; i < slots_of(area.size()); ++i) {
    SalvageSlot slot = load_slot(area, i);
    if (slot.state != kSlotKept || slot.id != id) continue;
    found = true;
    slot.state = kSlotDiscarded;
    constexpr size_t kWord = offsetof(SalvageSlot, crc);
    const uint64_t at = i * sizeof slot + kWord;
    region_.store_salvage(at, &slot.crc, sizeof slot - kWord);
    region_.persist_salvage(at, sizeof slot - kWord);
  }
  if (!found) return Code::not_found;
  records_ = read_salvage(area);
  full_ = false;
  return Code::ok;
}

}  // namespace caisson::replication
