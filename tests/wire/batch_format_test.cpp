// SPDX-License-Identifier: BSD-3-Clause
// R46: several control messages in one frame.
#include "core/control/batch_format.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/engine/turn_mail.hpp"

namespace caisson::control {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string frame_of(const std::vector<std::string>& messages) {
  Batch batch;
  for (const std::string& message : messages) EXPECT_TRUE(batch.add(message));
  return batch.take();
}
Code refusal(const std::string& frame) {
  const auto decoded = decode_batch(bytes_of(frame));
  return decoded ? Code::ok : decoded.error().code;
}

TEST(BatchFormat, MessagesComeOutAsTheyWentIn) {
  const std::vector<std::string> messages{"one", std::string(70'000, 'x'), std::string(3, '\0')};
  const std::string frame = frame_of(messages);
  EXPECT_TRUE(is_batch_frame(bytes_of(frame)));
  const auto decoded = decode_batch(bytes_of(frame));
  ASSERT_TRUE(decoded) << decoded.error().message;
  ASSERT_EQ(decoded->size(), messages.size());
  for (size_t i = 0; i < messages.size(); ++i) EXPECT_EQ(text_of((*decoded)[i]), messages[i]);
}

TEST(BatchFormat, ABatchIsBoundedInBytesAndMessages) {
  Batch batch;
  EXPECT_FALSE(batch.add(""));
  EXPECT_FALSE(batch.add(std::string(kBatchBytesMax, 'x')));
  EXPECT_TRUE(batch.add(std::string(kBatchBytesMax - sizeof(BatchHeader) - 4, 'x')));
  EXPECT_FALSE(batch.add("y"));
  EXPECT_EQ(batch.take().size(), kBatchBytesMax);
  for (size_t i = 0; i < kBatchMessagesMax; ++i) ASSERT_TRUE(batch.add("z"));
  EXPECT_FALSE(batch.add("z"));
  EXPECT_EQ(refusal(batch.take()), Code::ok);
  EXPECT_EQ(batch.messages(), 0u);
}

TEST(BatchFormat, HostileFramesAreRefused) {
  const std::string good = frame_of({"one", "two"});
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_EQ(refusal(good.substr(0, n)), Code::invalid) << "cut after " << n;
  }
  EXPECT_EQ(refusal(good + "x"), Code::invalid) << "more follows";
  EXPECT_EQ(refusal(std::string(kBatchBytesMax + 1, '\1')), Code::invalid);
  const auto with = [&](size_t at, const void* bytes, size_t n) {
    std::string frame = good;
    std::memcpy(frame.data() + at, bytes, n);
    return refusal(frame);
  };
  const uint16_t newer = kBatchVersion + 1, none = 0, many = kBatchMessagesMax + 1;
  const uint32_t far = UINT32_MAX;
  EXPECT_EQ(with(4, &newer, sizeof newer), Code::wrong_version);
  EXPECT_EQ(with(4, &none, sizeof none), Code::invalid);
  EXPECT_EQ(with(6, &none, sizeof none), Code::invalid);
  EXPECT_EQ(with(6, &many, sizeof many), Code::invalid);
  EXPECT_EQ(with(8, &far, sizeof far), Code::invalid);
}

// What was carried, and whether whoever it goes to reads batches.
struct Carried {
  explicit Carried(bool batches) {
    mail.set_carrier({[this](ReplicaId to, std::string frame) {
                        frames.push_back({to, std::move(frame)});
                      },
                      [batches](ReplicaId) { return batches; }});
  }
  std::vector<std::pair<ReplicaId, std::string>> frames;
  engine::TurnMail mail;
};

constexpr ReplicaId kTwo{2}, kThree{3};

TEST(TurnMail, OneFrameForEachNodeAndTurn) {
  Carried carried(true);
  carried.mail.begin();
  for (int log = 0; log < 40; ++log) {
    for (const ReplicaId to : {kTwo, kThree}) carried.mail.send(to, "seal", true);
  }
  EXPECT_TRUE(carried.frames.empty()) << "the turn goes on";
  carried.mail.end();
  ASSERT_EQ(carried.frames.size(), 2u);
  for (const auto& [to, frame] : carried.frames) {
    EXPECT_EQ(decode_batch(bytes_of(frame))->size(), 40u);
  }
  const engine::MailCounts counts = carried.mail.counts();
  EXPECT_EQ(counts.seals, 80u);
  EXPECT_EQ(counts.seal_frames, 2u);
  EXPECT_EQ(counts.messages, 80u);
  EXPECT_EQ(counts.frames, 2u);
}

TEST(TurnMail, AnOlderNodeGetsOneMessageAFrame) {
  Carried carried(false);
  carried.mail.begin();
  carried.mail.send(kTwo, "a", true);
  carried.mail.send(kTwo, "b", false);
  carried.mail.end();
  ASSERT_EQ(carried.frames.size(), 2u);
  EXPECT_EQ(carried.frames[0].second, "a");
  EXPECT_EQ(carried.frames[1].second, "b");
  EXPECT_EQ(carried.mail.counts().seal_frames, 1u);
}

TEST(TurnMail, ALoneMessageAndOneOutsideOfATurnGoAsTheyAre) {
  Carried carried(true);
  carried.mail.send(kTwo, "at once", false);
  ASSERT_EQ(carried.frames.size(), 1u);
  carried.mail.begin();
  carried.mail.send(kTwo, "alone", false);
  carried.mail.end();
  ASSERT_EQ(carried.frames.size(), 2u);
  EXPECT_EQ(carried.frames[1].second, "alone");
}

TEST(TurnMail, WhatDoesNotFitOneBatchGoesInOrderInSeveral) {
  Carried carried(true);
  const std::string third(kBatchBytesMax / 3, 'x');
  const std::string whole(kBatchBytesMax, 'y');
  carried.mail.begin();
  for (int i = 0; i < 3; ++i) carried.mail.send(kTwo, third, false);
  carried.mail.send(kTwo, whole, false);
  carried.mail.send(kTwo, "end", false);
  carried.mail.end();
  std::vector<std::string> arrived;
  for (const auto& [to, frame] : carried.frames) {
    if (!is_batch_frame(bytes_of(frame))) {
      arrived.push_back(frame);
      continue;
    }
    const auto messages = decode_batch(bytes_of(frame));
    ASSERT_TRUE(messages);
    for (const auto message : *messages) arrived.push_back(text_of(message));
  }
  EXPECT_EQ(arrived, (std::vector<std::string>{third, third, third, whole, "end"}));
}

}  // namespace
}  // namespace caisson::control
