// SPDX-License-Identifier: BSD-3-Clause
#include <array>
#include <cstring>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

struct Led {
  explicit Led(Shape shape = {}, const AppenderOptions& options = {}) : cluster(std::move(shape)) {
    cluster.start();
    if (testing::Test::HasFatalFailure()) return;
    leader = cluster.leader();
    if (leader != 0) appender = cluster.appender(leader, options);
  }
  Cluster cluster;
  int leader = 0;
  std::unique_ptr<Appender> appender;
  Log& log() { return cluster.log(leader); }
};

// Takes `count` final completions.
std::vector<Completion> take(Cluster& cluster, Appender& appender, size_t count) {
  std::vector<Completion> taken;
  (void)cluster.until([&] {
    std::array<Completion, 64> batch;
    const size_t n = appender.completions(batch);
    for (size_t i = 0; i < n; ++i) {
      if (batch[i].code != Code::indefinite) taken.push_back(batch[i]);
    }
    return taken.size() >= count;
  });
  return taken;
}

class Append : public testing::TestWithParam<bool> {
 protected:
  static Shape shape() {
    Shape shape;
    shape.runs_inline = GetParam();
    return shape;
  }
};
INSTANTIATE_TEST_SUITE_P(Pollers, Append, testing::Bool(), poller_kind);

TEST_P(Append, WhatIsAcknowledgedReachesEveryReplica) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  std::vector<std::string> written;
  Position last;
  for (int i = 0; i < 1000; ++i) {
    written.push_back("entry " + std::to_string(i));
    const Completion done = led.appender->append(bytes_of(written.back()));
    ASSERT_EQ(done.code, Code::ok) << name(done.code);
    ASSERT_GT(done.position, last);
    last = done.position;
  }
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(led.cluster.until([&] { return led.cluster.log(id).tail() >= last; }));
    EXPECT_EQ(led.cluster.contents(id), written) << "replica " << id;
  }
}

TEST_P(Append, KeepsAThousandOutstandingInOrder) {
  Led led(shape(), {.outstanding_max = 1024});
  ASSERT_NE(led.appender, nullptr);
  constexpr uint64_t kEntries = 20'000;
  uint64_t submitted = 0;
  uint64_t completed = 0;
  Position last;
  ASSERT_TRUE(led.cluster.until([&] {
    while (submitted < kEntries) {
      const std::string text = std::to_string(submitted);
      const Code code = led.appender->append_async(bytes_of(text), submitted);
      if (code == Code::again) break;
      EXPECT_EQ(code, Code::ok);
      ++submitted;
    }
    EXPECT_LE(submitted - completed, 1024u);
    std::array<Completion, 256> batch;
    const size_t n = led.appender->completions(batch);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(batch[i].code, Code::ok);
      EXPECT_EQ(batch[i].tag, completed);
      EXPECT_EQ(batch[i].position, completed == 0 ? batch[i].position : last + 1);
      last = batch[i].position;
      ++completed;
    }
    return completed == kEntries || testing::Test::HasFailure();
  }));
  EXPECT_EQ(led.appender->last_identity().sequence, kEntries);
  std::vector<std::byte> payload;
  ASSERT_EQ(led.log().read(last, payload), Code::ok);
  EXPECT_EQ(text_of(payload), std::to_string(kEntries - 1));
}

TEST_P(Append, CommitsABatchAsOneRunWithOneCompletion) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  const std::vector<std::string> texts{"one", "two", "three", ""};
  std::vector<std::span<const std::byte>> batch;
  for (const auto& text : texts) batch.push_back(bytes_of(text));
  ASSERT_EQ(led.appender->append_batch_async(batch, 9), Code::ok);
  const auto done = take(led.cluster, *led.appender, 1);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].code, Code::ok);
  EXPECT_EQ(done[0].tag, 9u);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<std::byte> payload;
    ASSERT_EQ(led.log().read(Position{done[0].position.value - 3 + i}, payload), Code::ok);
    EXPECT_EQ(text_of(payload), texts[i]);
  }
  EXPECT_EQ(led.appender->last_identity().sequence, 4u);
  EXPECT_EQ(led.appender->append_batch_async({}, 1), Code::invalid);
}

TEST_P(Append, ABatchBeyondWhatMayBeOutstandingIsRefusedAndNotRetriedForEver) {
  Shape small = shape();
  small.outstanding_max = 16;
  Led led(small);
  ASSERT_NE(led.appender, nullptr);
  const std::vector<std::span<const std::byte>> many(17, bytes_of("x"));
  EXPECT_EQ(led.appender->append_batch_async(many, 1), Code::too_large);
  EXPECT_EQ(led.appender->append_batch_async({many.data(), 16}, 2), Code::ok);
  const auto done = take(led.cluster, *led.appender, 1);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].code, Code::ok);
  EXPECT_EQ(done[0].tag, 2u);
  EXPECT_EQ(led.appender->last_identity().sequence, 16u);
}

TEST_P(Append, RefusesWhatExceedsItsLimitsAndGoesOn) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  const uint32_t most = led.cluster.options(1).logs[0].entry_bytes_max;
  const std::string large(most, 'x');
  EXPECT_EQ(led.appender->append(bytes_of(large)).code, Code::ok);
  EXPECT_EQ(led.appender->append(bytes_of(large + "x")).code, Code::too_large);
  const std::vector<std::span<const std::byte>> many(257, bytes_of("x"));
  EXPECT_EQ(led.appender->append_batch_async(many, 1), Code::too_large);
  EXPECT_EQ(led.appender->claim(most + 1).error().code, Code::too_large);
  EXPECT_EQ(led.log().appender({.outstanding_max = 1025}).error().code, Code::invalid);
  EXPECT_EQ(led.appender->append(bytes_of("still here")).code, Code::ok);
  EXPECT_EQ(led.appender->last_identity().sequence, 2u);
}

TEST_P(Append, AFullRingIsBackPressureUntilTrimmed) {
  Shape with = shape();
  with.ring_bytes = 1 << 20;
  with.suspect_after_us = 5'000'000;
  // Inline, nobody else has a turn while an append waits: not for long enough to look faulty.
  constexpr uint64_t kWaitNs = kSecondNs / 25;
  Led led(with);
  ASSERT_NE(led.appender, nullptr);
  const std::string payload(16'000, 'p');
  Position last;
  Completion done;
  uint64_t appended = 0;
  for (;; ++appended) {
    ASSERT_LT(appended, 100u) << "a ring of 1 MiB cannot hold this much";
    done = led.appender->append(bytes_of(payload), {.timeout_ns = kWaitNs});
    if (done.code != Code::ok) break;
    last = done.position;
  }
  EXPECT_TRUE(done.code == Code::again || done.code == Code::timed_out) << name(done.code);
  EXPECT_GT(appended, 20u);
  ASSERT_TRUE(led.cluster.until([&] { return led.log().trim(last) == Code::ok; }));
  for (int i = 0; i < 200; ++i) {
    done = led.appender->append(bytes_of(payload), {.timeout_ns = kWaitNs});
    if (done.code == Code::ok) last = done.position;
    (void)led.log().trim(last);
    led.cluster.turn();
  }
  EXPECT_GT(led.log().marks().trimmed.value, appended);
  EXPECT_EQ(led.log().read(Position{1}, *std::make_unique<std::vector<std::byte>>()),
            Code::trimmed);
}

TEST_P(Append, ADeadlinePassesWithoutUndoingTheAppend) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  ASSERT_EQ(led.appender->append(bytes_of("first")).code, Code::ok);
  std::set<int> others;
  for (int id = 1; id <= 3; ++id) {
    if (id != led.leader) others.insert(id);
  }
  for (const int id : others) led.cluster.close(id);
  // Alone it reaches no quorum; one-sided stores into the closed replicas' files may still do.
  const Completion done = led.appender->append(bytes_of("second"), {.timeout_ns = kSecondNs / 10});
  EXPECT_TRUE(done.code == Code::timed_out || done.code == Code::ok ||
              done.code == Code::not_appended || done.code == Code::not_leader)
      << name(done.code);
  for (const int id : others) led.cluster.open(id);
  ASSERT_FALSE(HasFatalFailure());
  led.appender = nullptr;
  int leader = 0;
  auto appender = led.cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  const Completion third = appender->append(bytes_of("third"));
  ASSERT_EQ(third.code, Code::ok);
  const auto contents = led.cluster.contents(leader);
  EXPECT_EQ(contents.front(), "first");
  EXPECT_EQ(contents.back(), "third");
  EXPECT_EQ(std::count(contents.begin(), contents.end(), "second"), contents.size() == 3 ? 1 : 0);
}

TEST_P(Append, ASynchronousAppendKeepsTheCompletionsOfOthers) {
  Led led(shape(), {.outstanding_max = 8});
  ASSERT_NE(led.appender, nullptr);
  for (int round = 0; round < 50; ++round) {
    for (uint64_t tag = 0; tag < 8; ++tag) {
      ASSERT_EQ(led.appender->append_async(bytes_of("a"), tag), Code::ok);
    }
    ASSERT_EQ(led.appender->append_async(bytes_of("a"), 8), Code::again);
    ASSERT_EQ(led.appender->append(bytes_of("b")).code, Code::ok);
    ASSERT_EQ(led.appender->append_async(bytes_of("a"), 8), Code::again)
        << "completions are not taken";
    const auto taken = take(led.cluster, *led.appender, 8);
    ASSERT_EQ(taken.size(), 8u);
    for (uint64_t tag = 0; tag < 8; ++tag) EXPECT_EQ(taken[tag].tag, tag);
  }
}

TEST_P(Append, FlushIsABarrier) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  for (uint64_t tag = 0; tag < 500; ++tag) {
    ASSERT_EQ(led.appender->append_async(bytes_of("x"), tag), Code::ok);
  }
  ASSERT_EQ(led.appender->flush(kPatienceNs), Code::ok);
  EXPECT_GE(led.log().tail().value, 500u);
  EXPECT_EQ(take(led.cluster, *led.appender, 500).size(), 500u);
}

TEST_P(Append, EveryDurabilityLevelIsReached) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  for (const Durability level : {Durability::volatile_, Durability::local, Durability::replicated,
                                 Durability::persisted, Durability::all}) {
    // `all` waits for the last replica to be attached, which inline needs its turns.
    ASSERT_EQ(led.appender->append_async(bytes_of(name(level)), 1, {.durability = level}),
              Code::ok);
    const auto done = take(led.cluster, *led.appender, 1);
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].code, Code::ok) << name(level);
  }
}

TEST_P(Append, AClaimIsWrittenInPlace) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  ASSERT_EQ(led.appender->append(bytes_of("before")).code, Code::ok);
  auto claim = led.appender->claim(100);
  ASSERT_TRUE(claim) << claim.error().message;
  ASSERT_EQ(claim->payload().size(), 100u);
  std::memcpy(claim->payload().data(), "in place, and cut", 17);
  EXPECT_EQ(led.appender->append_async(bytes_of("not now"), 1), Code::again);
  EXPECT_EQ(led.appender->claim(10).error().code, Code::again);
  ASSERT_EQ(led.appender->submit(std::move(*claim), 8, 77), Code::ok);
  const auto done = take(led.cluster, *led.appender, 1);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].code, Code::ok);
  EXPECT_EQ(done[0].tag, 77u);
  {
    auto dropped = led.appender->claim(100);
    ASSERT_TRUE(dropped);
  }
  const Completion after = led.appender->append(bytes_of("after"));
  ASSERT_EQ(after.code, Code::ok) << "an abandoned claim leaves nothing behind";
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(led.cluster.until([&] { return led.cluster.log(id).tail() >= after.position; }));
    EXPECT_EQ(led.cluster.contents(id), (std::vector<std::string>{"before", "in place", "after"}));
  }
}

TEST_P(Append, AnExpiredClaimIsFenced) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  auto claim = led.appender->claim(64);
  ASSERT_TRUE(claim) << claim.error().message;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  (void)led.cluster.until([&] { return std::chrono::steady_clock::now() > end; });
  std::memset(claim->payload().data(), 0x5a, 64);  // lands nowhere
  EXPECT_EQ(led.appender->submit(std::move(*claim), 64, 1), Code::fenced);
  const Completion done = led.appender->append(bytes_of("goes on"));
  ASSERT_EQ(done.code, Code::ok);
  EXPECT_EQ(led.cluster.contents(led.leader), std::vector<std::string>{"goes on"});
}

TEST_P(Append, AFollowerRefusesAndNamesTheLeader) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  const int follower = led.leader == 1 ? 2 : 1;
  ASSERT_TRUE(led.cluster.until(
      [&] { return led.cluster.log(follower).leadership().leader.value == led.leader; }));
  const auto refused = led.cluster.log(follower).appender();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_leader);
  EXPECT_NE(refused.error().message.find("replica " + std::to_string(led.leader)),
            std::string::npos)
      << refused.error().message;
  EXPECT_EQ(led.cluster.log(follower).trim(Position{1}), Code::not_leader);
  EXPECT_FALSE(led.cluster.log(follower).leadership().is_self);
  EXPECT_EQ(led.cluster.log(follower).leadership().term, led.log().leadership().term);
}

TEST_P(Append, TokensGrowStrictly) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  Token last = led.log().token();
  for (int i = 0; i < 100; ++i) {
    const Completion done = led.appender->append(bytes_of("x"));
    ASSERT_EQ(done.code, Code::ok);
    ASSERT_GT(done.token(), last);
    last = done.token();
    std::vector<std::byte> payload;
    Token read;
    ASSERT_EQ(led.log().read(done.position, payload, &read), Code::ok);
    EXPECT_EQ(read, last);
  }
}

TEST_P(Append, CloseResolvesWhatIsOutstanding) {
  Led led(shape());
  ASSERT_NE(led.appender, nullptr);
  uint64_t taken_in = 0;
  while (taken_in < 200 && led.appender->append_async(bytes_of("x"), taken_in) == Code::ok)
    ++taken_in;
  Log& log = led.log();
  led.cluster.engine(led.leader).close();
  EXPECT_EQ(led.appender->append_async(bytes_of("late"), 1), Code::closed);
  EXPECT_EQ(led.appender->append(bytes_of("late")).code, Code::closed);
  const auto taken = take(led.cluster, *led.appender, taken_in);
  EXPECT_EQ(taken.size(), taken_in);
  for (const Completion& done : taken) {
    EXPECT_TRUE(done.code == Code::ok || done.code == Code::closed) << name(done.code);
  }
  EXPECT_EQ(log.appender().error().code, Code::closed);
  EXPECT_EQ(log.subscribe(Position{1}).error().code, Code::closed);
  EXPECT_EQ(log.wait_for(Position{1'000'000}, kSecondNs), Code::closed);
  EXPECT_EQ(log.trim(Position{1}), Code::closed);
  led.cluster.engine(led.leader).close();
}

}  // namespace
}  // namespace caisson::engine_test
