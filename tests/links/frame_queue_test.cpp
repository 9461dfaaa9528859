// SPDX-License-Identifier: BSD-3-Clause
// The bounded queue behind every link.
#include "core/engine/frame_queue.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>

namespace caisson::engine {
namespace {

using Push = FrameQueue::Push;

TEST(FrameQueue, WakesTheTakerOncePerTake) {
  FrameQueue queue(1000, FrameQueue::Overflow::refuse);
  EXPECT_EQ(queue.push("a"), Push::queued_wake);
  EXPECT_EQ(queue.push("b"), Push::queued);
  std::string out;
  queue.take(out, 1000);
  EXPECT_EQ(out, std::string("\1\0\0\0a\1\0\0\0b", 10));
  EXPECT_EQ(queue.push("c"), Push::queued_wake);
}

TEST(FrameQueue, RefusesWhenFullAndReportsTheDrainOnce) {
  FrameQueue queue(100, FrameQueue::Overflow::refuse);
  EXPECT_EQ(queue.push(std::string(500, 'x')), Push::queued_wake) << "alone, any frame fits";
  EXPECT_FALSE(queue.waits_for_drain());
  EXPECT_EQ(queue.push(""), Push::full);
  EXPECT_TRUE(queue.waits_for_drain());
  std::string out;
  queue.take(out, 1);
  EXPECT_EQ(queue.push(""), Push::full) << "taken is not written";
  EXPECT_FALSE(queue.written(404));
  EXPECT_TRUE(queue.written(100));
  EXPECT_FALSE(queue.waits_for_drain());
  EXPECT_EQ(queue.bytes(), 0u);
  EXPECT_FALSE(queue.written(0));
}

TEST(FrameQueue, DropsTheOldestWhereThatIsAllowed) {
  FrameQueue queue(3 * (4 + 1), FrameQueue::Overflow::drop_oldest);
  for (const char* frame : {"1", "2", "3", "4", "5"}) queue.push(frame);
  std::string out;
  queue.take(out, 1000);
  EXPECT_EQ(out, std::string("\1\0\0\0003\1\0\0\0004\1\0\0\0005", 15));
}

TEST(FrameQueue, TakesNothingMoreOnceClosed) {
  FrameQueue queue(100, FrameQueue::Overflow::refuse);
  queue.push("a");
  queue.close();
  EXPECT_EQ(queue.push("b"), Push::closed);
  std::string out;
  queue.take(out, 1000);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(queue.bytes(), 0u);
}

RC_GTEST_PROP(FrameQueue, CountsEveryByteAndKeepsOrder, ()) {
  FrameQueue queue(200, FrameQueue::Overflow::refuse);
  std::deque<std::string> model;
  size_t in_flight = 0;
  const int steps = *rc::gen::inRange(1, 200);
  for (int i = 0; i < steps; ++i) {
    size_t waiting = in_flight;
    for (const std::string& frame : model) waiting += frame.size() + kFrameHeaderBytes;
    RC_ASSERT(queue.bytes() == waiting);
    if (*rc::gen::inRange(0, 3) != 0) {
      const std::string frame(*rc::gen::inRange<size_t>(0, 80), static_cast<char>('a' + i % 26));
      const bool fits = waiting == 0 || waiting + frame.size() + kFrameHeaderBytes <= 200;
      RC_ASSERT((queue.push(frame) != Push::full) == fits);
      if (fits) model.push_back(frame);
    } else {
      queue.written(in_flight);
      std::string out;
      queue.take(out, *rc::gen::inRange<size_t>(1, 100));
      in_flight = out.size();
      for (size_t at = 0; at < out.size();
           at += kFrameHeaderBytes + model.front().size(), model.pop_front()) {
        RC_ASSERT(static_cast<unsigned char>(out[at]) == model.front().size());
        RC_ASSERT(out.compare(at + kFrameHeaderBytes, model.front().size(), model.front()) == 0);
      }
    }
  }
}

}  // namespace
}  // namespace caisson::engine
