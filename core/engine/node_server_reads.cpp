// SPDX-License-Identifier: BSD-3-Clause
// A client's reads: committed entries, copied straight from the ring without asking the poller.
#include <algorithm>
#include <atomic>

#include "core/engine/node_server_session.hpp"

namespace caisson::engine {

namespace {

// What a reply may hold beside its entries.
constexpr size_t kEnvelopeBytes = 1024;

size_t encoded_bytes(size_t payload_bytes, size_t entries) {
  return payload_bytes + entries * client::kEntryOverheadBytes + kEnvelopeBytes;
}

}  // namespace

void ServerSession::make_sure(uint64_t id, const client::Tail& request, LogImpl& log) {
  if (crowded(id)) return;
  auto outcome = std::make_shared<TailWait::Outcome>();
  tails_.push_back({id, &log, outcome});
  const uint64_t timeout_ns =
      request.timeout_us > UINT64_MAX / 1000 ? kNever : request.timeout_us * 1000;
  log.read_point(static_cast<ReadPath>(request.path), timeout_ns,
                 [outcome](const replication::ReadPoint& point) {
                   outcome->point = point;
                   outcome->done.store(true, std::memory_order_release);
                 });
}

bool ServerSession::check_tails() {
  return std::erase_if(tails_, [&](const TailWait& tail) {
           if (!tail.outcome->done.load(std::memory_order_acquire)) return false;
           const replication::ReadPoint& point = tail.outcome->point;
           if (point.code == Code::ok) {
             reply(tail.request, client::TailIs{tail.log->options().id, point.position,
                                                tail.log->leadership().term, true});
           } else {
             fail_request(tail.request, point.code, tail.log->why_unread(point.code),
                          hint_of(*tail.log));
           }
           return true;
         }) != 0;
}

// Appends what is there, as far as one reply may go. ok: the reply is full, or `to` is reached ·
// not_yet: that is all there is · trimmed, damaged.
Code ServerSession::gather(Reading& reading, client::Entries& entries) {
  const log::LogState& state = reading.log->state();
  size_t payload_bytes = 0;
  while (entries.entries.size() < reading.asked.entries_max) {
    if (reading.asked.to.value != 0 && reading.next > reading.asked.to) return Code::ok;
    log::EntryView view;
    const Code code =
        reading.found ? state.read_next(reading.before, view) : state.read(reading.next, view);
    if (reading.log->poisoned()) return Code::damaged;
    if (code != Code::ok) return code;
    const bool data = view.header.kind == static_cast<uint8_t>(log::Kind::data);
    if (data) {
      const size_t with_it = payload_bytes + view.payload.size();
      const size_t count = entries.entries.size() + 1;
      if (count > 1 &&
          (with_it > reading.asked.bytes_max || encoded_bytes(with_it, count) > kFrameBytesMax)) {
        return Code::ok;
      }
      client::ReadEntry entry;
      entry.position = view.cursor.position;
      entry.term = Term{view.header.term};
      entry.identity = {view.header.client, view.header.incarnation, view.header.sequence};
      entry.payload.assign(reinterpret_cast<const char*>(view.payload.data()), view.payload.size());
      // Orders the copy before the look at the trim point: bytes are reused only after it has
      // moved.
      std::atomic_thread_fence(std::memory_order_acquire);
      if (state.trimmed() >= view.cursor.position) return Code::trimmed;
      if (reading.log->poisoned()) return Code::damaged;
      payload_bytes = with_it;
      entries.entries.push_back(std::move(entry));
    }
    reading.before = view.cursor;
    reading.found = true;
    reading.next = view.cursor.position + 1;
  }
  return Code::ok;
}

bool ServerSession::advance(Reading& reading) {
  if (congested()) return false;
  if (reading.seat != nullptr) {
    reading.seat->move(Position{std::max(reading.next.value, uint64_t{1}) - 1});
    if (!reading.seat->renew(Clock::instance().now_ns() + kReaderTtlNs)) reading.seat.reset();
  }
  client::Entries entries;
  entries.log = reading.asked.log;
  const Code code = reading.log->closed() ? Code::closed : gather(reading, entries);
  entries.next = reading.next;
  entries.committed = reading.log->state().committed();
  if (code != Code::ok && code != Code::not_yet && entries.entries.empty()) {
    std::string message = "log '" + reading.log->name() + "', position " +
                          std::to_string(reading.next.value) + ": " +
                          std::string(caisson::name(code));
    if (code == Code::trimmed) {
      message +=
          "; the oldest entry held is " + std::to_string(reading.log->state().trimmed().value + 1);
    }
    if (code == Code::damaged) {
      message += reading.log->poisoned()
                     ? "; this replica's memory, or a page of it, is gone: read another, and look "
                       "at the status of this one"
                     : "; what this replica holds there has rotted: read another replica";
    }
    fail_request(reading.request, code, std::move(message));
    reading.done = true;
    return true;
  }
  const bool reached = reading.asked.to.value != 0 && reading.next > reading.asked.to;
  const bool dry = code == Code::not_yet && !reading.asked.follow &&
                   ((reading.asked.to.value == 0 && (reading.sent || !entries.entries.empty())) ||
                    Clock::instance().now_ns() >= reading.deadline_ns);
  entries.last = reached || dry;
  if (entries.entries.empty() && !entries.last) return false;
  reading.sent = true;
  reading.done = entries.last;
  reply(reading.request, std::move(entries));
  return true;
}

}  // namespace caisson::engine
