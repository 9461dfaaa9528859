// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/lane.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace caisson::engine {
namespace {

LaneRecord record(uint64_t tag, uint64_t sequence, size_t bytes, uint64_t deadline_ns = kNever) {
  LaneRecord r;
  r.tag = tag;
  r.identity = {7, 1, sequence};
  r.payload_bytes = static_cast<uint32_t>(bytes);
  r.deadline_ns = deadline_ns;
  return r;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

void put(Lane& lane, uint64_t tag, const std::string& text, uint64_t deadline_ns = kNever) {
  ASSERT_TRUE(lane.fits(1, Lane::ring_bytes_of(text.size())));
  lane.push(record(tag, tag, text.size(), deadline_ns), bytes_of(text));
  lane.publish();
}

TEST(Lane, HandsOverBytesInOrderAcrossManyWraps) {
  Lane lane(64, 100'000);
  std::mt19937 random(1);
  std::deque<std::string> expected;
  uint64_t pushed = 0;
  uint64_t taken = 0;
  while (taken < 20'000) {
    const std::string text(random() % 9000, static_cast<char>('a' + pushed % 26));
    if (lane.fits(1, Lane::ring_bytes_of(text.size()))) {
      lane.push(record(pushed, pushed, text.size()), bytes_of(text));
      lane.publish();
      expected.push_back(text);
      ++pushed;
      if (random() % 3 != 0) continue;
    }
    while (const LaneRecord* front = lane.front()) {
      const auto payload = Lane::payload(*front);
      ASSERT_EQ(front->tag, taken);
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()),
                expected.front());
      expected.pop_front();
      const uint32_t ticket = lane.front_ticket();
      lane.drop_front();
      lane.resolve(ticket, Code::ok, Position{++taken}, Term{1});
    }
    lane.release();
    LaneCompletion done;
    while (lane.pop(done)) ASSERT_EQ(done.position.value, done.tag + 1);
  }
}

TEST(Lane, NeverHoldsMoreThanItsWindow) {
  Lane lane(4, 1000);
  for (uint64_t i = 0; i < 4; ++i) put(lane, i, "x");
  EXPECT_FALSE(lane.fits(1, Lane::ring_bytes_of(1)));
  ASSERT_NE(lane.front(), nullptr);
  lane.register_all();
  lane.resolve(1, Code::ok, Position{2}, Term{1});
  EXPECT_FALSE(lane.fits(1, Lane::ring_bytes_of(1))) << "the oldest is still outstanding";
  lane.resolve(0, Code::ok, Position{1}, Term{1});
  EXPECT_FALSE(lane.fits(1, Lane::ring_bytes_of(1))) << "completions were not taken";
  LaneCompletion done;
  ASSERT_TRUE(lane.pop(done));
  ASSERT_TRUE(lane.pop(done));
  EXPECT_TRUE(lane.fits(2, 0));
  EXPECT_FALSE(lane.fits(3, 0));
}

TEST(Lane, TimesOutWhatWaitsInItAndForgetsTheLateResolution) {
  Lane lane(8, 1000);
  put(lane, 1, "a", 100);
  put(lane, 2, "b", 200);
  put(lane, 3, "c");
  ASSERT_NE(lane.front(), nullptr);
  lane.register_all();
  EXPECT_FALSE(lane.deadline_passed(99));
  ASSERT_TRUE(lane.deadline_passed(100));
  lane.expire(100);
  LaneCompletion done;
  ASSERT_TRUE(lane.pop(done));
  EXPECT_EQ(done.tag, 1u);
  EXPECT_EQ(done.code, Code::timed_out);
  EXPECT_TRUE(done.final);
  EXPECT_FALSE(lane.pop(done));
  lane.resolve(0, Code::ok, Position{1}, Term{1});
  EXPECT_FALSE(lane.pop(done)) << "nothing follows a time-out";
  EXPECT_TRUE(lane.deadline_passed(200));
}

TEST(Lane, TellsIndefiniteThenHowItEnded) {
  Lane lane(8, 0);
  lane.admit(5, kNever, 11, true);
  lane.resolve(0, Code::indefinite, {}, {});
  lane.resolve(0, Code::indefinite, {}, {});
  lane.resolve(0, Code::not_appended, {}, {});
  LaneCompletion done;
  ASSERT_TRUE(lane.pop(done));
  EXPECT_EQ(done.code, Code::indefinite);
  EXPECT_FALSE(done.final);
  ASSERT_TRUE(lane.pop(done));
  EXPECT_EQ(done.code, Code::not_appended);
  EXPECT_TRUE(done.final);
  EXPECT_FALSE(lane.pop(done));
  EXPECT_EQ(lane.gone_from(), 11u);
  EXPECT_TRUE(lane.idle());
}

TEST(Lane, IgnoresAResolutionOfATicketLongGone) {
  Lane lane(2, 0);
  for (uint32_t i = 0; i < 10; ++i) {
    lane.admit(i, kNever, i, true);
    lane.resolve(i, Code::ok, Position{i}, Term{1});
    lane.resolve(i, Code::ok, Position{i}, Term{1});
    if (i >= 2) lane.resolve(i - 2, Code::ok, Position{i}, Term{1});
    LaneCompletion done;
    ASSERT_TRUE(lane.pop(done));
    EXPECT_EQ(done.tag, i);
    ASSERT_FALSE(lane.pop(done));
  }
}

TEST(Lane, StartsOverOnlyWhenNothingIsLeftOfBefore) {
  Lane lane(4, 0);
  LaneCompletion done;
  for (uint64_t round = 0; round < 10; ++round) {
    lane.start_over_if_empty();
    ASSERT_EQ(lane.next_ticket(), 0u);
    lane.admit(round, kNever, round, true);
    lane.resolve(0, Code::ok, Position{round}, Term{1});
    lane.start_over_if_empty();
    ASSERT_EQ(lane.next_ticket(), 1u) << "its completion is not taken";
    ASSERT_TRUE(lane.pop(done));
    ASSERT_EQ(done.tag, round);
  }
  lane.start_over_if_empty();
  lane.admit(1, 5, 1, true);
  lane.expire(5);
  ASSERT_TRUE(lane.pop(done));
  lane.start_over_if_empty();
  EXPECT_EQ(lane.next_ticket(), 1u) << "a late resolution of ticket 0 may still come";
  lane.resolve(0, Code::ok, Position{1}, Term{1});
  EXPECT_FALSE(lane.pop(done));
  lane.start_over_if_empty();
  EXPECT_EQ(lane.next_ticket(), 0u);
}

TEST(Lane, ClosesWhatIsOutstandingAndWhatComesLater) {
  Lane lane(8, 1000);
  put(lane, 1, "a");
  ASSERT_NE(lane.front(), nullptr);
  put(lane, 2, "b");
  lane.close();
  put(lane, 3, "c");  // the producer had not seen it yet
  std::vector<uint64_t> closed;
  LaneCompletion done;
  while (lane.pop(done)) {
    EXPECT_EQ(done.code, Code::closed);
    closed.push_back(done.tag);
  }
  EXPECT_EQ(closed, (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(lane.unfinished(), 0u);
}

TEST(Lane, CarriesAMillionEntriesBetweenTwoThreads) {
  constexpr uint64_t kEntries = 1'000'000;
  Lane lane(1024, 1000);
  std::atomic<bool> stop{false};
  std::thread poller([&] {
    uint64_t position = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      bool worked = false;
      while (const LaneRecord* front = lane.front()) {
        const uint64_t word = front->tag;
        uint64_t found = 0;
        std::memcpy(&found, Lane::payload(*front).data(), sizeof found);
        const uint32_t ticket = lane.front_ticket();
        lane.drop_front();
        lane.resolve(ticket, found == word ? Code::ok : Code::internal, Position{++position},
                     Term{1});
        worked = true;
      }
      lane.release();
      if (!worked) std::this_thread::yield();
    }
  });
  uint64_t sent = 0;
  uint64_t received = 0;
  while (received < kEntries) {
    LaneCompletion done;
    while (lane.pop(done)) {
      ASSERT_EQ(done.code, Code::ok);
      ASSERT_EQ(done.tag, received);
      ASSERT_EQ(done.position.value, ++received);
    }
    if (sent < kEntries && lane.fits(1, Lane::ring_bytes_of(sizeof sent))) {
      lane.push(record(sent, sent, sizeof sent), std::as_bytes(std::span(&sent, 1)));
      lane.publish();
      ++sent;
    } else {
      std::this_thread::yield();
    }
  }
  stop = true;
  poller.join();
}

}  // namespace
}  // namespace caisson::engine
