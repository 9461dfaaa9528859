// SPDX-License-Identifier: BSD-3-Clause
// What parts of a fabric tell each other, from one poller to another.
#include "core/control/introduction_format.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <vector>

#include "core/control/batch_format.hpp"
#include "core/control/state_format.hpp"
#include "core/engine/introductions.hpp"

namespace caisson::control {
namespace {

constexpr LogIdentity kLog{{1, 2, 3}, 7};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}
Code refusal(const std::string& frame) {
  const auto decoded = decode_introduction(bytes_of(frame));
  return decoded ? Code::ok : decoded.error().code;
}
std::string frame_of(std::string_view said) {
  return encode_introduction({kLog, ReplicaId{1}, ReplicaId{2}, std::as_bytes(std::span(said))});
}

TEST(IntroductionFormat, ItComesOutAsItWentIn) {
  const std::string frame = frame_of("hello");
  EXPECT_TRUE(is_introduction_frame(bytes_of(frame)));
  EXPECT_FALSE(is_batch_frame(bytes_of(frame)) || is_state_frame(bytes_of(frame)));
  const auto decoded = decode_introduction(bytes_of(frame));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->log, kLog);
  EXPECT_EQ(decoded->from, ReplicaId{1});
  EXPECT_EQ(decoded->to, ReplicaId{2});
  EXPECT_EQ(decoded->introduction.size(), 5u);
  EXPECT_EQ(std::memcmp(decoded->introduction.data(), "hello", 5), 0);
}

TEST(IntroductionFormat, HostileFramesAreRefused) {
  const std::string good = frame_of("hello");
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_EQ(refusal(good.substr(0, n)), Code::invalid) << "cut after " << n;
  }
  EXPECT_EQ(refusal(good + "x"), Code::invalid) << "more follows";
  EXPECT_EQ(refusal(frame_of("")), Code::invalid) << "it says nothing";
  EXPECT_EQ(refusal(frame_of(std::string(kIntroductionBytesMax, 'x'))), Code::ok);
  EXPECT_EQ(refusal(frame_of(std::string(kIntroductionBytesMax + 1, 'x'))), Code::invalid);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_NE(refusal(bad), Code::ok) << "byte " << at;
  }
  std::string newer = good;
  newer[offsetof(IntroductionHeader, version)] = 2;
  EXPECT_EQ(refusal(newer), Code::wrong_version);
  const auto to = [](uint8_t from, uint8_t target) {
    return encode_introduction(
        {kLog, ReplicaId{from}, ReplicaId{target}, std::as_bytes(std::span("x", 1))});
  };
  EXPECT_EQ(refusal(to(0, 1)), Code::invalid);
  EXPECT_EQ(refusal(to(1, 0)), Code::invalid);
  EXPECT_EQ(refusal(to(64, 1)), Code::invalid);
}

// Says one thing to everybody, once; takes in whatever it is told.
class Chatty final : public transport::Introducible {
 public:
  std::vector<std::byte> introduction(ReplicaId peer, uint64_t now_ns) override {
    if (told_.has(peer) || now_ns < 5) return {};
    told_.add(peer);
    return {std::byte{42}};
  }
  Code meet(ReplicaId peer, std::span<const std::byte> introduction) override {
    heard.emplace_back(peer, introduction.size());
    return answer;
  }

  std::vector<std::pair<ReplicaId, size_t>> heard;
  Code answer = Code::ok;

 private:
  ReplicaSet told_;
};

TEST(Introductions, AreCarriedToEachPeerAndComeIn) {
  Chatty part;
  std::deque<std::pair<ReplicaId, std::string>> sent;
  ReplicaSet peers;
  peers.add(ReplicaId{2});
  peers.add(ReplicaId{3});
  engine::Introductions introductions(
      part, kLog, ReplicaId{1}, peers,
      [&](ReplicaId to, std::string frame) { sent.emplace_back(to, std::move(frame)); });
  introductions.tell(1);
  EXPECT_TRUE(sent.empty()) << "there is nothing to tell yet";
  introductions.tell(5);
  introductions.tell(6);
  ASSERT_EQ(sent.size(), 2u);
  for (const auto& [to, frame] : sent) {
    const auto decoded = decode_introduction(bytes_of(frame));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->log, kLog);
    EXPECT_EQ(decoded->from, ReplicaId{1});
    EXPECT_EQ(decoded->to, to);
  }

  const std::byte said[3]{};
  Code code = Code::ok;
  EXPECT_FALSE(introductions.hear(ReplicaId{2}, said, code));
  ASSERT_EQ(part.heard.size(), 1u);
  EXPECT_EQ(part.heard[0], std::pair(ReplicaId{2}, size_t{3}));
  part.answer = Code::invalid;
  EXPECT_TRUE(introductions.hear(ReplicaId{2}, said, code)) << "news";
  EXPECT_EQ(code, Code::invalid);
  EXPECT_FALSE(introductions.hear(ReplicaId{2}, said, code)) << "the same again is none";
  EXPECT_TRUE(introductions.hear(ReplicaId{3}, said, code)) << "of somebody else it is";
  part.answer = Code::ok;
  EXPECT_TRUE(introductions.hear(ReplicaId{2}, said, code));
  EXPECT_TRUE(introductions.hear(ReplicaId{9}, said, code));
  EXPECT_EQ(code, Code::not_found) << "no peer";
  EXPECT_EQ(part.heard.size(), 5u);
}

}  // namespace
}  // namespace caisson::control
