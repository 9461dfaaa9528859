// SPDX-License-Identifier: BSD-3-Clause
// Frames that carry an application's state: read back as written, refused where a byte differs.
#include "core/control/state_format.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "core/control/wire.hpp"
#include "tests/wire/hostile_bytes.hpp"

namespace caisson::control {
namespace {

using tests::as_bytes;

StateFrame piece(std::span<const std::byte> bytes) {
  StateFrame frame;
  frame.log = {{1, 2, 3}, 9};
  frame.from = ReplicaId{2};
  frame.to = ReplicaId{3};
  frame.kind = StateKind::give;
  frame.nonce = 77;
  frame.identity = 5;
  frame.position = Position{100};
  frame.state_bytes = 1 << 20;
  frame.offset = 4096;
  frame.bytes = bytes;
  return frame;
}

RC_GTEST_PROP(StateFormat, ComesBackAsWritten, ()) {
  const auto payload = *rc::gen::nonEmpty(rc::gen::arbitrary<std::vector<uint8_t>>());
  StateFrame frame = piece(std::as_bytes(std::span(payload)));
  frame.nonce = *rc::gen::arbitrary<uint64_t>();
  frame.position = Position{*rc::gen::arbitrary<uint64_t>()};
  frame.last = *rc::gen::arbitrary<bool>();
  if (frame.last) frame.state_bytes = frame.offset + payload.size();
  const std::string encoded = encode_state(frame);
  RC_ASSERT(is_state_frame(as_bytes(encoded)));
  const auto decoded = decode_state(as_bytes(encoded));
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(encode_state(*decoded) == encoded);
  RC_ASSERT(decoded->log == frame.log && decoded->nonce == frame.nonce &&
            decoded->position == frame.position && decoded->last == frame.last);
}

RC_GTEST_PROP(StateFormat, AByteThatDiffersIsFound, ()) {
  const std::vector<uint8_t> payload(300, 7);
  const std::string encoded = encode_state(piece(std::as_bytes(std::span(payload))));
  const std::string hostile = tests::mutated(encoded);
  const auto decoded = decode_state(as_bytes(hostile));
  RC_ASSERT(decoded.has_value() == (hostile == encoded));
}

TEST(StateFormat, IsNeverTakenForAControlMessageNorTheOtherWayRound) {
  const std::vector<uint8_t> payload(10, 7);
  const std::string frame = encode_state(piece(std::as_bytes(std::span(payload))));
  EXPECT_FALSE(decode(as_bytes(frame)).has_value());
  const std::string message =
      encode({LogIdentity{{1}, 9}, ReplicaId{1}, ReplicaId{2}, Fenced{Term{513}}});
  EXPECT_FALSE(is_state_frame(as_bytes(message)));
}

TEST(StateFormat, FieldsThatContradictEachOtherAreRefused) {
  const std::vector<uint8_t> payload(10, 7);
  const StateFrame good = piece(std::as_bytes(std::span(payload)));
  std::vector<StateFrame> bad(9, good);
  bad[0].from = ReplicaId{0};
  bad[1].to = ReplicaId{64};
  bad[2].identity = 0;
  bad[3].bytes = {};
  bad[4].state_bytes = 4100;
  bad[5].last = true;
  bad[6].code = Code::not_yet;
  bad[7].bytes_max = 1;
  bad[8].kind = StateKind::ask;
  for (size_t i = 0; i < bad.size(); ++i) {
    const auto decoded = decode_state(as_bytes(encode_state(bad[i])));
    ASSERT_FALSE(decoded) << i;
    EXPECT_EQ(decoded.error().code, Code::invalid) << i;
  }
  StateFrame ask = good;
  ask.kind = StateKind::ask;
  ask.bytes = {};
  ask.state_bytes = 0;
  ask.bytes_max = kStateChunkBytesMax;
  EXPECT_TRUE(decode_state(as_bytes(encode_state(ask))));
  ask.bytes_max = kStateChunkBytesMax + 1;
  EXPECT_FALSE(decode_state(as_bytes(encode_state(ask))));
  ask.bytes_max = 1;
  ask.identity = 0;
  EXPECT_FALSE(decode_state(as_bytes(encode_state(ask)))) << "an offset into nothing";
}

}  // namespace
}  // namespace caisson::control
