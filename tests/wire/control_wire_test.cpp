// SPDX-License-Identifier: BSD-3-Clause
// Control messages: whatever is encoded is decoded again, and nothing else is.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/control/control.pb.h"
#include "core/control/wire.hpp"
#include "core/control/wire_code.hpp"
#include "tests/wire/hostile_bytes.hpp"

namespace caisson::control {
namespace {

using tests::as_bytes;

template <class T>
bool same(const T& a, const T& b);

template <>
bool same(const PreSeal& a, const PreSeal& b) {
  return a.term == b.term && a.leader == b.leader && a.nonce == b.nonce && a.view == b.view;
}
template <>
bool same(const PreSealReply& a, const PreSealReply& b) {
  return a.nonce == b.nonce && a.stale == b.stale && a.promised == b.promised;
}
template <>
bool same(const Seal& a, const Seal& b) {
  return a.term == b.term && a.nonce == b.nonce && a.view == b.view && a.last == b.last;
}
bool same_grant(const transport::Grant& a, const transport::Grant& b) {
  return a.term == b.term && a.generation == b.generation && a.blob == b.blob;
}
template <>
bool same(const SealReply& a, const SealReply& b) {
  return a.term == b.term && a.nonce == b.nonce && a.code == b.code && a.promised == b.promised &&
         a.answer == b.answer && a.incarnation == b.incarnation && a.persistence == b.persistence &&
         a.tail == b.tail && a.trim == b.trim && a.committed == b.committed && a.birth == b.birth &&
         a.view == b.view && a.epochs == b.epochs && a.grant.has_value() == b.grant.has_value() &&
         (!a.grant.has_value() || same_grant(*a.grant, *b.grant));
}
template <>
bool same(const GrantRequest& a, const GrantRequest& b) {
  return a.term == b.term && a.nonce == b.nonce && a.answer == b.answer &&
         a.divergence == b.divergence;
}
template <>
bool same(const GrantReply& a, const GrantReply& b) {
  return a.term == b.term && a.nonce == b.nonce && a.code == b.code && a.answer == b.answer &&
         a.birth == b.birth && same_grant(a.grant, b.grant);
}
template <>
bool same(const Hello& a, const Hello& b) {
  return a.promised == b.promised && a.incarnation == b.incarnation && a.birth == b.birth;
}
template <>
bool same(const Fenced& a, const Fenced& b) {
  return a.promised == b.promised;
}

template <>
bool same(const Rebase& a, const Rebase& b) {
  return a.term == b.term && a.nonce == b.nonce && a.answer == b.answer && a.base == b.base &&
         a.view == b.view;
}
template <>
bool same(const Succeed& a, const Succeed& b) {
  return a.term == b.term;
}

bool same(const ReadRequest& a, const ReadRequest& b) {
  return a.nonce == b.nonce && a.through_log == b.through_log;
}

bool same(const ReadReply& a, const ReadReply& b) {
  return a.nonce == b.nonce && a.code == b.code && a.position == b.position;
}

bool same_envelope(const Envelope& a, const Envelope& b) {
  if (a.log != b.log || a.from != b.from || a.to != b.to) return false;
  if (a.message.index() != b.message.index()) return false;
  return std::visit(
      [&b](const auto& left) {
        return same(left, std::get<std::decay_t<decltype(left)>>(b.message));
      },
      a.message);
}

// ---- Any message -------------------------------------------------------------------------------

uint64_t any() { return *rc::gen::arbitrary<uint64_t>(); }
uint64_t wide() { return any() >> *rc::gen::inRange(0, 64); }

ReplicaId any_replica(int lowest) {
  return ReplicaId{static_cast<uint8_t>(*rc::gen::inRange(lowest, kReplicaIdMax + 1))};
}
Code any_code() { return *rc::gen::elementOf(kWireCodes); }
log::Cursor any_cursor() {
  return {Position{wide()}, Offset{wide()}, Term{wide()}, static_cast<uint32_t>(any())};
}

std::vector<Epoch> any_epochs() {
  const auto count = *rc::gen::inRange<size_t>(0, 20);
  std::vector<Epoch> epochs;
  Epoch last{Term{wide() >> 8}, Position{wide() >> 8}};
  for (size_t i = 0; i < count; ++i) {
    epochs.push_back(last);
    last.term.value += *rc::gen::inRange<uint64_t>(1, 1000);
    last.first.value += *rc::gen::inRange<uint64_t>(1, 1000);
  }
  return epochs;
}

log::ViewRun any_view(Position first) {
  log::ViewRun run{first, {}};
  if (*rc::gen::inRange(0, 4) == 0) return run;  // of who was not admitted yet
  log::Membership& m = run.membership;
  m.view = View{any() & 0xffffffff};
  m.voters = {(any() & ~uint64_t{1}) | 2};
  m.learners = ReplicaSet{any() & ~uint64_t{1}} - m.voters;
  if (*rc::gen::arbitrary<bool>()) {
    m.outgoing = ReplicaSet{any() & ~uint64_t{1}} - m.learners;
  } else {
    m.leaving = m.voters & ReplicaSet{any()};
  }
  m.quorum.commit = *rc::gen::element<uint8_t>(0, 2, kReplicaIdMax, log::QuorumSystem::kAll);
  m.standbys = m.learners & ReplicaSet{any()};
  if (!m.standbys.empty()) m.standby_bounds = {any() | 1, any(), any()};
  for_each(m.members(), [&](ReplicaId id) { m.births[id.value] = any(); });
  return run;
}

transport::Grant any_grant() {
  transport::Grant grant{Term{wide()}, any(), {}};
  grant.blob.resize(*rc::gen::inRange<size_t>(0, 300));
  for (auto& byte : grant.blob) byte = static_cast<std::byte>(any());
  return grant;
}

SealReply any_seal_reply() {
  SealReply reply;
  reply.term = Term{wide()};
  reply.nonce = any();
  reply.code = any_code();
  reply.promised = Term{wide()};
  reply.answer = any();
  reply.answer = any();
  reply.incarnation = Incarnation{wide()};
  reply.persistence = static_cast<Persistence>(*rc::gen::inRange(0, 4));
  reply.tail = any_cursor();
  reply.trim = any_cursor();
  reply.committed = Position{wide()};
  reply.birth = any();
  reply.view = any_view(Position{wide()});
  reply.epochs = any_epochs();
  if (*rc::gen::arbitrary<bool>()) reply.grant = any_grant();
  return reply;
}

GrantReply any_grant_reply() {
  GrantReply reply;
  reply.term = Term{wide()};
  reply.nonce = any();
  reply.code = any_code();
  reply.answer = any();
  reply.birth = any();
  reply.grant = any_grant();
  return reply;
}

Message any_message() {
  switch (*rc::gen::inRange(0, 12)) {
    case 0: return PreSeal{Term{wide()}, any_replica(0), any(), View{wide()}};
    case 1: return PreSealReply{any(), *rc::gen::arbitrary<bool>(), Term{wide()}};
    case 2: return Seal{Term{wide()}, any(), View{wide()}, Term{wide()}};
    case 3: return any_seal_reply();
    case 4: return GrantRequest{Term{wide()}, any(), any(), any_cursor()};
    case 5: return any_grant_reply();
    case 6: return Hello{Term{wide()}, Incarnation{wide()}, any()};
    case 7: return Rebase{Term{wide()}, any(), any(), any_cursor(), any_view(Position{wide()})};
    case 8: return Succeed{Term{wide()}};
    case 9: return ReadRequest{any(), *rc::gen::arbitrary<bool>()};
    case 10: return ReadReply{any(), any_code(), Position{wide()}};
    default: return Fenced{Term{wide()}};
  }
}

Envelope any_envelope() {
  Envelope envelope;
  for (auto& byte : envelope.log.cluster) byte = static_cast<uint8_t>(any());
  envelope.log.log = wide();
  envelope.from = any_replica(1);
  envelope.to = any_replica(1);
  envelope.message = any_message();
  return envelope;
}

// ---- A fixed one to break ----------------------------------------------------------------------

Envelope envelope_with(Message message) {
  Envelope envelope;
  for (size_t i = 0; i < 16; ++i) envelope.log.cluster[i] = static_cast<uint8_t>(i + 1);
  envelope.log.log = 7;
  envelope.from = ReplicaId{1};
  envelope.to = ReplicaId{2};
  envelope.message = std::move(message);
  return envelope;
}

SealReply plain_seal_reply() {
  SealReply reply;
  reply.term = Term{257};
  reply.code = Code::ok;
  reply.tail = {Position{9}, Offset{640}, Term{257}, 5};
  reply.epochs = {{Term{1}, Position{1}}, {Term{257}, Position{4}}};
  return reply;
}

// Applies `change` to the protobuf form of a valid message and decodes what comes out.
template <class Change>
Result<Envelope> decode_changed(const Message& message, Change change) {
  pb::Envelope raw;
  EXPECT_TRUE(raw.ParseFromString(encode(envelope_with(message))));
  change(raw);
  return decode(as_bytes(raw.SerializeAsString()));
}

template <class Change>
void expect_refused(const Message& message, Change change, std::string_view named,
                    Code code = Code::invalid) {
  const auto decoded = decode_changed(message, change);
  ASSERT_FALSE(decoded.has_value()) << named;
  EXPECT_EQ(decoded.error().code, code) << decoded.error().message;
  EXPECT_NE(decoded.error().message.find(named), std::string::npos) << decoded.error().message;
}

RC_GTEST_PROP(ControlWire, EveryMessageComesBackAsItWas, ()) {
  const Envelope envelope = any_envelope();
  const auto decoded = decode(as_bytes(encode(envelope)));
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(same_envelope(envelope, *decoded));
}

RC_GTEST_PROP(ControlWire, MutatedBytesAreRefusedOrAreAnotherValidMessage, ()) {
  const std::string bytes = tests::mutated(encode(any_envelope()));
  const auto decoded = decode(as_bytes(bytes));
  if (decoded) {
    const auto again = decode(as_bytes(encode(*decoded)));
    RC_ASSERT(again.has_value());
    RC_ASSERT(same_envelope(*decoded, *again));
  } else {
    RC_ASSERT(decoded.error().code == Code::invalid || decoded.error().code == Code::wrong_version);
    RC_ASSERT(!decoded.error().message.empty());
  }
}

RC_GTEST_PROP(ControlWire, RandomBytesNeverDecodeToAnInvalidMessage, ()) {
  const auto decoded =
      decode(as_bytes(*rc::gen::container<std::string>(rc::gen::arbitrary<char>())));
  if (decoded) RC_ASSERT(same_envelope(*decoded, *decode(as_bytes(encode(*decoded)))));
}

TEST(ControlWire, EverySubstitutedByteIsRefusedOrGivesAnotherValidMessage) {
  GrantReply grant;
  grant.grant.blob.resize(20, std::byte{0x80});
  for (const Message& message :
       {Message{plain_seal_reply()}, Message{grant}, Message{GrantRequest{Term{300}, 7, 9, {}}}}) {
    const std::string whole = encode(envelope_with(message));
    size_t refused = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string changed = whole;
        changed[at] = static_cast<char>(value);
        const auto decoded = decode(as_bytes(changed));
        if (!decoded) {
          ++refused;
          continue;
        }
        ASSERT_TRUE(same_envelope(*decoded, *decode(as_bytes(encode(*decoded))))) << at;
      }
    }
    EXPECT_GT(refused, whole.size()) << "most substitutions of tags and lengths must be refused";
  }
}

TEST(ControlWire, EveryTruncationIsRefused) {
  const std::string whole = encode(envelope_with(plain_seal_reply()));
  size_t refused = 0;
  for (size_t n = 0; n < whole.size(); ++n) {
    if (!decode(as_bytes(whole.substr(0, n)))) ++refused;
  }
  EXPECT_EQ(refused, whole.size());
}

TEST(ControlWire, RefusesAnEnvelopeWithoutAMessage) {
  expect_refused(
      Hello{}, [](pb::Envelope& raw) { raw.clear_message(); }, "no message");
  pb::Envelope raw;  // a kind that a later version may add: field 99, empty
  ASSERT_TRUE(raw.ParseFromString(encode(envelope_with(Hello{}))));
  raw.clear_message();
  const auto decoded = decode(as_bytes(raw.SerializeAsString() + std::string("\x9a\x06\x00", 3)));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().code, Code::invalid);
}

TEST(ControlWire, RefusesANewerProtocolByItsVersion) {
  expect_refused(
      Hello{}, [](pb::Envelope& raw) { raw.set_version(kProtocolVersion + 1); }, "upgrade",
      Code::wrong_version);
  expect_refused(
      Hello{}, [](pb::Envelope& raw) { raw.set_version(0); }, "version");
}

TEST(ControlWire, RefusesAClusterThatIsNot16Bytes) {
  for (const size_t n : {0u, 15u, 17u}) {
    expect_refused(
        Hello{}, [n](pb::Envelope& raw) { raw.set_cluster(std::string(n, 'x')); }, "16 bytes");
  }
}

TEST(ControlWire, RefusesReplicaIdsOutOfRange) {
  for (const uint32_t id : {0u, 64u, 257u, 0xffffffffu}) {
    expect_refused(
        Hello{}, [id](pb::Envelope& raw) { raw.set_from(id); }, "replica id");
    expect_refused(
        Hello{}, [id](pb::Envelope& raw) { raw.set_to(id); }, "replica id");
  }
  expect_refused(
      PreSeal{}, [](pb::Envelope& raw) { raw.mutable_pre_seal()->set_leader(64); },
      "PreSeal.leader");
}

TEST(ControlWire, RefusesUnknownCodesAndPersistence) {
  const uint32_t first_unknown = static_cast<uint32_t>(kWireCodes.size());
  expect_refused(
      plain_seal_reply(),
      [=](pb::Envelope& raw) { raw.mutable_seal_reply()->set_code(first_unknown); },
      "SealReply.code");
  expect_refused(
      GrantReply{}, [=](pb::Envelope& raw) { raw.mutable_grant_reply()->set_code(first_unknown); },
      "GrantReply.code");
  expect_refused(
      plain_seal_reply(), [](pb::Envelope& raw) { raw.mutable_seal_reply()->set_persistence(4); },
      "persistence");
}

TEST(ControlWire, RefusesGrantsThatAreTooLong) {
  const std::string blob((size_t{64} << 10) + 1, 'x');
  expect_refused(
      plain_seal_reply(),
      [&](pb::Envelope& raw) { raw.mutable_seal_reply()->mutable_grant()->set_blob(blob); },
      "SealReply.grant");
  expect_refused(
      GrantReply{}, [&](pb::Envelope& raw) { raw.mutable_grant_reply()->set_grant_blob(blob); },
      "GrantReply.grant_blob");
}

TEST(ControlWire, RefusesMissingCursors) {
  expect_refused(
      plain_seal_reply(), [](pb::Envelope& raw) { raw.mutable_seal_reply()->clear_tail(); },
      "tail");
  expect_refused(
      plain_seal_reply(), [](pb::Envelope& raw) { raw.mutable_seal_reply()->clear_trim(); },
      "trim");
  expect_refused(
      GrantRequest{}, [](pb::Envelope& raw) { raw.mutable_grant_request()->clear_divergence(); },
      "divergence");
}

TEST(ControlWire, RefusesEpochsThatDoNotAscend) {
  const auto with_epochs = [](std::vector<std::pair<uint64_t, uint64_t>> epochs) {
    return [epochs](pb::Envelope& raw) {
      raw.mutable_seal_reply()->clear_epoch_terms();
      raw.mutable_seal_reply()->clear_epoch_firsts();
      for (const auto& [term, first] : epochs) {
        raw.mutable_seal_reply()->add_epoch_terms(term);
        raw.mutable_seal_reply()->add_epoch_firsts(first);
      }
    };
  };
  expect_refused(plain_seal_reply(), with_epochs({{5, 1}, {5, 2}}), "ascend");
  expect_refused(plain_seal_reply(), with_epochs({{5, 1}, {4, 2}}), "ascend");
  expect_refused(plain_seal_reply(), with_epochs({{5, 2}, {6, 2}}), "ascend");
  expect_refused(plain_seal_reply(), with_epochs({{5, 2}, {6, 1}}), "ascend");
  expect_refused(
      plain_seal_reply(),
      [](pb::Envelope& raw) { raw.mutable_seal_reply()->add_epoch_terms(9999); }, "epochs");
}

TEST(ControlWire, TakesTheMostEpochsAndNotOneMore) {
  SealReply reply = plain_seal_reply();
  reply.epochs.clear();
  for (uint64_t i = 0; i < kEpochsMax; ++i) {
    reply.epochs.push_back({Term{(uint64_t{1} << 63) + i}, Position{(uint64_t{1} << 63) + i}});
  }
  EXPECT_TRUE(decode(as_bytes(encode(envelope_with(reply)))).has_value());
  reply.epochs.push_back({Term{~uint64_t{0}}, Position{~uint64_t{0}}});
  const auto decoded = decode(as_bytes(encode(envelope_with(reply))));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().code, Code::invalid);
}

TEST(ControlWire, TakesTheLargestGrantBlobAndNotOneByteMore) {
  GrantReply reply;
  reply.grant.blob.resize(kGrantBlobBytesMax);
  EXPECT_TRUE(decode(as_bytes(encode(envelope_with(reply)))).has_value());
  reply.grant.blob.resize(kGrantBlobBytesMax + 1);
  const auto decoded = decode(as_bytes(encode(envelope_with(reply))));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().code, Code::invalid);
}

TEST(ControlWire, RefusesMessagesLongerThanTheLimitUnread) {
  const std::string bytes(kMessageBytesMax + 1, '\0');
  const auto decoded = decode(as_bytes(bytes));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_NE(decoded.error().message.find("1 MiB"), std::string::npos);
}

TEST(ControlWire, EveryCodeHasItsOwnFrozenNumber) {
  for (uint32_t i = 0; i < kWireCodes.size(); ++i) {
    EXPECT_EQ(code_to_wire(kWireCodes[i]), i);
    EXPECT_EQ(code_from_wire(i), kWireCodes[i]);
    EXPECT_NE(name(kWireCodes[i]), "unknown");
  }
  EXPECT_EQ(name(static_cast<Code>(kWireCodes.size())), "unknown")
      << "a new Code needs a number at the end of kWireCodes and a line in control.proto";
}

}  // namespace
}  // namespace caisson::control
