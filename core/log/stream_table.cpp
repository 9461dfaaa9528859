// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/stream_table.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace caisson::log {

namespace {

template <class T>
void put(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Takes a T off the front of `in`; false if it is not there.
template <class T>
bool take(std::span<const std::byte>& in, T& out) {
  if (in.size() < sizeof out) return false;
  std::memcpy(&out, in.data(), sizeof out);
  in = in.subspan(sizeof out);
  return true;
}

}  // namespace

StreamTable::StreamTable(uint32_t streams_max, uint32_t window)
    : streams_max_(streams_max), mask_(window - 1) {}

StreamTable::Entry* StreamTable::find_entry(uint64_t client) const {
  const auto found = streams_.find(client);
  if (found == streams_.end()) return nullptr;
  last_client_ = client;
  last_ = const_cast<Entry*>(&found->second);
  return last_;
}

StreamTable::Entry& StreamTable::obtain(uint64_t client, Position first) {
  if (Entry* known = lookup(client)) return *known;
  Entry& made = streams_[client];
  made.first_position = first;
  made.window = std::make_unique<Slot[]>(mask_ + 1);
  last_client_ = client;
  last_ = &made;
  return made;
}

StreamTable::Verdict StreamTable::judge(const EntryIdentity& identity, uint32_t payload_crc,
                                        Position tail) {
  Entry* entry = lookup(identity.client);
  if (entry == nullptr) {
    if (floor_ != 0 && identity.incarnation <= floor_) return {Code::aged_out, {}};
    if (full()) return {Code::too_large, {}};
    return {identity.sequence == 1 ? Code::ok : Code::broken_stream, {}};
  }
  const Stream& now = entry->now.stream;
  if (identity.incarnation < now.incarnation) return {Code::stale_stream, {}};
  if (identity.incarnation > now.incarnation) {
    return {identity.sequence == 1 ? Code::ok : Code::broken_stream, {}};
  }
  if (identity.sequence == now.last_sequence + 1) return {Code::ok, {}};
  if (identity.sequence > now.last_sequence) return {Code::broken_stream, {}};
  const uint64_t back = now.last_sequence - identity.sequence;
  if (identity.sequence == 0 || back > mask_ || back >= entry->count) return {Code::aged_out, {}};
  const Slot& known = slot(*entry, entry->count - back);
  if (known.sequence != identity.sequence || known.position > tail.value) {
    return {Code::aged_out, {}};
  }
  if (known.payload_crc != payload_crc) return {Code::identity_reused, {}};
  return {Code::exists, Position{known.position}};
}

void StreamTable::begin_run(Entry& entry, Position at, uint32_t incarnation, uint64_t base) {
  entry.before = entry.now;
  entry.session_position = at;
  entry.now = {{incarnation, base}, base};
}

// Makes the client known, or opens its next run.
StreamTable::Entry& StreamTable::open_run(const EntryHeader& header) {
  Entry& entry = obtain(header.client, Position{header.position});
  if (header.incarnation > entry.now.stream.incarnation) {
    begin_run(entry, Position{header.position}, header.incarnation, 0);
  }
  return entry;
}

void StreamTable::apply_session(const EntryHeader& header, const SessionPayload& session) {
  Entry& entry = obtain(header.client, Position{header.position});
  begin_run(entry, Position{header.position}, header.incarnation,
            session.resume != 0 ? session.previous_last_sequence : 0);
  if (session.lost_last == 0) return;
  entry.apologies.push_back(
      {{session.lost_incarnation, session.lost_first, session.lost_last, Position{header.position}},
       Position{0}});
}

void StreamTable::apply_receipt(const EntryHeader& header, const ReceiptPayload& receipt) {
  Entry* const entry = lookup(header.client);
  if (entry == nullptr) return;
  for (Noted& noted : entry->apologies) {
    if (noted.taken.value == 0 && noted.apology.noted.value <= receipt.through) {
      noted.taken = Position{header.position};
    }
  }
}

void StreamTable::rollback(Entry& entry, Position tail) {
  std::erase_if(entry.apologies, [&](const Noted& each) { return each.apology.noted > tail; });
  for (Noted& noted : entry.apologies) {
    if (noted.taken > tail) noted.taken = Position{0};
  }
  const uint64_t oldest = entry.count > mask_ ? entry.count - mask_ : 1;
  while (entry.count >= oldest && slot(entry, entry.count).position > tail.value) {
    slot(entry, entry.count--) = Slot{};
  }
  if (entry.session_position > tail) {
    entry.now = entry.before;
    entry.session_position = Position{0};
  }
  const Slot last = entry.count == 0 ? Slot{} : slot(entry, entry.count);
  Stream& now = entry.now.stream;
  now.last_sequence = last.incarnation == now.incarnation && last.sequence > entry.now.base
                          ? last.sequence
                          : entry.now.base;
}

void StreamTable::rollback(Position tail) {
  last_ = nullptr;
  for (auto it = streams_.begin(); it != streams_.end();) {
    if (it->second.first_position > tail) {
      it = streams_.erase(it);
    } else {
      rollback(it->second, tail);
      ++it;
    }
  }
}

void StreamTable::clear() {
  last_ = nullptr;
  streams_.clear();
  carried_.clear();
  floor_ = 0;
}

// ---- Checkpoints ----

Position StreamTable::last_position(const Entry& entry) const {
  const uint64_t slot_position = entry.count == 0 ? 0 : slot(entry, entry.count).position;
  return Position{std::max(slot_position, entry.session_position.value)};
}

// Of the slots that are kept; 0: of none.
Position StreamTable::first_held(const Entry& entry) const {
  for (uint64_t i = entry.count > mask_ ? entry.count - mask_ : 1; i <= entry.count; ++i) {
    if (slot(entry, i).position != 0) return Position{slot(entry, i).position};
  }
  return Position{0};
}

// Oldest first.
std::vector<StreamTable::Slot> StreamTable::held_slots(const Entry& entry) const {
  std::vector<Slot> held;
  for (uint64_t i = entry.count > mask_ ? entry.count - mask_ : 1; i <= entry.count; ++i) {
    if (slot(entry, i).position != 0) held.push_back(slot(entry, i));
  }
  return held;
}

size_t StreamTable::waiting_apologies(const Entry& entry) {
  return static_cast<size_t>(
      std::count_if(entry.apologies.begin(), entry.apologies.end(),
                    [](const Noted& each) { return each.taken.value == 0; }));
}

size_t StreamTable::carried_bytes(const Entry& entry) const {
  const uint64_t kept = std::min<uint64_t>({entry.count, mask_, kCarriedSlots});
  return sizeof(CarriedStream) + kept * sizeof(CarriedSlot) +
         waiting_apologies(entry) * sizeof(CarriedApology);
}

void StreamTable::write_stream(std::vector<std::byte>& out, uint64_t client,
                               const Entry& entry) const {
  const uint64_t kept = std::min<uint64_t>({entry.count, mask_, kCarriedSlots});
  const size_t at = out.size();
  CarriedStream stream{
      client, entry.now.stream.last_sequence, entry.now.base, entry.now.stream.incarnation, 0, 0,
      0};
  put(out, stream);
  for (uint64_t i = entry.count - kept + 1; i <= entry.count; ++i) {
    if (slot(entry, i).position == 0) continue;
    put(out, slot(entry, i));
    ++stream.slots;
  }
  // Whoever reads this checkpoint has not read the receipts of the others, nor needs them.
  for (const auto& [apology, taken] : entry.apologies) {
    if (taken.value != 0) continue;
    put(out, CarriedApology{apology.first_sequence, apology.last_sequence, apology.noted.value,
                            apology.incarnation, 0});
    ++stream.apologies;
  }
  std::memcpy(out.data() + at, &stream, sizeof stream);
}

size_t StreamTable::carry(Position committed, size_t part_bytes_max, size_t bytes_max,
                          CheckpointParts& out) const {
  auto& latest = out.latest_;
  latest.clear();
  for (const auto& [client, entry] : streams_) latest.emplace_back(last_position(entry), client);
  std::sort(latest.begin(), latest.end(), std::greater<>());
  const size_t keep = full() ? streams_max_ / 2 : latest.size();
  size_t count = 0;
  for (size_t bytes = 0; count < std::min(keep, latest.size()); ++count) {
    bytes += carried_bytes(streams_.at(latest[count].second));
    if (bytes > bytes_max) break;
  }
  while (count < latest.size() && latest[count].first > committed) ++count;
  CheckpointHeader header{0, 0, floor_, 0};
  for (size_t i = count; i < latest.size(); ++i) {
    header.floor = std::max(header.floor, streams_.at(latest[i].second).now.stream.incarnation);
  }
  out.bytes_.clear();
  out.begins_.clear();
  const auto close_part = [&] {
    std::memcpy(out.bytes_.data() + out.begins_.back(), &header, sizeof header);
  };
  const auto open_part = [&] {
    header.part = static_cast<uint32_t>(out.begins_.size());
    header.streams = 0;
    out.begins_.push_back(out.bytes_.size());
    put(out.bytes_, header);
  };
  open_part();
  for (size_t i = 0; i < count; ++i) {
    const Entry& entry = streams_.at(latest[i].second);
    if (out.bytes_.size() - out.begins_.back() + carried_bytes(entry) > part_bytes_max) {
      close_part();
      open_part();
    }
    write_stream(out.bytes_, latest[i].second, entry);
    ++header.streams;
  }
  close_part();
  out.payloads_.clear();
  for (size_t i = 0; i < out.begins_.size(); ++i) {
    const size_t end = i + 1 < out.begins_.size() ? out.begins_[i + 1] : out.bytes_.size();
    out.payloads_.push_back(std::span(out.bytes_).subspan(out.begins_[i], end - out.begins_[i]));
  }
  return latest.size() - count;
}

void StreamTable::take_over(std::span<const std::byte> part) {
  CheckpointHeader header;
  if (!take(part, header)) return;
  if (header.part == 0) carried_.clear();
  carried_floor_ = header.floor;
  for (uint32_t i = 0; i < header.streams; ++i) {
    CarriedStream stream;
    if (!take(part, stream) || stream.slots > kCarriedSlots) return;
    if (stream.apologies > kApologiesMax) return;
    std::array<CarriedSlot, kCarriedSlots> slots;
    for (uint32_t k = 0; k < stream.slots; ++k) {
      if (!take(part, slots[k])) return;
    }
    carried_.push_back(stream.client);
    merge(stream, std::span(slots).first(stream.slots));
    for (uint32_t k = 0; k < stream.apologies; ++k) {
      CarriedApology apology;
      if (!take(part, apology)) return;
      merge(stream, apology);
    }
  }
}

void StreamTable::merge(const CarriedStream& stream, const CarriedApology& carried) {
  auto& known = obtain(stream.client, Position{0}).apologies;
  const Position noted{carried.position};
  const auto at = std::find_if(known.begin(), known.end(),
                               [&](const Noted& each) { return each.apology.noted >= noted; });
  if (at != known.end() && at->apology.noted == noted) return;
  known.insert(at, {{carried.incarnation, carried.first_sequence, carried.last_sequence, noted},
                    Position{0}});
}

// What we have is as the log says; a checkpoint only adds what was trimmed before we read it.
void StreamTable::merge(const CarriedStream& stream, std::span<const CarriedSlot> slots) {
  Entry* const known = lookup(stream.client);
  if (known != nullptr && known->count > 0 &&
      (slots.empty() || slots.front().position >= first_held(*known).value)) {
    return;
  }
  Entry& entry = known != nullptr ? *known : obtain(stream.client, Position{0});
  std::vector<Slot> all;
  const std::vector<Slot> held = held_slots(entry);
  for (const CarriedSlot& each : slots) {
    if (held.empty() || each.position < held.front().position) all.push_back(each);
  }
  if (known != nullptr && all.empty()) return;
  all.insert(all.end(), held.begin(), held.end());
  if (all.size() > mask_) all.erase(all.begin(), all.end() - static_cast<ptrdiff_t>(mask_));
  entry.count = 0;
  for (const Slot& each : all) slot(entry, ++entry.count) = each;
  entry.first_position = Position{0};
  Run& now = entry.now;
  if (stream.incarnation >= now.stream.incarnation) {
    now.base = stream.base;
    now.stream = {stream.incarnation, std::max(now.stream.last_sequence, stream.last_sequence)};
  }
}

void StreamTable::settle(Position first) {
  floor_ = std::max(floor_, carried_floor_);
  std::sort(carried_.begin(), carried_.end());
  last_ = nullptr;
  std::erase_if(streams_, [&](auto& each) {
    return !std::binary_search(carried_.begin(), carried_.end(), each.first) &&
           last_position(each.second) < first;
  });
  for (auto& [client, entry] : streams_) {
    std::erase_if(entry.apologies,
                  [&](const Noted& each) { return each.taken.value != 0 && each.taken < first; });
  }
  carried_.clear();
}

StreamTable::Stream StreamTable::find(uint64_t client) const {
  const Entry* entry = lookup(client);
  return entry == nullptr ? Stream{} : entry->now.stream;
}

Code StreamTable::missing(uint64_t client, uint32_t incarnation, uint64_t sequence,
                          SessionPayload& note) const {
  if (incarnation == 0 || sequence == 0) return Code::ok;
  uint64_t last = 0;
  if (const Entry* const entry = lookup(client); entry != nullptr) {
    if (incarnation == entry->now.stream.incarnation) {
      last = entry->now.stream.last_sequence;
    } else if (incarnation == entry->before.stream.incarnation) {
      last = entry->before.stream.last_sequence;
    } else if (incarnation < entry->now.stream.incarnation) {
      for (const Slot& held : held_slots(*entry)) {
        if (held.incarnation == incarnation) last = held.sequence;
      }
    }
    if (sequence <= last) return Code::ok;
    for (const Noted& noted : entry->apologies) {
      if (noted.apology.incarnation == incarnation && noted.apology.last_sequence >= sequence) {
        return Code::ok;
      }
    }
    // Nothing of it is left to tell by.
    if (last == 0 && incarnation < entry->now.stream.incarnation &&
        incarnation != entry->before.stream.incarnation) {
      return Code::aged_out;
    }
    if (waiting_apologies(*entry) >= kApologiesMax) return Code::held;
  } else if (incarnation <= floor_) {
    return Code::aged_out;
  }
  note.lost_first = last + 1;
  note.lost_last = sequence;
  note.lost_incarnation = incarnation;
  return Code::ok;
}

std::vector<Apology> StreamTable::apologies(uint64_t client) const {
  std::vector<Apology> waiting;
  const Entry* const entry = lookup(client);
  if (entry == nullptr) return waiting;
  for (const auto& [apology, taken] : entry->apologies) {
    if (taken.value == 0) waiting.push_back(apology);
  }
  return waiting;
}

Position StreamTable::session_position(uint64_t client) const {
  const Entry* entry = lookup(client);
  return entry == nullptr ? Position{} : entry->session_position;
}

}  // namespace caisson::log
