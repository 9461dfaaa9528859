// SPDX-License-Identifier: BSD-3-Clause
#include <exception>

#include "core/engine/client_protocol_pb.hpp"
#include "core/engine/links.hpp"
#include "core/log/checkpoint_format.hpp"

namespace caisson::engine::client {
namespace {

constexpr size_t kHostBytesMax = 255;
// A varint takes at most 10 bytes, 5 for 32 bits; a tag 1.
constexpr size_t kEntryPbBytesMax = 2 * 11 + 2 + 11 + 6 + 11 + (1 + 5) + (1 + 5);
constexpr size_t kRunPbBytesMax = 10 + 5 + 5 + 10 + 10;
static_assert(kEntryPbBytesMax <= kEntryOverheadBytes);
static_assert(kBatchBytesMax + kEntryOverheadBytes + 1024 <= kFrameBytesMax, "Entries fit a frame");
static_assert(kBatchEntriesMax * kRunPbBytesMax + 1024 <= kFrameBytesMax,
              "AppendResults fit a frame");
static_assert(kStatusBytesMax + 1024 <= kFrameBytesMax, "a status fits a frame");

// ---- Values to protobuf ------------------------------------------------------------------------

void put(const LeaderHint& hint, pb::LeaderHint& out) {
  out.set_leader(hint.leader.value);
  out.set_term(hint.term.value);
  out.set_host(hint.host.substr(0, kHostBytesMax));
  out.set_port(hint.port);
}

void put(const LogOpened& body, pb::Reply& out) {
  pb::LogOpened& to = *out.mutable_log_opened();
  to.set_log(body.log);
  to.set_entry_bytes_max(body.entry_bytes_max);
  to.set_outstanding_max(body.outstanding_max);
  to.set_leader(body.leader.value);
  to.set_term(body.term.value);
  to.set_committed(body.committed.value);
  to.set_trimmed(body.trimmed.value);
}

void put(const StreamOpened& body, pb::Reply& out) {
  pb::StreamOpened& to = *out.mutable_stream_opened();
  to.set_log(body.log);
  to.set_client(body.client);
  to.set_incarnation(body.incarnation);
  to.set_last_sequence(body.last_sequence);
  for (const Apology& apology : body.apologies) {
    pb::Apology& told = *to.add_apologies();
    told.set_incarnation(apology.incarnation);
    told.set_first_sequence(apology.first_sequence);
    told.set_last_sequence(apology.last_sequence);
    told.set_noted(apology.noted.value);
  }
}

// Where entry i of a run that begins at `first` stands.
AppendOutcome in_run(const AppendOutcome& first, uint64_t i) {
  AppendOutcome out = first;
  out.sequence += i;
  if (first.code == Code::ok) out.position = first.position + i;
  return out;
}

void put(const AppendResult& body, pb::Reply& out) {
  pb::AppendResult& to = *out.mutable_append_result();
  to.set_log(body.log);
  to.set_client(body.client);
  to.set_incarnation(body.incarnation);
  for (size_t i = 0; i < body.outcomes.size();) {
    const AppendOutcome& first = body.outcomes[i];
    uint32_t count = 1;
    while (i + count < body.outcomes.size() && body.outcomes[i + count] == in_run(first, count)) {
      ++count;
    }
    to.add_sequences(first.sequence);
    to.add_counts(count);
    to.add_codes(control::code_to_wire(first.code));
    to.add_positions(first.position.value);
    to.add_terms(first.term.value);
    i += count;
  }
  put(body.hint, *to.mutable_hint());
}

void put(const Entries& body, pb::Reply& out) {
  pb::Entries& to = *out.mutable_entries();
  to.set_log(body.log);
  to.set_next(body.next.value);
  to.set_committed(body.committed.value);
  to.set_last(body.last);
  to.mutable_entries()->Reserve(static_cast<int>(body.entries.size()));
  for (const ReadEntry& entry : body.entries) {
    pb::Entry& one = *to.add_entries();
    one.set_position(entry.position.value);
    one.set_term(entry.term.value);
    one.set_kind(static_cast<uint32_t>(entry.kind));
    one.set_client(entry.identity.client);
    one.set_incarnation(entry.identity.incarnation);
    one.set_sequence(entry.identity.sequence);
    one.set_payload(entry.payload);
  }
}

void put(const OrphanRecords& body, pb::Reply& out) {
  pb::OrphanRecords& to = *out.mutable_orphan_records();
  to.set_log(body.log);
  to.set_area_bytes(body.all.area_bytes);
  to.set_room_bytes(body.all.room_bytes);
  to.set_full(body.all.full);
  for (const OrphanRecord& record : body.all.records) {
    pb::OrphanRecord& one = *to.add_records();
    one.set_id(record.id);
    one.set_before(record.before.value);
    one.set_sealed_by(record.sealed_by.value);
    one.set_ring_bytes(record.ring_bytes);
    one.set_damaged(record.damaged);
  }
}
void put(const OrphanEntries& body, pb::Reply& out) {
  pb::OrphanEntries& to = *out.mutable_orphan_entries();
  to.set_log(body.log);
  to.set_record(body.record);
  to.set_position(body.next.position.value);
  to.set_end(body.next.end.value);
  to.set_term(body.next.term.value);
  to.set_chain(body.next.chain);
  to.set_last(body.last);
  to.set_damaged(body.damaged);
  for (const OrphanEntry& entry : body.entries) {
    pb::OrphanEntry& one = *to.add_entries();
    one.set_position(entry.position.value);
    one.set_term(entry.term.value);
    one.set_data(entry.data);
    one.set_batch_end(entry.batch_end);
    one.set_client(entry.identity.client);
    one.set_incarnation(entry.identity.incarnation);
    one.set_sequence(entry.identity.sequence);
    one.set_payload_bytes(entry.payload_bytes);
    one.set_fate(static_cast<uint32_t>(entry.fate));
    one.set_again(entry.again.value);
    one.set_payload(entry.payload.data(), entry.payload.size());
  }
}
void put(const Done& body, pb::Reply& out) {
  out.mutable_done()->set_log(body.log);
  out.mutable_done()->set_code(control::code_to_wire(body.code));
}
void put(const Trimmed& body, pb::Reply& out) {
  pb::Trimmed& to = *out.mutable_trimmed();
  to.set_log(body.log);
  to.set_code(control::code_to_wire(body.code));
  to.set_holder(body.holder.value);
  to.set_trimmed(body.trimmed.value);
}

void put(const Waited& body, pb::Reply& out) {
  pb::Waited& to = *out.mutable_waited();
  to.set_log(body.log);
  to.set_code(control::code_to_wire(body.code));
  to.set_committed(body.committed.value);
}

void put(const TailIs& body, pb::Reply& out) {
  pb::TailIs& to = *out.mutable_tail_is();
  to.set_log(body.log);
  to.set_position(body.position.value);
  to.set_term(body.term.value);
  to.set_linearizable(body.linearizable);
}

void put(const StatusIs& body, pb::Reply& out) { out.mutable_status_is()->set_json(body.json); }

void put(const Failed& body, pb::Reply& out) {
  pb::Failed& to = *out.mutable_failed();
  to.set_code(control::code_to_wire(body.code));
  to.set_message(body.message.substr(0, kErrorTextBytesMax));
  put(body.hint, *to.mutable_hint());
}

// ---- Protobuf to values ------------------------------------------------------------------------

Result<LeaderHint> get(pb::LeaderHint& in) {
  const auto leader = replica_or_none(in.leader());
  if (!leader || in.port() > UINT16_MAX || in.host().size() > kHostBytesMax) {
    return refuse("a leader hint is out of range");
  }
  return LeaderHint{*leader, Term{in.term()}, std::move(*in.mutable_host()),
                    static_cast<uint16_t>(in.port())};
}

Result<ReplyBody> get(const pb::LogOpened& in) {
  const auto leader = replica_or_none(in.leader());
  if (!leader) return refuse("LogOpened.leader is no replica id");
  return ReplyBody{LogOpened{in.log(), in.entry_bytes_max(), in.outstanding_max(), *leader,
                             Term{in.term()}, Position{in.committed()}, Position{in.trimmed()}}};
}

// True if every entry of a run has a sequence and a position of its own.
bool run_fits(const AppendOutcome& first, uint32_t count) {
  const uint64_t most = ~uint64_t{0} - count;
  return count != 0 && first.sequence != 0 && first.sequence <= most &&
         (first.code != Code::ok || first.position.value <= most);
}

Result<ReplyBody> get(pb::AppendResult& in) {
  const int runs = in.sequences_size();
  if (in.counts_size() != runs || in.codes_size() != runs || in.positions_size() != runs ||
      in.terms_size() != runs) {
    return refuse("AppendResult's lists differ in length");
  }
  AppendResult out{in.log(), in.client(), in.incarnation(), {}, {}};
  for (int i = 0; i < runs; ++i) {
    const auto code = control::code_from_wire(in.codes(i));
    if (!code) return refuse("AppendResult.codes holds an unknown code");
    const AppendOutcome first{in.sequences(i), *code, Position{in.positions(i)}, Term{in.terms(i)}};
    const uint32_t count = in.counts(i);
    if (count > kBatchEntriesMax - out.outcomes.size()) {
      return refuse("AppendResult holds more than 8192 outcomes");
    }
    if (!run_fits(first, count)) return refuse("AppendResult holds an impossible run");
    for (uint32_t k = 0; k < count; ++k) out.outcomes.push_back(in_run(first, k));
  }
  auto hint = get(*in.mutable_hint());
  if (!hint) return tl::unexpected(std::move(hint.error()));
  out.hint = std::move(*hint);
  return ReplyBody{std::move(out)};
}

Result<ReplyBody> get(pb::Entries& in) {
  if (in.entries_size() > static_cast<int>(kBatchEntriesMax)) {
    return refuse("Entries holds more than 8192 entries");
  }
  Entries out{in.log(), {}, Position{in.next()}, Position{in.committed()}, in.last()};
  out.entries.reserve(static_cast<size_t>(in.entries_size()));
  for (pb::Entry& entry : *in.mutable_entries()) {
    if (entry.kind() < log::kKindFirst || entry.kind() > log::kKindLast) {
      return refuse("Entries holds an unknown kind");
    }
    const Position position{entry.position()};
    if (position.value == 0 || (!out.entries.empty() && position <= out.entries.back().position)) {
      return refuse("Entries does not ascend");
    }
    out.entries.push_back(ReadEntry{position,
                                    Term{entry.term()},
                                    static_cast<log::Kind>(entry.kind()),
                                    {entry.client(), entry.incarnation(), entry.sequence()},
                                    std::move(*entry.mutable_payload())});
  }
  return ReplyBody{std::move(out)};
}

Result<ReplyBody> get(const pb::Trimmed& in) {
  const auto code = control::code_from_wire(in.code());
  const auto holder = replica_or_none(in.holder());
  if (!code || !holder) return refuse("Trimmed holds an unknown code or replica");
  return ReplyBody{Trimmed{in.log(), *code, *holder, Position{in.trimmed()}}};
}

Result<ReplyBody> get(const pb::Done& in) {
  const auto code = control::code_from_wire(in.code());
  if (!code) return refuse("Done.code is unknown");
  return ReplyBody{Done{in.log(), *code}};
}

Result<ReplyBody> get(const pb::Waited& in) {
  const auto code = control::code_from_wire(in.code());
  if (!code) return refuse("Waited.code is unknown");
  return ReplyBody{Waited{in.log(), *code, Position{in.committed()}}};
}

Result<ReplyBody> get(const pb::OrphanRecords& in) {
  if (in.records_size() > static_cast<int>(kBatchEntriesMax)) {
    return refuse("OrphanRecords holds more than 8192 records");
  }
  OrphanRecords out{in.log(), {{}, in.area_bytes(), in.room_bytes(), in.full()}};
  for (const pb::OrphanRecord& record : in.records()) {
    out.all.records.push_back({record.id(),
                               Position{record.before()},
                               Term{record.sealed_by()},
                               record.ring_bytes(),
                               record.damaged(),
                               {}});
  }
  return ReplyBody{std::move(out)};
}

Result<ReplyBody> get(const pb::OrphanEntries& in) {
  if (in.entries_size() > static_cast<int>(kBatchEntriesMax)) {
    return refuse("OrphanEntries holds more than 8192 entries");
  }
  OrphanEntries out{in.log(), in.record(), {}, {}, in.last(), in.damaged()};
  out.next = {Position{in.position()}, Offset{in.end()}, Term{in.term()}, in.chain()};
  for (const pb::OrphanEntry& entry : in.entries()) {
    if (entry.fate() > static_cast<uint32_t>(OrphanFate::unknown)) {
      return refuse("OrphanEntries holds an unknown fate");
    }
    const auto payload = std::as_bytes(std::span(entry.payload()));
    if (!payload.empty() && payload.size() != entry.payload_bytes()) {
      return refuse("OrphanEntries holds a payload of another length than it says");
    }
    OrphanEntry& one = out.entries.emplace_back();
    one.position = Position{entry.position()};
    one.term = Term{entry.term()};
    one.data = entry.data();
    one.batch_end = entry.batch_end();
    one.identity = {entry.client(), entry.incarnation(), entry.sequence()};
    one.payload_bytes = entry.payload_bytes();
    one.fate = static_cast<OrphanFate>(entry.fate());
    one.again = Position{entry.again()};
    one.payload.assign(payload.begin(), payload.end());
  }
  return ReplyBody{std::move(out)};
}

Result<ReplyBody> get(pb::StatusIs& in) {
  if (in.json().size() > kStatusBytesMax) return refuse("StatusIs exceeds 512 KiB");
  return ReplyBody{StatusIs{std::move(*in.mutable_json())}};
}

Result<ReplyBody> get(const pb::StreamOpened& in) {
  if (in.apologies_size() > static_cast<int>(log::kApologiesMax)) {
    return refuse("StreamOpened holds more than 8 apologies");
  }
  StreamOpened out{in.log(), in.client(), in.incarnation(), in.last_sequence(), {}};
  for (const pb::Apology& told : in.apologies()) {
    if (told.last_sequence() < told.first_sequence()) {
      return refuse("Apology.last_sequence lies before its first");
    }
    out.apologies.push_back(
        {told.incarnation(), told.first_sequence(), told.last_sequence(), Position{told.noted()}});
  }
  return ReplyBody{std::move(out)};
}

Result<ReplyBody> get(pb::Failed& in) {
  const auto code = control::code_from_wire(in.code());
  if (!code || *code == Code::ok) return refuse("Failed.code is unknown, or no failure");
  if (in.message().size() > kErrorTextBytesMax) return refuse("Failed.message is too long");
  auto hint = get(*in.mutable_hint());
  if (!hint) return tl::unexpected(std::move(hint.error()));
  return ReplyBody{Failed{*code, std::move(*in.mutable_message()), std::move(*hint)}};
}

Result<ReplyBody> body_of(pb::Reply& in) {
  switch (in.body_case()) {
    case pb::Reply::kLogOpened: return get(in.log_opened());
    case pb::Reply::kStreamOpened: return get(in.stream_opened());
    case pb::Reply::kAppendResult: return get(*in.mutable_append_result());
    case pb::Reply::kEntries: return get(*in.mutable_entries());
    case pb::Reply::kTrimmed: return get(in.trimmed());
    case pb::Reply::kWaited: return get(in.waited());
    case pb::Reply::kTailIs:
      return ReplyBody{TailIs{in.tail_is().log(), Position{in.tail_is().position()},
                              Term{in.tail_is().term()}, in.tail_is().linearizable()}};
    case pb::Reply::kStatusIs: return get(*in.mutable_status_is());
    case pb::Reply::kFailed: return get(*in.mutable_failed());
    case pb::Reply::kDone: return get(in.done());
    case pb::Reply::kOrphanRecords: return get(in.orphan_records());
    case pb::Reply::kOrphanEntries: return get(in.orphan_entries());
    case pb::Reply::BODY_NOT_SET: break;
  }
  return refuse("it holds no reply of this protocol version");
}

}  // namespace

std::string encode(const Reply& reply) {
  pb::Reply out;
  out.set_version(kClientProtocolVersion);
  out.set_id(reply.id);
  std::visit([&out](const auto& body) { put(body, out); }, reply.body);
  return out.SerializeAsString();
}

Result<Reply> decode_reply(std::span<const std::byte> bytes) try {
  return decode_message<Reply, pb::Reply>(bytes, kFrameBytesMax,
                                          [](pb::Reply& in) { return body_of(in); });
} catch (const std::exception&) {  // memory is all that protobuf can run out of
  return fail(Code::internal, "client message not decoded: out of memory");
}

}  // namespace caisson::engine::client
