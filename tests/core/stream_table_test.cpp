// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/stream_table.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <vector>

namespace caisson::log {
namespace {

constexpr uint32_t kWindow = 16;

EntryHeader header_of(uint64_t position, const EntryIdentity& identity) {
  EntryHeader header{};
  header.position = position;
  header.client = identity.client;
  header.incarnation = identity.incarnation;
  header.sequence = identity.sequence;
  return header;
}

// The table's truth, from a plain list of what the log holds.
class NaiveStreams {
 public:
  struct Item {
    EntryIdentity identity;
    uint32_t crc = 0;
    bool session = false;
    bool resume = false;
  };
  void push(const Item& item) { items_.push_back(item); }
  void truncate(uint64_t tail) { items_.resize(tail); }
  uint64_t tail() const { return items_.size(); }

  StreamTable::Stream find(uint64_t client) const {
    StreamTable::Stream now;
    for (const Item& item : items_) {
      if (item.identity.client != client) continue;
      if (item.session) {
        now.last_sequence = item.resume ? now.last_sequence : 0;
        now.incarnation = item.identity.incarnation;
      } else {
        now = {item.identity.incarnation, item.identity.sequence};
      }
    }
    return now;
  }
  // The position that holds this identity, 0 if none does.
  uint64_t position(const EntryIdentity& identity) const {
    for (size_t i = 0; i < items_.size(); ++i) {
      if (!items_[i].session && items_[i].identity == identity) return i + 1;
    }
    return 0;
  }
  const Item& at(uint64_t position) const { return items_[position - 1]; }
  // How many entries of `client` lie above `position`.
  uint64_t above(uint64_t position, uint64_t client) const {
    uint64_t count = 0;
    for (size_t i = position; i < items_.size(); ++i) count += items_[i].identity.client == client;
    return count;
  }
  uint64_t sessions_above(uint64_t position, uint64_t client) const {
    uint64_t count = 0;
    for (size_t i = position; i < items_.size(); ++i) {
      count += items_[i].identity.client == client && items_[i].session;
    }
    return count;
  }

 private:
  std::vector<Item> items_;
};

class StreamProperty {
 public:
  void append() {
    const uint64_t client = *rc::gen::inRange<uint64_t>(1, 4);
    const auto now = naive_.find(client);
    if (table_.window_full(client, Position{committed_}, 1)) return;
    NaiveStreams::Item item;
    item.identity = {client, now.incarnation, now.last_sequence + 1};
    item.crc = *rc::gen::inRange<uint32_t>(0, 1000);
    RC_ASSERT(table_.judge(item.identity, item.crc, Position{naive_.tail()}).code == Code::ok);
    naive_.push(item);
    table_.apply(header_of(naive_.tail(), item.identity), item.crc);
  }
  void open_session() {
    const uint64_t client = *rc::gen::inRange<uint64_t>(1, 4);
    if (naive_.sessions_above(committed_, client) > 0) return;
    if (naive_.above(committed_, client) + 1 >= kWindow) return;
    const auto now = naive_.find(client);
    NaiveStreams::Item item;
    item.identity = {client, now.incarnation + 1, 0};
    item.session = true;
    item.resume = *rc::gen::arbitrary<bool>();
    naive_.push(item);
    SessionPayload session{now.last_sequence, now.incarnation, item.resume ? 1u : 0u, 0, 0, 0, 0};
    table_.apply_session(header_of(naive_.tail(), item.identity), session);
  }
  void truncate() {
    const uint64_t tail = *rc::gen::inRange(committed_, naive_.tail() + 1);
    naive_.truncate(tail);
    table_.rollback(Position{tail});
  }
  void commit() { committed_ = *rc::gen::inRange(committed_, naive_.tail() + 1); }

  void check() {
    for (uint64_t client = 1; client < 4; ++client) {
      const auto want = naive_.find(client);
      const auto got = table_.find(client);
      RC_ASSERT(got.incarnation == want.incarnation);
      RC_ASSERT(got.last_sequence == want.last_sequence);
      for (uint64_t sequence = 1; sequence <= want.last_sequence; ++sequence)
        check(client, want, sequence);
      check_older(client, want);
    }
  }

 private:
  void check(uint64_t client, const StreamTable::Stream& now, uint64_t sequence) {
    const EntryIdentity identity{client, now.incarnation, sequence};
    const uint64_t position = naive_.position(identity);
    const Position tail{naive_.tail()};
    if (position == 0) {  // of the incarnation that this one resumed: known or aged out, never new
      const auto verdict = table_.judge(identity, 0, tail);
      RC_ASSERT(verdict.code != Code::ok);
      return;
    }
    const uint32_t crc = naive_.at(position).crc;
    const auto same = table_.judge(identity, crc, tail);
    RC_ASSERT(same.code == Code::exists || same.code == Code::aged_out);
    if (same.code == Code::exists) RC_ASSERT(same.position.value == position);
    const auto other = table_.judge(identity, crc + 1, tail);
    RC_ASSERT(other.code == Code::identity_reused || other.code == Code::aged_out);
  }
  void check_older(uint64_t client, const StreamTable::Stream& now) {
    if (now.incarnation == 0) return;
    const EntryIdentity old{client, now.incarnation - 1, now.last_sequence + 1};
    RC_ASSERT(table_.judge(old, 1, Position{naive_.tail()}).code == Code::stale_stream);
    const EntryIdentity gap{client, now.incarnation, now.last_sequence + 2};
    RC_ASSERT(table_.judge(gap, 1, Position{naive_.tail()}).code == Code::broken_stream);
  }

  StreamTable table_{8, kWindow};
  NaiveStreams naive_;
  uint64_t committed_ = 0;
};

TEST(StreamTable, AgreesWithANaiveModelUnderRollbacks) {
  EXPECT_TRUE(rc::check([] {
    StreamProperty property;
    for (int turn = 0; turn < 120; ++turn) {
      switch (*rc::gen::weightedElement<int>({{12, 0}, {1, 1}, {2, 2}, {3, 3}})) {
        case 0: property.append(); break;
        case 1: property.open_session(); break;
        case 2: property.truncate(); break;
        default: property.commit();
      }
      property.check();
    }
  }));
}

TEST(StreamTable, ADuplicateWithinTheWindowIsAnsweredWithItsPosition) {
  StreamTable table(8, kWindow);
  for (uint64_t s = 1; s <= 40; ++s)
    table.apply(header_of(100 + s, {1, 1, s}), static_cast<uint32_t>(s));
  for (uint64_t s = 40 - kWindow + 1; s <= 40; ++s) {
    const auto verdict = table.judge({1, 1, s}, static_cast<uint32_t>(s), Position{140});
    EXPECT_EQ(verdict.code, Code::exists) << s;
    EXPECT_EQ(verdict.position, Position{100 + s});
  }
  EXPECT_EQ(table.judge({1, 1, 1}, 1, Position{140}).code, Code::aged_out);
}

TEST(StreamTable, ARolledBackIncarnationLeavesTheOldOneItsSequence) {
  StreamTable table(8, kWindow);
  for (uint64_t s = 1; s <= 10; ++s) table.apply(header_of(s, {1, 1, s}), 1);
  table.apply_session(header_of(11, {1, 2, 0}), SessionPayload{10, 1, 0, 0, 0, 0, 0});
  for (uint64_t s = 1; s <= 10; ++s) table.apply(header_of(11 + s, {1, 2, s}), 2);
  table.rollback(Position{10});
  EXPECT_EQ(table.find(1).incarnation, 1u);
  EXPECT_EQ(table.find(1).last_sequence, 10u);
  EXPECT_NE(table.judge({1, 1, 3}, 1, Position{10}).code, Code::ok);
}

// ---- Checkpoints ---------------------------------------------------------------------------

struct Appended {
  EntryIdentity identity;
  uint32_t crc;
  uint64_t position;
};

// A log of several clients, with sessions; a reader that saw only what lies behind `trim`, and the
// checkpoint at the end, knows as much of every stream as the checkpoint promises.
TEST(StreamTable, ACheckpointTellsWhatWasTrimmed) {
  EXPECT_TRUE(rc::check([] {
    StreamTable whole(8, kWindow);
    const auto count = *rc::gen::inRange<uint64_t>(1, 150);
    const uint64_t trim = *rc::gen::inRange<uint64_t>(0, count + 1);
    std::vector<Appended> log;
    std::vector<std::pair<EntryHeader, SessionPayload>> sessions(count + 1);
    for (uint64_t p = 1; p <= count; ++p) {
      const uint64_t client = *rc::gen::inRange<uint64_t>(1, 5);
      const auto now = whole.find(client);
      if (*rc::gen::inRange(0, 12) == 0) {
        const SessionPayload session{
            now.last_sequence, now.incarnation, *rc::gen::inRange(0u, 2u), 0, 0, 0, 0};
        sessions[p] = {header_of(p, {client, now.incarnation + 1, 0}), session};
        whole.apply_session(sessions[p].first, session);
        continue;
      }
      const EntryIdentity identity{client, now.incarnation, now.last_sequence + 1};
      const auto crc = *rc::gen::inRange<uint32_t>(0, 1000);
      whole.apply(header_of(p, identity), crc);
      log.push_back({identity, crc, p});
    }
    CheckpointParts parts;
    whole.carry(Position{count}, 600, 1 << 20, parts);
    StreamTable late(8, kWindow);
    for (uint64_t p = trim + 1; p <= count; ++p) {
      if (sessions[p].first.position != 0) {
        late.apply_session(sessions[p].first, sessions[p].second);
      }
      for (const Appended& each : log) {
        if (each.position == p) late.apply(header_of(p, each.identity), each.crc);
      }
    }
    for (const auto part : parts.payloads()) late.take_over(part);
    late.settle(Position{count + 1});
    for (uint64_t client = 1; client < 5; ++client) {
      const auto want = whole.find(client);
      const auto got = late.find(client);
      RC_ASSERT(got.incarnation == want.incarnation);
      RC_ASSERT(got.last_sequence == want.last_sequence);
      uint32_t latest = 0;
      for (size_t i = log.size(); i-- > 0;) {
        const Appended& each = log[i];
        if (each.identity.client != client) continue;
        const auto verdict = late.judge(each.identity, each.crc, Position{count});
        RC_ASSERT(verdict.code != Code::ok);
        if (latest++ >= kCarriedSlots) continue;
        const auto was = whole.judge(each.identity, each.crc, Position{count});
        RC_ASSERT(verdict.code == was.code);
        RC_ASSERT(verdict.position == was.position);
      }
      if (want.incarnation == 0 && want.last_sequence == 0) continue;
      const EntryIdentity next{client, want.incarnation, want.last_sequence + 1};
      RC_ASSERT(late.judge(next, 0, Position{count}).code == Code::ok);
    }
  }));
}

TEST(StreamTable, WhomACheckpointLeavesOutIsForgottenAndNeverTakenForNew) {
  StreamTable table(4, kWindow);
  for (uint64_t client = 1; client <= 4; ++client) {
    table.apply(header_of(client, {client, static_cast<uint32_t>(client), 1}), 7);
  }
  ASSERT_TRUE(table.full());
  CheckpointParts parts;
  EXPECT_EQ(table.carry(Position{4}, 4096, 1 << 20, parts), 2u);
  for (const auto part : parts.payloads()) table.take_over(part);
  EXPECT_TRUE(table.full()) << "nobody is forgotten before the checkpoint is committed";
  table.settle(Position{5});
  EXPECT_EQ(table.floor(), 2u);
  EXPECT_EQ(table.judge({1, 1, 1}, 7, Position{5}).code, Code::aged_out);
  EXPECT_EQ(table.judge({1, 1, 2}, 7, Position{5}).code, Code::aged_out);
  EXPECT_EQ(table.judge({4, 4, 1}, 7, Position{5}).code, Code::exists);
  EXPECT_EQ(table.judge({9, 2, 1}, 7, Position{5}).code, Code::aged_out);
  EXPECT_EQ(table.judge({9, 3, 1}, 7, Position{5}).code, Code::ok);
}

TEST(StreamTable, WhoAppendsBehindTheCheckpointThatLeftHimOutIsNotForgotten) {
  StreamTable table(2, kWindow);
  table.apply(header_of(1, {1, 1, 1}), 7);
  table.apply(header_of(2, {2, 1, 1}), 7);
  CheckpointParts parts;
  EXPECT_EQ(table.carry(Position{2}, 4096, 1 << 20, parts), 1u);
  for (const auto part : parts.payloads()) table.take_over(part);
  table.apply(header_of(4, {1, 1, 2}), 8);
  table.settle(Position{3});
  EXPECT_EQ(table.judge({1, 1, 2}, 8, Position{4}).code, Code::exists);
  EXPECT_EQ(table.judge({1, 1, 3}, 8, Position{4}).code, Code::ok);
}

TEST(StreamTable, AnUncommittedEntryKeepsItsClientInEveryCheckpoint) {
  StreamTable table(4, kWindow);
  for (uint64_t client = 1; client <= 4; ++client) {
    table.apply(header_of(client, {client, 1, 1}), 7);
  }
  CheckpointParts parts;
  EXPECT_EQ(table.carry(Position{0}, 4096, 1 << 20, parts), 0u);
}

// ---- Apologies (R13) ----

// Opens the next incarnation of `client` at `position`, told as given.
void reopen(StreamTable& table, uint64_t position, uint64_t client, uint32_t told_incarnation,
            uint64_t told_sequence) {
  const auto now = table.find(client);
  SessionPayload session{now.last_sequence, now.incarnation, 1, 0, 0, 0, 0};
  ASSERT_EQ(table.missing(client, told_incarnation, told_sequence, session), Code::ok);
  table.apply_session(header_of(position, {client, now.incarnation + 1, 0}), session);
}

TEST(StreamTable, WhatWasToldAndIsMissingIsNotedOnce) {
  StreamTable table(4, kWindow);
  for (uint64_t p = 1; p <= 3; ++p) table.apply(header_of(p, {5, 1, p}), 7);
  reopen(table, 4, 5, 1, 3);
  EXPECT_TRUE(table.apologies(5).empty()) << "all that was told is there";
  table.apply(header_of(5, {5, 2, 4}), 7);
  reopen(table, 6, 5, 2, 9);
  const std::vector<Apology> noted{{2, 5, 9, Position{6}}};
  EXPECT_EQ(table.apologies(5), noted);
  // The same word again, of the incarnation before: it is noted already.
  reopen(table, 7, 5, 2, 9);
  EXPECT_EQ(table.apologies(5), noted);
  SessionPayload session{};
  EXPECT_EQ(table.missing(6, 3, 4, session), Code::ok);
  EXPECT_EQ(session.lost_first, 1u) << "of an unknown client all is missing";
  EXPECT_EQ(session.lost_last, 4u);
}

TEST(StreamTable, ARollbackTakesBackApologiesAndReceipts) {
  StreamTable table(4, kWindow);
  table.apply(header_of(1, {5, 1, 1}), 7);
  reopen(table, 2, 5, 1, 3);
  table.apply_receipt(header_of(3, {5, 0, 0}), ReceiptPayload{2});
  EXPECT_TRUE(table.apologies(5).empty());
  table.rollback(Position{2});
  EXPECT_EQ(table.apologies(5).size(), 1u) << "the receipt is not in the log any more";
  table.rollback(Position{1});
  EXPECT_TRUE(table.apologies(5).empty()) << "nor is the apology";
}

TEST(StreamTable, ApologiesWaitInCheckpointsUntilTheyAreTaken) {
  StreamTable table(4, kWindow);
  table.apply(header_of(1, {5, 1, 1}), 7);
  reopen(table, 2, 5, 1, 3);
  reopen(table, 3, 5, 2, 8);
  ASSERT_EQ(table.apologies(5).size(), 2u);
  table.apply_receipt(header_of(4, {5, 0, 0}), ReceiptPayload{2});
  CheckpointParts parts;
  table.carry(Position{4}, 4096, 1 << 20, parts);
  StreamTable late(4, kWindow);
  for (const auto part : parts.payloads()) late.take_over(part);
  const std::vector<Apology> waiting{{2, 2, 8, Position{3}}};
  EXPECT_EQ(late.apologies(5), waiting);
  // Whoever has read the log knows what was taken; a checkpoint does not bring it back.
  for (const auto part : parts.payloads()) table.take_over(part);
  table.settle(Position{5});
  EXPECT_EQ(table.apologies(5), waiting);
}

TEST(StreamTable, ApologiesAreLimitedAndWhatIsTooOldIsNotGuessed) {
  StreamTable table(4, kWindow);
  table.apply(header_of(1, {5, 1, 1}), 7);
  uint64_t position = 1;
  for (uint32_t i = 0; i < kApologiesMax; ++i) {
    const uint32_t incarnation = table.find(5).incarnation;
    reopen(table, ++position, 5, incarnation, 100 + i);
  }
  SessionPayload session{};
  EXPECT_EQ(table.missing(5, table.find(5).incarnation, 1000, session), Code::held);
  StreamTable other(4, kWindow);
  for (uint64_t p = 1; p <= 3; ++p) reopen(other, p, 5, 0, 0);
  EXPECT_EQ(other.missing(5, 1, 4, session), Code::aged_out);
}

TEST(StreamTable, GarbageInACheckpointIsHarmless) {
  EXPECT_TRUE(rc::check([](const std::vector<uint8_t>& garbage) {
    StreamTable table(8, kWindow);
    table.apply(header_of(1, {1, 1, 1}), 7);
    table.take_over(std::as_bytes(std::span(garbage)));
    RC_ASSERT(table.judge({1, 1, 1}, 7, Position{1}).code == Code::exists);
  }));
}

TEST(StreamTable, AFullTableTakesNoNewClient) {
  StreamTable table(2, kWindow);
  table.apply(header_of(1, {1, 1, 1}), 1);
  table.apply(header_of(2, {2, 1, 1}), 1);
  EXPECT_EQ(table.judge({3, 1, 1}, 1, Position{2}).code, Code::too_large);
  EXPECT_EQ(table.judge({2, 1, 2}, 1, Position{2}).code, Code::ok);
  table.rollback(Position{1});
  EXPECT_EQ(table.judge({3, 1, 1}, 1, Position{1}).code, Code::ok);
}

}  // namespace
}  // namespace caisson::log
