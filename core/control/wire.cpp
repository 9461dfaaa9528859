// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/wire.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "core/control/control.pb.h"
#include "core/control/wire_code.hpp"

namespace caisson::control {
namespace {

constexpr size_t kClusterBytes = std::tuple_size_v<decltype(LogIdentity::cluster)>;

// The largest message, a SealReply full of epochs, must fit. A varint takes at most 10 bytes.
static_assert(kEpochsMax * 2 * 10 + 4096 < kMessageBytesMax);
static_assert(kGrantBlobBytesMax + 4096 < kMessageBytesMax);

// ---- Values to protobuf ------------------------------------------------------------------------

void put(const log::Cursor& cursor, pb::Cursor& out) {
  out.set_position(cursor.position.value);
  out.set_end(cursor.end.value);
  out.set_term(cursor.term.value);
  out.set_chain(cursor.chain);
}

void put(const log::ViewRun& run, pb::ViewRun& out) {
  out.set_first(run.first.value);
  if (run.membership == log::Membership{}) return;
  const std::vector<std::byte> bytes = log::encode_view(run.membership);
  out.set_view(bytes.data(), bytes.size());
}

void put(const PreSeal& message, pb::Envelope& envelope) {
  pb::PreSeal& out = *envelope.mutable_pre_seal();
  out.set_term(message.term.value);
  out.set_leader(message.leader.value);
  out.set_nonce(message.nonce);
  out.set_view(message.view.value);
}

void put(const PreSealReply& message, pb::Envelope& envelope) {
  pb::PreSealReply& out = *envelope.mutable_pre_seal_reply();
  out.set_nonce(message.nonce);
  out.set_stale(message.stale);
  out.set_promised(message.promised.value);
}

void put(const Seal& message, pb::Envelope& envelope) {
  pb::Seal& out = *envelope.mutable_seal();
  out.set_term(message.term.value);
  out.set_nonce(message.nonce);
  out.set_view(message.view.value);
  out.set_last(message.last.value);
}

void put(const SealReply& message, pb::Envelope& envelope) {
  pb::SealReply& out = *envelope.mutable_seal_reply();
  out.set_term(message.term.value);
  out.set_nonce(message.nonce);
  out.set_code(code_to_wire(message.code));
  out.set_promised(message.promised.value);
  out.set_incarnation(message.incarnation.value);
  out.set_persistence(static_cast<uint32_t>(message.persistence));
  put(message.tail, *out.mutable_tail());
  put(message.trim, *out.mutable_trim());
  out.set_answer(message.answer);
  out.set_committed(message.committed.value);
  out.set_birth(message.birth);
  put(message.view, *out.mutable_view());
  for (const Epoch& epoch : message.epochs) {
    out.add_epoch_terms(epoch.term.value);
    out.add_epoch_firsts(epoch.first.value);
  }
  if (!message.grant.has_value()) return;
  pb::Grant& grant = *out.mutable_grant();
  grant.set_term(message.grant->term.value);
  grant.set_generation(message.grant->generation);
  grant.set_blob(message.grant->blob.data(), message.grant->blob.size());
}

void put(const GrantRequest& message, pb::Envelope& envelope) {
  pb::GrantRequest& out = *envelope.mutable_grant_request();
  out.set_term(message.term.value);
  out.set_nonce(message.nonce);
  put(message.divergence, *out.mutable_divergence());
  out.set_answer(message.answer);
}

void put(const GrantReply& message, pb::Envelope& envelope) {
  pb::GrantReply& out = *envelope.mutable_grant_reply();
  out.set_term(message.term.value);
  out.set_nonce(message.nonce);
  out.set_code(code_to_wire(message.code));
  out.set_answer(message.answer);
  out.set_birth(message.birth);
  out.set_grant_term(message.grant.term.value);
  out.set_grant_generation(message.grant.generation);
  out.set_grant_blob(message.grant.blob.data(), message.grant.blob.size());
}

void put(const Hello& message, pb::Envelope& envelope) {
  pb::Hello& out = *envelope.mutable_hello();
  out.set_promised(message.promised.value);
  out.set_incarnation(message.incarnation.value);
  out.set_birth(message.birth);
}

void put(const Rebase& message, pb::Envelope& envelope) {
  pb::Rebase& out = *envelope.mutable_rebase();
  out.set_term(message.term.value);
  out.set_nonce(message.nonce);
  out.set_answer(message.answer);
  put(message.base, *out.mutable_base());
  put(message.view, *out.mutable_view());
}

void put(const Succeed& message, pb::Envelope& envelope) {
  envelope.mutable_succeed()->set_term(message.term.value);
}

void put(const Fenced& message, pb::Envelope& envelope) {
  envelope.mutable_fenced()->set_promised(message.promised.value);
}

void put(const ReadRequest& message, pb::Envelope& envelope) {
  pb::ReadRequest& out = *envelope.mutable_read_request();
  out.set_nonce(message.nonce);
  out.set_through_log(message.through_log);
}

void put(const ReadReply& message, pb::Envelope& envelope) {
  pb::ReadReply& out = *envelope.mutable_read_reply();
  out.set_nonce(message.nonce);
  out.set_code(code_to_wire(message.code));
  out.set_position(message.position.value);
}

// ---- Protobuf to values ------------------------------------------------------------------------

tl::unexpected<Error> refuse(std::string_view what) {
  return fail(Code::invalid, "control message refused: " + std::string(what));
}

template <class T>
Result<Message> checked(T value) {
  return Message{std::move(value)};
}

log::Cursor cursor_of(const pb::Cursor& in) {
  return log::Cursor{Position{in.position()}, Offset{in.end()}, Term{in.term()}, in.chain()};
}

std::optional<ReplicaId> replica_of(uint32_t number) {
  if (number == 0 || number > kReplicaIdMax) return std::nullopt;
  return ReplicaId{static_cast<uint8_t>(number)};
}

Result<Message> get(const pb::PreSeal& in) {
  if (in.leader() > kReplicaIdMax) return refuse("PreSeal.leader is no replica id (0 to 63)");
  return checked(PreSeal{Term{in.term()}, ReplicaId{static_cast<uint8_t>(in.leader())}, in.nonce(),
                         View{in.view()}});
}

Result<std::vector<Epoch>> epochs_of(const pb::SealReply& in) {
  if (in.epoch_terms_size() != in.epoch_firsts_size()) {
    return refuse("SealReply.epochs has terms without positions");
  }
  const size_t count = static_cast<size_t>(in.epoch_terms_size());
  if (count > kEpochsMax) return refuse("SealReply.epochs is longer than 4096");
  std::vector<Epoch> epochs;
  epochs.reserve(count);
  for (int i = 0; i < in.epoch_terms_size(); ++i) {
    const Epoch epoch{Term{in.epoch_terms(i)}, Position{in.epoch_firsts(i)}};
    if (!epochs.empty() &&
        (epoch.term <= epochs.back().term || epoch.first <= epochs.back().first)) {
      return refuse("SealReply.epochs does not ascend");
    }
    epochs.push_back(epoch);
  }
  return epochs;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  std::transform(text.begin(), text.end(), bytes.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

Result<log::ViewRun> view_of(const pb::ViewRun& in) {
  log::ViewRun run{Position{in.first()}, {}};
  if (in.view().empty()) return run;
  const auto membership = log::decode_view(bytes_of(in.view()));
  if (!membership) return refuse("a view contradicts itself");
  run.membership = *membership;
  return run;
}

Result<Message> get(const pb::SealReply& in) {
  const auto code = code_from_wire(in.code());
  if (!code) return refuse("SealReply.code is unknown");
  if (in.persistence() > static_cast<uint32_t>(Persistence::eadr)) {
    return refuse("SealReply.persistence is unknown");
  }
  if (!in.has_tail() || !in.has_trim()) return refuse("SealReply lacks tail or trim");
  auto epochs = epochs_of(in);
  if (!epochs) return tl::unexpected(std::move(epochs.error()));
  SealReply out;
  out.term = Term{in.term()};
  out.nonce = in.nonce();
  out.code = *code;
  out.promised = Term{in.promised()};
  out.answer = in.answer();
  out.incarnation = Incarnation{in.incarnation()};
  out.persistence = static_cast<Persistence>(in.persistence());
  out.tail = cursor_of(in.tail());
  out.trim = cursor_of(in.trim());
  out.committed = Position{in.committed()};
  out.birth = in.birth();
  auto view = view_of(in.view());
  if (!view) return tl::unexpected(std::move(view.error()));
  out.view = std::move(*view);
  out.epochs = std::move(*epochs);
  if (in.has_grant()) {
    const std::string& blob = in.grant().blob();
    if (blob.size() > kGrantBlobBytesMax) return refuse("SealReply.grant.blob exceeds 64 KiB");
    out.grant = {Term{in.grant().term()}, in.grant().generation(), bytes_of(blob)};
  }
  return checked(std::move(out));
}

Result<Message> get(const pb::GrantRequest& in) {
  if (!in.has_divergence()) return refuse("GrantRequest lacks divergence");
  return checked(
      GrantRequest{Term{in.term()}, in.nonce(), in.answer(), cursor_of(in.divergence())});
}

Result<Message> get(const pb::GrantReply& in) {
  const auto code = code_from_wire(in.code());
  if (!code) return refuse("GrantReply.code is unknown");
  const std::string& blob = in.grant_blob();
  if (blob.size() > kGrantBlobBytesMax) return refuse("GrantReply.grant_blob exceeds 64 KiB");
  GrantReply out;
  out.term = Term{in.term()};
  out.nonce = in.nonce();
  out.code = *code;
  out.answer = in.answer();
  out.birth = in.birth();
  out.grant.term = Term{in.grant_term()};
  out.grant.generation = in.grant_generation();
  out.grant.blob = bytes_of(blob);
  return checked(std::move(out));
}

Result<Message> get(const pb::Rebase& in) {
  if (!in.has_base() || !in.has_view()) return refuse("Rebase lacks base or view");
  auto view = view_of(in.view());
  if (!view) return tl::unexpected(std::move(view.error()));
  return checked(
      Rebase{Term{in.term()}, in.nonce(), in.answer(), cursor_of(in.base()), std::move(*view)});
}

Result<Message> get(const pb::ReadReply& in) {
  const auto code = code_from_wire(in.code());
  if (!code) return refuse("ReadReply.code is unknown");
  return checked(ReadReply{in.nonce(), *code, Position{in.position()}});
}

Result<Message> message_of(const pb::Envelope& in) {
  switch (in.message_case()) {
    case pb::Envelope::kPreSeal: return get(in.pre_seal());
    case pb::Envelope::kPreSealReply:
      return checked(PreSealReply{in.pre_seal_reply().nonce(), in.pre_seal_reply().stale(),
                                  Term{in.pre_seal_reply().promised()}});
    case pb::Envelope::kSeal:
      return checked(Seal{Term{in.seal().term()}, in.seal().nonce(), View{in.seal().view()},
                          Term{in.seal().last()}});
    case pb::Envelope::kSealReply: return get(in.seal_reply());
    case pb::Envelope::kGrantRequest: return get(in.grant_request());
    case pb::Envelope::kGrantReply: return get(in.grant_reply());
    case pb::Envelope::kHello:
      return checked(Hello{Term{in.hello().promised()}, Incarnation{in.hello().incarnation()},
                           in.hello().birth()});
    case pb::Envelope::kFenced: return checked(Fenced{Term{in.fenced().promised()}});
    case pb::Envelope::kRebase: return get(in.rebase());
    case pb::Envelope::kSucceed: return checked(Succeed{Term{in.succeed().term()}});
    case pb::Envelope::kReadRequest:
      return checked(ReadRequest{in.read_request().nonce(), in.read_request().through_log()});
    case pb::Envelope::kReadReply: return get(in.read_reply());
    case pb::Envelope::MESSAGE_NOT_SET: break;
  }
  return refuse("it holds no message of this protocol version");
}

Result<Envelope> envelope_of(const pb::Envelope& in) {
  if (in.version() > kProtocolVersion) {
    return fail(Code::wrong_version, "control message of protocol version " +
                                         std::to_string(in.version()) +
                                         ", this node speaks up to " +
                                         std::to_string(kProtocolVersion) + ": upgrade this node");
  }
  if (in.version() == 0) return refuse("it names no protocol version");
  if (in.cluster().size() != kClusterBytes) return refuse("cluster is not 16 bytes");
  const auto from = replica_of(in.from());
  const auto to = replica_of(in.to());
  if (!from || !to) return refuse("from or to is no replica id (1 to 63)");
  auto message = message_of(in);
  if (!message) return tl::unexpected(std::move(message.error()));
  Envelope out;
  std::transform(in.cluster().begin(), in.cluster().end(), out.log.cluster.begin(),
                 [](char c) { return static_cast<uint8_t>(c); });
  out.log.log = in.log();
  out.from = *from;
  out.to = *to;
  out.message = std::move(*message);
  return out;
}

}  // namespace

std::string encode(const Envelope& envelope) {
  pb::Envelope out;
  out.set_version(kProtocolVersion);
  out.set_cluster(envelope.log.cluster.data(), envelope.log.cluster.size());
  out.set_log(envelope.log.log);
  out.set_from(envelope.from.value);
  out.set_to(envelope.to.value);
  std::visit([&out](const auto& message) { put(message, out); }, envelope.message);
  return out.SerializeAsString();
}

Result<Envelope> decode(std::span<const std::byte> bytes) try {
  if (bytes.size() > kMessageBytesMax) return refuse("it is longer than 1 MiB");
  pb::Envelope in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return refuse("it is not a protobuf envelope");
  }
  return envelope_of(in);
} catch (const std::exception&) {  // memory is all that protobuf can run out of
  return fail(Code::internal, "control message not decoded: out of memory");
}

}  // namespace caisson::control
