// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/stream_table.hpp"

namespace caisson::log {

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
}

void StreamTable::rollback(Entry& entry, Position tail) {
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
}

StreamTable::Stream StreamTable::find(uint64_t client) const {
  const Entry* entry = lookup(client);
  return entry == nullptr ? Stream{} : entry->now.stream;
}

Position StreamTable::session_position(uint64_t client) const {
  const Entry* entry = lookup(client);
  return entry == nullptr ? Position{} : entry->session_position;
}

}  // namespace caisson::log
