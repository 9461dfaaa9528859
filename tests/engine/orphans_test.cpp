// SPDX-License-Identifier: BSD-3-Clause
// A deposed leader comes back: what it had, and the log went on without, is listed and let go of
// through the API (R15).
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kClient = 7;
constexpr uint64_t kOutstanding = 40;

// An engine that is not turned is a process that is stopped. What it has taken, and not sent yet,
// nobody else has.
class Orphans : public testing::Test {
 protected:
  static Shape shape() {
    Shape shape;
    shape.runs_inline = true;
    shape.suspect_after_us = 50'000;
    return shape;
  }

  void SetUp() override {
    cluster_.start();
    if (HasFatalFailure()) return;
    first_ = cluster_.leader();
    ASSERT_NE(first_, 0);
    auto appender = cluster_.appender(first_, {.client = kClient, .outstanding_max = 64});
    ASSERT_NE(appender, nullptr);
    ASSERT_EQ(appender->append(bytes_of("settled")).code, Code::ok);
    for (uint64_t tag = 1; tag <= kOutstanding; ++tag) {
      ASSERT_EQ(appender->append_async(bytes_of("orphan " + std::to_string(tag)), tag), Code::ok);
    }
    cluster_.sleep(first_);
    const int second = cluster_.leader({}, {first_});
    ASSERT_NE(second, 0);
    auto next = cluster_.appender(second, {.client = 8});
    ASSERT_NE(next, nullptr);
    ASSERT_EQ(next->append(bytes_of("elsewhere")).code, Code::ok);
    next.reset();
    cluster_.wake(first_);
    // What had left it is adopted: the orphans are what follows.
    const std::vector<std::string> contents = cluster_.contents(second);
    ASSERT_GE(contents.size(), 2u);
    kept_ = contents.size() - 2;
    ASSERT_LT(kept_, kOutstanding);
    ASSERT_TRUE(cluster_.until([&] {
      return cluster_.log(first_).leadership().leader != ReplicaId{} &&
             cluster_.contents(first_) == contents;
    }));
  }

  std::vector<int> others() const { return {first_ % 3 + 1, (first_ + 1) % 3 + 1}; }
  Log& log() { return cluster_.log(first_); }

  Cluster cluster_{shape()};
  int first_ = 0;
  uint64_t kept_ = 0;  // of those outstanding, in the log
};

TEST_F(Orphans, AreListedByTheReplicaThatHeldThem) {
  const auto all = log().orphans(OrphanPayloads::copied);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->records.size(), 1u);
  const OrphanRecord& record = all->records.front();
  EXPECT_FALSE(record.damaged);
  EXPECT_FALSE(all->full);
  EXPECT_GT(all->room_bytes, 0u);
  EXPECT_LT(all->room_bytes, all->area_bytes);
  uint64_t data = 0;
  for (const OrphanEntry& entry : record.entries) {
    if (!entry.data) continue;
    ++data;
    EXPECT_EQ(entry.identity, (EntryIdentity{kClient, 1, kept_ + data + 1}));
    EXPECT_EQ(text_of(entry.payload), "orphan " + std::to_string(kept_ + data));
    EXPECT_EQ(entry.fate, OrphanFate::absent);
  }
  EXPECT_EQ(data, kOutstanding - kept_);
  for (const int id : others()) EXPECT_TRUE(cluster_.log(id).orphans()->records.empty());
  const Json status = Json::parse(log().status_json());
  EXPECT_EQ(status["orphans"]["records"], 1);
  EXPECT_EQ(status["orphans"]["bytes"], record.ring_bytes);
}

TEST_F(Orphans, WhatTheirClientAppendsAgainIsSaid) {
  int leads = 0;
  auto appender = cluster_.appender_at_leader(
      leads, {.client = kClient, .resume = true, .outstanding_max = 64});
  ASSERT_NE(appender, nullptr);
  const std::string text = "orphan " + std::to_string(kept_ + 1);
  ASSERT_EQ(appender->append(bytes_of(text)).code, Code::ok);
  const Completion other = appender->append(bytes_of("something else"));
  ASSERT_EQ(other.code, Code::ok);
  ASSERT_TRUE(cluster_.until([&] { return log().tail() >= other.position; }));
  const auto all = log().orphans();
  ASSERT_TRUE(all);
  std::vector<OrphanFate> fates;
  for (const OrphanEntry& entry : all->records.front().entries) {
    if (!entry.data) continue;
    fates.push_back(entry.fate);
    if (fates.size() == 1) {
      EXPECT_EQ(entry.again + 1, other.position);
    }
    EXPECT_TRUE(entry.payload.empty());
  }
  ASSERT_EQ(fates.size(), kOutstanding - kept_);
  EXPECT_EQ(fates[0], OrphanFate::present);
  for (size_t i = 1; i < fates.size(); ++i) EXPECT_EQ(fates[i], OrphanFate::absent) << i;
}

TEST_F(Orphans, StayUntilTheyAreDiscardedAndNeverComeBack) {
  const uint64_t id = log().orphans()->records.front().id;
  cluster_.close(first_);
  cluster_.open(first_);
  ASSERT_NE(cluster_.leader(), 0);
  ASSERT_EQ(log().orphans()->records.size(), 1u);
  EXPECT_EQ(log().orphans()->records.front().id, id);
  EXPECT_EQ(log().discard_orphans(id + 1), Code::not_found);
  ASSERT_TRUE(cluster_.until([&] { return log().discard_orphans(id) == Code::ok; }));
  EXPECT_EQ(log().discard_orphans(id), Code::not_found);
  EXPECT_TRUE(log().orphans()->records.empty());
  EXPECT_EQ(Json::parse(log().status_json())["orphans"]["records"], 0);
  cluster_.close(first_);
  cluster_.open(first_);
  EXPECT_TRUE(log().orphans()->records.empty());
  Log& closed = log();
  cluster_.engine(first_).close();
  EXPECT_EQ(closed.discard_orphans(id), Code::closed);
  EXPECT_EQ(closed.orphans().error().code, Code::closed);
}

}  // namespace
}  // namespace caisson::engine_test
