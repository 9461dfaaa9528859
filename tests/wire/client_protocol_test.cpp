// SPDX-License-Identifier: BSD-3-Clause
// The client protocol: whatever is encoded is decoded again, and nothing else is.
#include "core/engine/client_protocol.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <utility>

#include "core/control/wire_code.hpp"
#include "core/engine/client.pb.h"
#include "core/engine/links.hpp"
#include "tests/wire/hostile_bytes.hpp"

namespace caisson::engine::client {
namespace {

using tests::as_bytes;

// ---- Any message -------------------------------------------------------------------------------

uint64_t any() { return *rc::gen::arbitrary<uint64_t>(); }
uint64_t wide() { return any() >> *rc::gen::inRange(0, 64); }
uint64_t from_one() { return (wide() >> 1) + 1; }
uint32_t any32() { return *rc::gen::arbitrary<uint32_t>(); }
bool coin() { return *rc::gen::arbitrary<bool>(); }
Code any_code() { return *rc::gen::elementOf(control::kWireCodes); }
ReplicaId any_replica() {
  return ReplicaId{static_cast<uint8_t>(*rc::gen::inRange(0, kReplicaIdMax + 1))};
}
std::string any_text(size_t longest) {
  return *rc::gen::resize(static_cast<int>(longest),
                          rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
}
LeaderHint any_hint() {
  return {any_replica(), Term{wide()}, any_text(200), *rc::gen::arbitrary<uint16_t>()};
}

Append any_append() {
  Append append{wide(), from_one(), any32(), from_one(), Durability::persisted, any(), coin(), {}};
  append.durability =
      *rc::gen::element(Durability::volatile_, Durability::local, Durability::replicated,
                        Durability::persisted, Durability::all);
  const int count = *rc::gen::inRange(1, 20);
  for (int i = 0; i < count; ++i) append.payloads.push_back(any_text(100));
  return append;
}

Read any_read() {
  Read read;
  read.log = wide();
  read.from = Position{from_one()};
  read.to = coin() ? Position{0} : read.from + (wide() >> 1);
  read.entries_max = *rc::gen::inRange<uint32_t>(1, kBatchEntriesMax + 1);
  read.bytes_max = *rc::gen::inRange<uint64_t>(1, kBatchBytesMax + 1);
  read.timeout_us = any();
  read.follow = coin();
  return read;
}

log::Cursor any_cursor() { return {Position{any()}, Offset{any()}, Term{any()}, any32()}; }

Request any_request() {
  Request request{any(), Status{}};
  switch (*rc::gen::inRange(0, 14)) {
    case 11: request.body = OrphansOf{wide(), wide(), any_cursor(), coin()}; break;
    case 12: request.body = DiscardOrphans{wide(), from_one()}; break;
    case 10: request.body = TakeApologies{wide(), from_one(), Position{from_one()}}; break;
    case 0: request.body = OpenLog{"x" + any_text(63).substr(0, 63)}; break;
    case 1: request.body = OpenStream{wide(), from_one(), coin(), any32(), any()}; break;
    case 2: request.body = any_append(); break;
    case 3: request.body = any_read(); break;
    case 4: request.body = Trim{wide(), Position{wide()}}; break;
    case 5: request.body = WaitFor{wide(), Position{wide()}, any()}; break;
    case 6: request.body = Tail{wide(), *rc::gen::inRange<uint32_t>(0, 4), wide()}; break;
    case 7: request.body = Cancel{}; break;
    case 8: {
      const auto set = [] { return ReplicaSet{any() & ~uint64_t{1}}; };
      request.body = ChangeMembers{wide(), set(), set(), set(), View{wide()}, set()};
      break;
    }
    case 9: request.body = HandOver{wide(), ReplicaId{*rc::gen::inRange<uint8_t>(1, 64)}}; break;
    default: break;
  }
  return request;
}

// Mostly runs, as real outcomes are, with breaks of every kind in between.
AppendResult any_append_result() {
  AppendResult result{wide(), from_one(), any32(), {}, any_hint()};
  const int count = *rc::gen::inRange(0, 60);
  AppendOutcome next{from_one(), any_code(), Position{wide() >> 1}, Term{wide()}};
  for (int i = 0; i < count; ++i) {
    result.outcomes.push_back(next);
    next.sequence += 1;
    next.position.value += 1;
    switch (*rc::gen::inRange(0, 12)) {
      case 0: next.code = any_code(); break;
      case 1: next.position.value += 3; break;
      case 2: next.term.value += 256; break;
      case 3: next.sequence += 5; break;
      case 4: next.position.value -= 1; break;
      default: break;
    }
  }
  return result;
}

Entries any_entries() {
  Entries entries{wide(), {}, Position{wide()}, Position{wide()}, coin()};
  const int count = *rc::gen::inRange(0, 20);
  Position position{from_one()};
  for (int i = 0; i < count; ++i) {
    const auto kind =
        static_cast<log::Kind>(*rc::gen::inRange<int>(log::kKindFirst, log::kKindLast + 1));
    entries.entries.push_back(
        {position, Term{wide()}, kind, {any(), any32(), any()}, any_text(100)});
    position.value += *rc::gen::inRange<uint64_t>(1, 100);
  }
  return entries;
}

OrphanRecords any_orphan_records() {
  OrphanRecords records{wide(), {{}, any(), any(), coin()}};
  const int count = *rc::gen::inRange(0, 20);
  for (int i = 0; i < count; ++i) {
    records.all.records.push_back({any(), Position{any()}, Term{any()}, any(), coin(), {}});
  }
  return records;
}

OrphanEntries any_orphan_entries() {
  OrphanEntries entries{wide(), from_one(), {}, any_cursor(), coin(), coin()};
  const int count = *rc::gen::inRange(0, 20);
  for (int i = 0; i < count; ++i) {
    OrphanEntry& entry = entries.entries.emplace_back();
    entry = {Position{any()}, Term{any()},  coin(), coin(), {any(), any32(), any()},
             any32(),         OrphanFate{}, {},     {}};
    entry.fate = static_cast<OrphanFate>(*rc::gen::inRange(0, 4));
    entry.again = Position{any()};
    const std::string payload = coin() ? any_text(50) : std::string();
    if (!payload.empty()) entry.payload_bytes = static_cast<uint32_t>(payload.size());
    const auto bytes = std::as_bytes(std::span(payload));
    entry.payload.assign(bytes.begin(), bytes.end());
  }
  return entries;
}

Reply any_reply() {
  Reply reply{any(), StatusIs{any_text(500)}};
  switch (*rc::gen::inRange(0, 12)) {
    case 9: reply.body = any_orphan_records(); break;
    case 10: reply.body = any_orphan_entries(); break;
    case 8: reply.body = Done{wide(), any_code()}; break;
    case 0:
      reply.body = LogOpened{wide(),       wide(),           any32(),         any_replica(),
                             Term{wide()}, Position{wide()}, Position{wide()}};
      break;
    case 1: {
      StreamOpened opened{wide(), any(), any32(), any(), {}};
      for (int i = *rc::gen::inRange(0, 9); i > 0; --i) {
        const uint64_t first = wide() >> 1;
        opened.apologies.push_back({any32(), first, first + (wide() >> 1), Position{any()}});
      }
      reply.body = opened;
      break;
    }
    case 2: reply.body = any_append_result(); break;
    case 3: reply.body = any_entries(); break;
    case 4: reply.body = Trimmed{wide(), any_code(), any_replica(), Position{wide()}}; break;
    case 5: reply.body = Waited{wide(), any_code(), Position{wide()}}; break;
    case 6: reply.body = TailIs{wide(), Position{wide()}, Term{wide()}, coin()}; break;
    case 7: reply.body = Failed{Code::not_leader, any_text(200), any_hint()}; break;
    default: break;
  }
  return reply;
}

RC_GTEST_PROP(ClientProtocol, EveryRequestComesBackAsItWas, ()) {
  const Request request = any_request();
  const auto decoded = decode_request(as_bytes(encode(request)));
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(*decoded == request);
}

RC_GTEST_PROP(ClientProtocol, EveryReplyComesBackAsItWas, ()) {
  const Reply reply = any_reply();
  const auto decoded = decode_reply(as_bytes(encode(reply)));
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(*decoded == reply);
}

RC_GTEST_PROP(ClientProtocol, MutatedRequestsAreRefusedOrAreOtherValidOnes, ()) {
  const auto decoded = decode_request(as_bytes(tests::mutated(encode(any_request()))));
  if (decoded) {
    RC_ASSERT(*decode_request(as_bytes(encode(*decoded))) == *decoded);
  } else {
    RC_ASSERT(decoded.error().code == Code::invalid || decoded.error().code == Code::wrong_version);
  }
}

RC_GTEST_PROP(ClientProtocol, MutatedRepliesAreRefusedOrAreOtherValidOnes, ()) {
  const auto decoded = decode_reply(as_bytes(tests::mutated(encode(any_reply()))));
  if (decoded) {
    RC_ASSERT(*decode_reply(as_bytes(encode(*decoded))) == *decoded);
  } else {
    RC_ASSERT(decoded.error().code == Code::invalid || decoded.error().code == Code::wrong_version);
  }
}

// ---- Each rule ---------------------------------------------------------------------------------

Append plain_append() {
  Append append;
  append.log = 1;
  append.client = 9;
  append.first_sequence = 1;
  append.payloads = {"a", "", "c"};
  return append;
}

template <class Change>
void expect_request_refused(const RequestBody& body, Change change, std::string_view named,
                            Code code = Code::invalid) {
  pb::Request raw;
  ASSERT_TRUE(raw.ParseFromString(encode(Request{1, body})));
  change(raw);
  const auto decoded = decode_request(as_bytes(raw.SerializeAsString()));
  ASSERT_FALSE(decoded.has_value()) << named;
  EXPECT_EQ(decoded.error().code, code);
  EXPECT_NE(decoded.error().message.find(named), std::string::npos) << decoded.error().message;
}

template <class Change>
void expect_reply_refused(const ReplyBody& body, Change change, std::string_view named) {
  pb::Reply raw;
  ASSERT_TRUE(raw.ParseFromString(encode(Reply{1, body})));
  change(raw);
  const auto decoded = decode_reply(as_bytes(raw.SerializeAsString()));
  ASSERT_FALSE(decoded.has_value()) << named;
  EXPECT_EQ(decoded.error().code, Code::invalid);
  EXPECT_NE(decoded.error().message.find(named), std::string::npos) << decoded.error().message;
}

TEST(ClientProtocol, RefusesOtherVersionsAndEmptyMessages) {
  const auto newer = [](auto& raw) { raw.set_version(kClientProtocolVersion + 1); };
  expect_request_refused(Status{}, newer, "upgrade", Code::wrong_version);
  expect_request_refused(
      Status{}, [](pb::Request& raw) { raw.set_version(0); }, "version");
  expect_request_refused(
      Status{}, [](pb::Request& raw) { raw.clear_body(); }, "no request");
  expect_reply_refused(
      StatusIs{}, [](pb::Reply& raw) { raw.clear_body(); }, "no reply");
  EXPECT_FALSE(decode_request({}).has_value());
  EXPECT_FALSE(decode_reply({}).has_value());
}

TEST(ClientProtocol, RefusesNamesAndStreamsOutOfRange) {
  expect_request_refused(
      OpenLog{"x"}, [](pb::Request& raw) { raw.mutable_open_log()->set_name(""); }, "name");
  expect_request_refused(
      OpenLog{"x"},
      [](pb::Request& raw) { raw.mutable_open_log()->set_name(std::string(65, 'x')); }, "name");
  expect_request_refused(
      OpenStream{1, 1, false}, [](pb::Request& raw) { raw.mutable_open_stream()->set_client(0); },
      "client");
}

TEST(ClientProtocol, RefusesAppendsOutOfRange) {
  const auto refused = [](auto change, std::string_view named) {
    expect_request_refused(
        plain_append(), [change](pb::Request& raw) { change(*raw.mutable_append()); }, named);
  };
  refused([](pb::Append& raw) { raw.set_client(0); }, "client");
  refused([](pb::Append& raw) { raw.clear_payloads(); }, "payloads");
  refused([](pb::Append& raw) { raw.set_first_sequence(0); }, "first_sequence");
  refused([](pb::Append& raw) { raw.set_first_sequence(~uint64_t{0} - 1); }, "first_sequence");
  refused([](pb::Append& raw) { raw.set_durability(5); }, "durability");
  refused([](pb::Append& raw) { raw.add_payloads(std::string(kBatchBytesMax - 1, 'x')); }, "1 MiB");
  refused(
      [](pb::Append& raw) {
        while (raw.payloads_size() <= static_cast<int>(kBatchEntriesMax)) raw.add_payloads("");
      },
      "8192");
}

TEST(ClientProtocol, RefusesApologiesOutOfRange) {
  const TakeApologies taken{1, 7, Position{9}};
  expect_request_refused(
      taken, [](pb::Request& raw) { raw.mutable_take_apologies()->set_client(0); }, "client");
  expect_request_refused(
      taken, [](pb::Request& raw) { raw.mutable_take_apologies()->set_through(0); }, "through");
  const StreamOpened opened{1, 7, 2, 4, {{1, 5, 9, Position{30}}}};
  expect_reply_refused(
      opened,
      [](pb::Reply& raw) {
        raw.mutable_stream_opened()->mutable_apologies(0)->set_last_sequence(4);
      },
      "last_sequence");
  expect_reply_refused(
      opened,
      [](pb::Reply& raw) {
        for (int i = 0; i < 8; ++i) {
          *raw.mutable_stream_opened()->add_apologies() = raw.stream_opened().apologies(0);
        }
      },
      "apologies");
}

TEST(ClientProtocol, RefusesReadsOutOfRange) {
  Read read;
  read.from = Position{5};
  const auto refused = [&read](auto change, std::string_view named) {
    expect_request_refused(
        read, [change](pb::Request& raw) { change(*raw.mutable_read()); }, named);
  };
  refused([](pb::Read& raw) { raw.set_from(0); }, "Read.from");
  refused([](pb::Read& raw) { raw.set_to(4); }, "Read.to");
  refused([](pb::Read& raw) { raw.set_entries_max(0); }, "entries_max");
  refused([](pb::Read& raw) { raw.set_entries_max(kBatchEntriesMax + 1); }, "entries_max");
  refused([](pb::Read& raw) { raw.set_bytes_max(0); }, "bytes_max");
  refused([](pb::Read& raw) { raw.set_bytes_max(kBatchBytesMax + 1); }, "bytes_max");
}

TEST(ClientProtocol, RefusesAppendResultsOutOfRange) {
  AppendResult result;
  result.outcomes = {{1, Code::ok, Position{10}, Term{257}}};
  const auto refused = [&result](auto change, std::string_view named) {
    expect_reply_refused(
        result, [change](pb::Reply& raw) { change(*raw.mutable_append_result()); }, named);
  };
  refused([](pb::AppendResult& raw) { raw.add_terms(1); }, "length");
  refused([](pb::AppendResult& raw) { raw.set_codes(0, 32); }, "unknown code");
  refused([](pb::AppendResult& raw) { raw.set_counts(0, 0); }, "run");
  refused([](pb::AppendResult& raw) { raw.set_counts(0, kBatchEntriesMax + 1); }, "8192");
  refused([](pb::AppendResult& raw) { raw.set_counts(0, 0xffffffffu); }, "8192");
  refused([](pb::AppendResult& raw) { raw.set_sequences(0, 0); }, "run");
  refused([](pb::AppendResult& raw) { raw.set_sequences(0, ~uint64_t{0}); }, "run");
  refused([](pb::AppendResult& raw) { raw.set_positions(0, ~uint64_t{0}); }, "run");
  refused([](pb::AppendResult& raw) { raw.mutable_hint()->set_leader(64); }, "hint");
  refused([](pb::AppendResult& raw) { raw.mutable_hint()->set_port(65536); }, "hint");
  refused([](pb::AppendResult& raw) { raw.mutable_hint()->set_host(std::string(256, 'x')); },
          "hint");
}

TEST(ClientProtocol, RefusesOtherRepliesOutOfRange) {
  Entries entries;
  entries.entries = {{Position{1}, Term{1}, log::Kind::data, {}, "a"},
                     {Position{2}, Term{1}, log::Kind::data, {}, "b"}};
  const auto second = [](pb::Reply& raw) { return raw.mutable_entries()->mutable_entries(1); };
  expect_reply_refused(
      entries, [&](pb::Reply& raw) { second(raw)->set_kind(0); }, "kind");
  expect_reply_refused(
      entries, [&](pb::Reply& raw) { second(raw)->set_kind(9); }, "kind");
  expect_reply_refused(
      entries, [&](pb::Reply& raw) { second(raw)->set_position(1); }, "ascend");
  expect_reply_refused(
      LogOpened{}, [](pb::Reply& raw) { raw.mutable_log_opened()->set_leader(64); }, "leader");
  expect_reply_refused(
      Trimmed{}, [](pb::Reply& raw) { raw.mutable_trimmed()->set_holder(64); }, "Trimmed");
  expect_reply_refused(
      Waited{}, [](pb::Reply& raw) { raw.mutable_waited()->set_code(32); }, "Waited");
  expect_reply_refused(
      Failed{}, [](pb::Reply& raw) { raw.mutable_failed()->set_code(0); }, "Failed");
  expect_reply_refused(
      Failed{},
      [](pb::Reply& raw) {
        raw.mutable_failed()->set_message(std::string(kErrorTextBytesMax + 1, 'x'));
      },
      "message");
  expect_reply_refused(
      StatusIs{},
      [](pb::Reply& raw) {
        raw.mutable_status_is()->set_json(std::string(kStatusBytesMax + 1, 'x'));
      },
      "512 KiB");
}

TEST(ClientProtocol, TheFullestMessagesFitIntoAFrame) {
  Append append = plain_append();
  append.payloads.assign(kBatchEntriesMax, std::string(kBatchBytesMax / kBatchEntriesMax, 'x'));
  EXPECT_LE(encode(Request{~uint64_t{0}, append}).size(), kFrameBytesMax);
  AppendResult result;
  result.hint.host = std::string(255, 'x');
  for (uint64_t i = 0; i < kBatchEntriesMax; ++i) {
    result.outcomes.push_back({~uint64_t{0} - 9 * i - 1, Code::ok,
                               Position{~uint64_t{0} - 9 * i - 1}, Term{~uint64_t{0}}});
  }
  const std::string bytes = encode(Reply{~uint64_t{0}, result});
  EXPECT_LE(bytes.size(), kFrameBytesMax);
  EXPECT_TRUE(decode_reply(as_bytes(bytes)).has_value());
}

TEST(ClientProtocol, AThousandResultsInARowTakeAFewBytes) {
  AppendResult result;
  for (uint64_t i = 0; i < 1000; ++i) {
    result.outcomes.push_back({i + 1, Code::ok, Position{i + 70}, Term{257}});
  }
  EXPECT_LT(encode(Reply{7, result}).size(), 64u);
}

}  // namespace
}  // namespace caisson::engine::client
