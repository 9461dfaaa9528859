// SPDX-License-Identifier: BSD-3-Clause
// What the stream table tells of an entry that is not of this log: whether its client has appended
// it again (R15, R30).
#include <gtest/gtest.h>

#include "tests/core/log_fixture.hpp"

namespace caisson::log {
namespace {

using Is = StreamTable::Recollection::Is;

constexpr uint32_t kWindow = 16;

class Recall : public testing::Test {
 protected:
  void append(const EntryIdentity& identity, uint32_t crc) {
    EntryHeader header{};
    header.position = ++position_;
    header.client = identity.client;
    header.incarnation = identity.incarnation;
    header.sequence = identity.sequence;
    table_.apply(header, crc);
  }
  void open(uint64_t client, uint32_t incarnation, bool resume) {
    EntryHeader header{};
    header.position = ++position_;
    header.client = client;
    header.incarnation = incarnation;
    const auto before = table_.find(client);
    SessionPayload session{};
    session.previous_last_sequence = before.last_sequence;
    session.previous_incarnation = before.incarnation;
    session.resume = resume ? 1 : 0;
    table_.apply_session(header, session);
  }
  Is recall(const EntryIdentity& identity, uint32_t crc) {
    found_ = table_.recall(identity, crc).position;
    return table_.recall(identity, crc).is;
  }
  StreamTable table_{8, kWindow};
  uint64_t position_ = 0;
  Position found_;
};

TEST_F(Recall, ARetryIsTheSameOtherBytesAreOthersAndTheRestIsAbsent) {
  EXPECT_EQ(recall({5, 1, 1}, 10), Is::absent);
  append({5, 1, 1}, 10);
  append({5, 1, 2}, 20);
  EXPECT_EQ(recall({5, 1, 2}, 20), Is::same);
  EXPECT_EQ(found_, Position{2});
  EXPECT_EQ(recall({5, 1, 2}, 21), Is::other);
  EXPECT_EQ(recall({5, 1, 3}, 30), Is::absent);
  EXPECT_EQ(recall({6, 1, 1}, 10), Is::absent);
}

TEST_F(Recall, WhoResumesAppendsTheSameUnderAHigherIncarnation) {
  append({5, 1, 1}, 10);
  open(5, 2, true);
  EXPECT_EQ(recall({5, 1, 2}, 20), Is::absent);
  append({5, 2, 2}, 20);
  append({5, 2, 3}, 31);
  EXPECT_EQ(recall({5, 1, 2}, 20), Is::same);
  EXPECT_EQ(found_, Position{3});
  EXPECT_EQ(recall({5, 1, 3}, 30), Is::absent) << "the new incarnation has something else there";
  EXPECT_EQ(recall({5, 1, 4}, 40), Is::absent);
}

TEST_F(Recall, WhatWasForgottenIsUnknown) {
  for (uint64_t i = 1; i <= 3 * kWindow; ++i) append({5, 1, i}, static_cast<uint32_t>(i));
  EXPECT_EQ(recall({5, 1, 3 * kWindow}, 3 * kWindow), Is::same);
  EXPECT_EQ(recall({5, 1, 2}, 2), Is::unknown);
  open(5, 2, false);
  EXPECT_EQ(recall({5, 1, 2}, 2), Is::unknown);
  EXPECT_EQ(recall({5, 1, 3 * kWindow + 1}, 9), Is::absent)
      << "it was above all that its incarnation appended, and the next one has not come so far";
  for (uint64_t i = 1; i <= 4 * kWindow; ++i) append({5, 2, i}, 7);
  EXPECT_EQ(recall({5, 1, 3 * kWindow + 1}, 9), Is::absent) << "its number was used otherwise";
  open(5, 3, false);
  EXPECT_EQ(recall({5, 1, 3 * kWindow + 1}, 9), Is::unknown) << "two incarnations ago";
}

}  // namespace
}  // namespace caisson::log
