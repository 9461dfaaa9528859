// SPDX-License-Identifier: BSD-3-Clause
#include <exception>

#include "caisson/reads.hpp"
#include "core/engine/client_protocol_pb.hpp"
#include "core/engine/config.hpp"
#include "core/engine/links.hpp"

namespace caisson::engine::client {
namespace {

static_assert(kBatchBytesMax + kBatchEntriesMax * 4 + 1024 <= kFrameBytesMax,
              "a full Append fits into a frame: a payload costs a tag and a length besides itself");

// ---- Values to protobuf ------------------------------------------------------------------------

void put(const OpenLog& body, pb::Request& out) { out.mutable_open_log()->set_name(body.name); }

void put(const OpenStream& body, pb::Request& out) {
  pb::OpenStream& to = *out.mutable_open_stream();
  to.set_log(body.log);
  to.set_client(body.client);
  to.set_resume(body.resume);
  to.set_told_incarnation(body.told_incarnation);
  to.set_told_sequence(body.told_sequence);
}

void put(const TakeApologies& body, pb::Request& out) {
  pb::TakeApologies& to = *out.mutable_take_apologies();
  to.set_log(body.log);
  to.set_client(body.client);
  to.set_through(body.through.value);
}

void put(const Append& body, pb::Request& out) {
  pb::Append& to = *out.mutable_append();
  to.set_log(body.log);
  to.set_client(body.client);
  to.set_incarnation(body.incarnation);
  to.set_first_sequence(body.first_sequence);
  to.set_durability(static_cast<uint32_t>(body.durability));
  to.set_timeout_us(body.timeout_us);
  to.set_atomic(body.atomic);
  to.mutable_payloads()->Reserve(static_cast<int>(body.payloads.size()));
  for (const std::string& payload : body.payloads) to.add_payloads(payload);
}

void put(const Read& body, pb::Request& out) {
  pb::Read& to = *out.mutable_read();
  to.set_log(body.log);
  to.set_from(body.from.value);
  to.set_to(body.to.value);
  to.set_entries_max(body.entries_max);
  to.set_bytes_max(body.bytes_max);
  to.set_timeout_us(body.timeout_us);
  to.set_follow(body.follow);
}

void put(const Trim& body, pb::Request& out) {
  out.mutable_trim()->set_log(body.log);
  out.mutable_trim()->set_through(body.through.value);
}

void put(const WaitFor& body, pb::Request& out) {
  pb::WaitFor& to = *out.mutable_wait_for();
  to.set_log(body.log);
  to.set_position(body.position.value);
  to.set_timeout_us(body.timeout_us);
}

void put(const ChangeMembers& body, pb::Request& out) {
  pb::ChangeMembers& change = *out.mutable_change_members();
  change.set_log(body.log);
  change.set_add(body.add.bits);
  change.set_learn(body.learn.bits);
  change.set_remove(body.remove.bits);
  change.set_view(body.view.value);
  change.set_standby(body.standby.bits);
}
void put(const HandOver& body, pb::Request& out) {
  out.mutable_hand_over()->set_log(body.log);
  out.mutable_hand_over()->set_to(body.to.value);
}
void put(const OrphansOf& body, pb::Request& out) {
  pb::Orphans& to = *out.mutable_orphans();
  to.set_log(body.log);
  to.set_record(body.record);
  to.set_position(body.from.position.value);
  to.set_end(body.from.end.value);
  to.set_term(body.from.term.value);
  to.set_chain(body.from.chain);
  to.set_payloads(body.payloads);
}
void put(const DiscardOrphans& body, pb::Request& out) {
  out.mutable_discard_orphans()->set_log(body.log);
  out.mutable_discard_orphans()->set_record(body.record);
}
void put(const Tail& body, pb::Request& out) {
  pb::Tail& to = *out.mutable_tail();
  to.set_log(body.log);
  to.set_path(body.path);
  to.set_timeout_us(body.timeout_us);
}
void put(const Status&, pb::Request& out) { out.mutable_status(); }
void put(const Cancel&, pb::Request& out) { out.mutable_cancel(); }

// ---- Protobuf to values ------------------------------------------------------------------------

Result<RequestBody> get(pb::OpenLog& in) {
  if (in.name().empty() || in.name().size() > kLogNameBytesMax) {
    return refuse("OpenLog.name is not 1 to 64 bytes long");
  }
  return RequestBody{OpenLog{std::move(*in.mutable_name())}};
}

Result<RequestBody> get(const pb::OpenStream& in) {
  if (in.client() == 0) return refuse("OpenStream.client is 0");
  return RequestBody{
      OpenStream{in.log(), in.client(), in.resume(), in.told_incarnation(), in.told_sequence()}};
}

Result<RequestBody> get(const pb::TakeApologies& in) {
  if (in.client() == 0) return refuse("TakeApologies.client is 0");
  if (in.through() == 0) return refuse("TakeApologies.through is 0: positions begin at 1");
  return RequestBody{TakeApologies{in.log(), in.client(), Position{in.through()}}};
}

Result<RequestBody> get(pb::Append& in) {
  if (in.client() == 0) return refuse("Append.client is 0");
  const size_t count = static_cast<size_t>(in.payloads_size());
  if (count == 0 || count > kBatchEntriesMax) return refuse("Append holds not 1 to 8192 payloads");
  if (in.first_sequence() == 0 || in.first_sequence() > ~uint64_t{0} - count) {
    return refuse("Append.first_sequence leaves no room for its payloads");
  }
  if (in.durability() > static_cast<uint32_t>(Durability::all)) {
    return refuse("Append.durability is unknown");
  }
  Append out;
  size_t bytes = 0;
  out.payloads.reserve(count);
  for (std::string& payload : *in.mutable_payloads()) {
    bytes += payload.size();
    out.payloads.push_back(std::move(payload));
  }
  if (bytes > kBatchBytesMax) return refuse("Append holds more than 1 MiB of payloads");
  out.log = in.log();
  out.client = in.client();
  out.incarnation = in.incarnation();
  out.first_sequence = in.first_sequence();
  out.durability = static_cast<Durability>(in.durability());
  out.timeout_us = in.timeout_us();
  out.atomic = in.atomic();
  return RequestBody{std::move(out)};
}

Result<RequestBody> get(const pb::Read& in) {
  if (in.from() == 0) return refuse("Read.from is 0: positions begin at 1");
  if (in.to() != 0 && in.to() < in.from()) return refuse("Read.to lies before from");
  if (in.entries_max() == 0 || in.entries_max() > kBatchEntriesMax) {
    return refuse("Read.entries_max is not 1 to 8192");
  }
  if (in.bytes_max() == 0 || in.bytes_max() > kBatchBytesMax) {
    return refuse("Read.bytes_max is not 1 to 1048576");
  }
  return RequestBody{Read{in.log(), Position{in.from()}, Position{in.to()}, in.entries_max(),
                          in.bytes_max(), in.timeout_us(), in.follow()}};
}

Result<RequestBody> get(const pb::ChangeMembers& in) {
  const ReplicaSet add{in.add()}, learn{in.learn()}, remove{in.remove()}, standby{in.standby()};
  if ((add | learn | remove | standby).has(ReplicaId{})) {
    return refuse("ChangeMembers names replica 0");
  }
  return RequestBody{ChangeMembers{in.log(), add, learn, remove, View{in.view()}, standby}};
}

Result<RequestBody> get(const pb::HandOver& in) {
  if (in.to() == 0 || in.to() > kReplicaIdMax) {
    return refuse("HandOver.to is no replica id (1 to 63)");
  }
  return RequestBody{HandOver{in.log(), ReplicaId{static_cast<uint8_t>(in.to())}}};
}

Result<RequestBody> get(const pb::Orphans& in) {
  const log::Cursor from{Position{in.position()}, Offset{in.end()}, Term{in.term()}, in.chain()};
  return RequestBody{OrphansOf{in.log(), in.record(), from, in.payloads()}};
}

Result<RequestBody> get(const pb::DiscardOrphans& in) {
  if (in.record() == 0) return refuse("DiscardOrphans.record is 0");
  return RequestBody{DiscardOrphans{in.log(), in.record()}};
}

Result<RequestBody> get(const pb::Tail& in) {
  if (in.path() > static_cast<uint32_t>(ReadPath::proof)) return refuse("Tail.path is unknown");
  return RequestBody{Tail{in.log(), in.path(), in.timeout_us()}};
}

Result<RequestBody> body_of(pb::Request& in) {
  switch (in.body_case()) {
    case pb::Request::kOpenLog: return get(*in.mutable_open_log());
    case pb::Request::kOpenStream: return get(in.open_stream());
    case pb::Request::kAppend: return get(*in.mutable_append());
    case pb::Request::kRead: return get(in.read());
    case pb::Request::kTrim:
      return RequestBody{Trim{in.trim().log(), Position{in.trim().through()}}};
    case pb::Request::kWaitFor:
      return RequestBody{WaitFor{in.wait_for().log(), Position{in.wait_for().position()},
                                 in.wait_for().timeout_us()}};
    case pb::Request::kTail: return get(in.tail());
    case pb::Request::kStatus: return RequestBody{Status{}};
    case pb::Request::kCancel: return RequestBody{Cancel{}};
    case pb::Request::kChangeMembers: return get(in.change_members());
    case pb::Request::kHandOver: return get(in.hand_over());
    case pb::Request::kTakeApologies: return get(in.take_apologies());
    case pb::Request::kOrphans: return get(in.orphans());
    case pb::Request::kDiscardOrphans: return get(in.discard_orphans());
    case pb::Request::BODY_NOT_SET: break;
  }
  return refuse("it holds no request of this protocol version");
}

}  // namespace

std::string encode(const Request& request) {
  pb::Request out;
  out.set_version(kClientProtocolVersion);
  out.set_id(request.id);
  std::visit([&out](const auto& body) { put(body, out); }, request.body);
  return out.SerializeAsString();
}

Result<Request> decode_request(std::span<const std::byte> bytes) try {
  return decode_message<Request, pb::Request>(bytes, kFrameBytesMax,
                                              [](pb::Request& in) { return body_of(in); });
} catch (const std::exception&) {  // memory is all that protobuf can run out of
  return fail(Code::internal, "client message not decoded: out of memory");
}

}  // namespace caisson::engine::client
