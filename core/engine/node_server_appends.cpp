// SPDX-License-Identifier: BSD-3-Clause
// A client's appends: into the log's lane with the identities that the client chose (R30), and
// their outcomes back.
#include <algorithm>

#include "core/engine/appender_impl.hpp"
#include "core/engine/node_server_session.hpp"

namespace caisson::engine {

ServerSession::Feed* ServerSession::feed_of(LogImpl& log) {
  for (const auto& feed : feeds_) {
    if (feed->log == &log) return feed.get();
  }
  auto feed = std::make_unique<Feed>();
  feed->log = &log;
  feed->lane = std::make_shared<Lane>(kLaneEntries, log.entry_bytes_max());
  if (log.attach(feed->lane) != Code::ok) return nullptr;
  feeds_.push_back(std::move(feed));
  return feeds_.back().get();
}

bool ServerSession::admissible(uint64_t id, const client::Append& request, const LogImpl& log) {
  uint64_t lane_bytes = 0;
  for (const std::string& payload : request.payloads) {
    lane_bytes += Lane::ring_bytes_of(payload.size());
    if (payload.size() <= log.entry_bytes_max()) continue;
    fail_request(id, Code::too_large,
                 "an entry of " + std::to_string(payload.size()) + " bytes: log '" + log.name() +
                     "' takes at most " + std::to_string(log.entry_bytes_max()));
    return false;
  }
  if (request.atomic &&
      (request.payloads.size() > kBatchEntriesMax || lane_bytes > log.ring_bytes() / 4)) {
    fail_request(id, Code::too_large,
                 "an atomic append of " + std::to_string(request.payloads.size()) +
                     " entries and " + std::to_string(lane_bytes) + " bytes: at most " +
                     std::to_string(kBatchEntriesMax) + " entries, and a quarter of the ring");
    return false;
  }
  return true;
}

void ServerSession::handle(uint64_t id, client::Append& request) {
  LogImpl* const log = find_log(id, request.log);
  if (log == nullptr || !admissible(id, request, *log)) return;
  Feed* const feed = feed_of(*log);
  if (feed == nullptr) return fail_request(id, Code::closed, "the node is closing");
  const auto entries = static_cast<uint32_t>(request.payloads.size());
  Arriving arriving;
  arriving.serial = ++serial_;
  arriving.feed = feed;
  arriving.deadline_ns = request.timeout_us > UINT64_MAX / 1000
                             ? kNever
                             : Clock::instance().deadline_ns(request.timeout_us * 1000);
  PendingAppend& pending = appends_[arriving.serial];
  pending.request = id;
  pending.log = request.log;
  pending.first = {request.client, request.incarnation, request.first_sequence};
  pending.entries = entries;
  pending.atomic = request.atomic && entries > 1;
  pending.unsettled = pending.atomic ? 1 : entries;
  pending.told.resize(entries);
  arriving.append = std::move(request);
  arriving_ = std::move(arriving);
  push_arriving();
}

LaneRecord ServerSession::record_of(const Arriving& arriving, size_t index) const {
  const client::Append& append = arriving.append;
  LaneRecord record;
  record.tag = arriving.serial << kIndexBits | index;
  record.deadline_ns = arriving.deadline_ns;
  record.identity = {append.client, append.incarnation, append.first_sequence + index};
  record.payload_bytes = static_cast<uint32_t>(append.payloads[index].size());
  record.level = append.durability;
  record.flags = LaneRecord::kForeign | LaneRecord::kBatchEnd | LaneRecord::kReports;
  return record;
}

bool ServerSession::push_arriving() {
  if (!arriving_) return false;
  Arriving& arriving = *arriving_;
  Lane& lane = *arriving.feed->lane;
  const size_t before = arriving.next;
  const size_t entries = arriving.append.payloads.size();
  if (appends_.at(arriving.serial).atomic) {
    if (push_batch(arriving)) arriving.next = entries;
  } else {
    while (arriving.next < entries) {
      const std::string& payload = arriving.append.payloads[arriving.next];
      if (!lane.fits(1, Lane::ring_bytes_of(payload.size()))) break;
      lane.push(record_of(arriving, arriving.next), std::as_bytes(std::span(payload)));
      ++arriving.next;
    }
  }
  const bool worked = arriving.next != before;
  if (worked) {
    lane.publish();
    arriving.feed->log->poller().hint();
  }
  if (arriving.next == entries) arriving_.reset();
  return worked;
}

bool ServerSession::push_batch(Arriving& arriving) {
  Lane& lane = *arriving.feed->lane;
  const auto& payloads = arriving.append.payloads;
  uint64_t payload_bytes = 0;
  uint64_t lane_bytes = 0;
  for (const std::string& payload : payloads) {
    payload_bytes += payload.size();
    lane_bytes += Lane::ring_bytes_of(payload.size());
  }
  if (!lane.fits(static_cast<uint32_t>(payloads.size()), lane_bytes)) return false;
  for (size_t i = 0; i < payloads.size(); ++i) {
    LaneRecord record = record_of(arriving, i);
    if (i == 0) {
      record.batch_count = static_cast<uint16_t>(payloads.size());
      record.batch_payload_bytes = payload_bytes;
    }
    if (i + 1 != payloads.size()) record.flags = LaneRecord::kForeign;
    lane.push(record, std::as_bytes(std::span(payloads[i])));
  }
  return true;
}

bool ServerSession::collect(Feed& feed) {
  LaneCompletion completion;
  size_t count = 0;
  while (count < kOutcomesPerReply && feed.lane->pop(completion)) {
    ++count;
    settle(completion, *feed.log);
  }
  if (count != 0) answer_appends(*feed.log);
  return count != 0;
}

void ServerSession::settle(const LaneCompletion& completion, LogImpl&) {
  const uint64_t serial = completion.tag >> kIndexBits;
  const auto index = static_cast<uint32_t>(completion.tag & ((uint64_t{1} << kIndexBits) - 1));
  const auto found = appends_.find(serial);
  if (found == appends_.end()) return;
  PendingAppend& pending = found->second;
  if (completion.final) --pending.unsettled;
  if (!pending.told[index]) {
    pending.told[index] = true;
    // An atomic append has one completion, of its last entry; the others lie right below it.
    const uint32_t first = pending.atomic ? 0 : index;
    for (uint32_t i = first; i <= index; ++i) {
      client::AppendOutcome outcome{
          pending.first.sequence + i, completion.code, {}, completion.term};
      if (completion.code == Code::ok) {
        outcome.position = Position{completion.position.value - (index - i)};
      }
      pending.ready.push_back(outcome);
    }
    if (pending.ready.size() == index + 1 - first) touched_.push_back(serial);
  }
  if (pending.unsettled == 0 && pending.ready.empty()) appends_.erase(found);
}

void ServerSession::answer_appends(const LogImpl& log) {
  for (const uint64_t serial : touched_) {
    PendingAppend& pending = appends_.at(serial);
    client::AppendResult result{
        pending.log, pending.first.client, pending.first.incarnation, std::move(pending.ready), {}};
    pending.ready.clear();
    const bool lost = std::any_of(result.outcomes.begin(), result.outcomes.end(),
                                  [](const auto& outcome) { return outcome.code != Code::ok; });
    if (lost) result.hint = hint_of(log);
    const uint64_t request = pending.request;
    if (pending.unsettled == 0) appends_.erase(serial);
    reply(request, std::move(result));
  }
  touched_.clear();
}

}  // namespace caisson::engine
