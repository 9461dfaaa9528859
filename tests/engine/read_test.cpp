// SPDX-License-Identifier: BSD-3-Clause
#include <array>
#include <deque>
#include <random>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

class Reads : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    Shape shape;
    shape.runs_inline = GetParam();
    shape.ring_bytes = 1 << 20;
    cluster = std::make_unique<Cluster>(shape);
    cluster->start();
    if (HasFatalFailure()) return;
    leader = cluster->leader();
    ASSERT_NE(leader, 0);
    appender = cluster->appender(leader);
    ASSERT_NE(appender, nullptr);
  }
  Log& log() { return cluster->log(leader); }
  Position append(std::string_view text) {
    const Completion done = appender->append(bytes_of(text));
    EXPECT_EQ(done.code, Code::ok) << name(done.code);
    return done.position;
  }
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Appender> appender;
  int leader = 0;
};
INSTANTIATE_TEST_SUITE_P(Pollers, Reads, testing::Bool(), poller_kind);

TEST_P(Reads, TellApartWhatIsNotThereYetNotThereAnyMoreAndNotForYou) {
  const Position at = append("mine");
  std::vector<std::byte> payload;
  EXPECT_EQ(log().read(at, payload), Code::ok);
  EXPECT_EQ(text_of(payload), "mine");
  EXPECT_EQ(log().read(at + 1, payload), Code::not_yet);
  EXPECT_EQ(log().read(Position{1}, payload), Code::not_found) << "the first view is caisson's own";
  EXPECT_EQ(log().read(Position{0}, payload), Code::not_found);
  EXPECT_EQ(log().wait_for(at, 0), Code::ok);
  EXPECT_EQ(log().wait_for(at + 1, 1'000'000), Code::timed_out);
}

TEST_P(Reads, ASubscriptionSeesEveryEntryOfTheClientsInOrder) {
  auto subscription = log().subscribe(Position{0});
  ASSERT_TRUE(subscription);
  Entry entry;
  EXPECT_EQ((*subscription)->next(entry), Code::not_yet);
  EXPECT_EQ((*subscription)->next_wait(entry, 1'000'000), Code::timed_out);
  Position last;
  for (int i = 0; i < 200; ++i) {
    const std::string text = "entry " + std::to_string(i);
    const Position at = append(text);
    ASSERT_EQ((*subscription)->next_wait(entry, kPatienceNs), Code::ok);
    EXPECT_EQ(entry.position, at);
    EXPECT_EQ(text_of(entry.payload), text);
    EXPECT_EQ(entry.identity.sequence, static_cast<uint64_t>(i + 1));
    last = at;
  }
  EXPECT_EQ((*subscription)->next(entry), Code::not_yet);
  auto from_middle = log().subscribe(Position{last.value - 1});
  ASSERT_TRUE(from_middle);
  ASSERT_EQ((*from_middle)->next(entry), Code::ok);
  EXPECT_EQ(text_of(entry.payload), "entry 198");
}

TEST_P(Reads, ASubscriptionHoldsTheTrimPoint) {
  for (int i = 0; i < 10; ++i) append(std::to_string(i));
  const Position last = append("last");
  auto subscription = log().subscribe(Position{0});
  ASSERT_TRUE(subscription);
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  const std::span<const std::byte> kept = entry.payload;
  ReplicaId holder{63};
  Code code = Code::ok;
  ASSERT_TRUE(cluster->until([&] {
    code = log().trim(last, &holder);
    return code != Code::held || holder == ReplicaId{};
  }));
  EXPECT_EQ(code, Code::held);
  EXPECT_EQ(holder, ReplicaId{}) << "a reader of this process";
  EXPECT_EQ(text_of(kept), "0");
  subscription->reset();
  ASSERT_TRUE(cluster->until([&] { return log().trim(last) == Code::ok; }));
  EXPECT_EQ(log().marks().trimmed, last);
  std::vector<std::byte> payload;
  EXPECT_EQ(log().read(last, payload), Code::trimmed);
  const auto refused = log().subscribe(last);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::trimmed);
}

TEST_P(Reads, AFollowersReaderHoldsItsTrimPointToo) {
  const int follower = leader == 1 ? 2 : 1;
  for (int i = 0; i < 10; ++i) append(std::to_string(i));
  const Position last = append("last");
  ASSERT_TRUE(cluster->until([&] { return cluster->log(follower).tail() >= last; }));
  auto subscription = cluster->log(follower).subscribe(Position{0});
  ASSERT_TRUE(subscription);
  Entry entry;
  ASSERT_EQ((*subscription)->next(entry), Code::ok);
  (void)cluster->until([&] { return log().trim(last) == Code::ok; }, kSecondNs);
  for (int i = 1; i <= 10; ++i) {
    ASSERT_EQ((*subscription)->next(entry), Code::ok) << "entry " << i;
    EXPECT_EQ(text_of(entry.payload), i == 10 ? "last" : std::to_string(i));
  }
}

TEST_P(Reads, SurviveManyWrapsOnEveryReplica) {
  std::array<std::unique_ptr<Subscription>, 3> readers;
  for (int id = 1; id <= 3; ++id) {
    auto subscription = cluster->log(id).subscribe(Position{0});
    ASSERT_TRUE(subscription);
    readers[static_cast<size_t>(id - 1)] = std::move(*subscription);
  }
  std::mt19937 random(7);
  std::array<uint64_t, 3> seen{};
  uint64_t bytes = 0;
  uint64_t appended = 0;
  const auto read_all = [&] {
    for (size_t i = 0; i < readers.size(); ++i) {
      Entry entry;
      while (readers[i]->next(entry) == Code::ok) {
        const std::string number = std::to_string(++seen[i]);
        ASSERT_EQ(text_of(entry.payload.first(number.size())), number);
        ASSERT_EQ(static_cast<char>(entry.payload.back()), 'x');
      }
    }
  };
  // What everybody has long applied goes; trimming up to the tail would always be held by somebody.
  std::deque<Position> ends;
  while (bytes < 8u << 20) {
    std::string text = std::to_string(appended + 1);
    text.resize(text.size() + 1 + random() % 4000, 'x');
    ASSERT_TRUE(cluster->until([&] {
      read_all();
      std::array<Completion, 64> done;
      const size_t n = appender->completions(done);
      for (size_t k = 0; k < n; ++k) EXPECT_EQ(done[k].code, Code::ok);
      if (n != 0) ends.push_back(done[n - 1].position);
      if (!ends.empty() && log().trim(ends.front()) == Code::ok) ends.pop_front();
      return HasFailure() || appender->append_async(bytes_of(text), appended) == Code::ok;
    })) << "after "
        << appended;
    ASSERT_FALSE(HasFailure());
    ++appended;
    bytes += text.size();
  }
  ASSERT_TRUE(cluster->until([&] {
    read_all();
    return HasFatalFailure() || seen == std::array{appended, appended, appended};
  })) << seen[0]
      << ' ' << seen[1] << ' ' << seen[2] << " of " << appended;
}

TEST_P(Reads, MarksAreOrdered) {
  for (int i = 0; i < 100; ++i) append("x");
  for (int id = 1; id <= 3; ++id) {
    const Marks marks = cluster->log(id).marks();
    EXPECT_GE(marks.submitted, marks.replicated);
    EXPECT_GE(marks.replicated, marks.persisted);
    EXPECT_GE(marks.persisted, marks.committed);
    EXPECT_GE(marks.committed, marks.delivered);
    EXPECT_GE(marks.delivered, marks.applied);
    EXPECT_GE(marks.applied, marks.trimmed);
  }
}

TEST(Applied, WithoutAutoApplyTheApplicationHoldsTheTrimPoint) {
  Cluster cluster({.auto_apply = false});
  cluster.start();
  ASSERT_FALSE(HasFatalFailure());
  const int leader = cluster.leader();
  ASSERT_NE(leader, 0);
  auto appender = cluster.appender(leader);
  ASSERT_NE(appender, nullptr);
  Completion done;
  for (int i = 0; i < 10; ++i) done = appender->append(bytes_of("x"));
  ASSERT_EQ(done.code, Code::ok);
  ReplicaId holder;
  EXPECT_EQ(cluster.log(leader).trim(done.position, &holder), Code::held);
  EXPECT_NE(holder, ReplicaId{});
  EXPECT_EQ(cluster.log(leader).mark_applied(done.position + 1), Code::not_yet);
  for (int id = 1; id <= 3; ++id) {
    ASSERT_EQ(cluster.log(id).wait_for(done.position, kPatienceNs), Code::ok);
    ASSERT_EQ(cluster.log(id).mark_applied(done.position), Code::ok);
  }
  EXPECT_TRUE(cluster.until([&] { return cluster.log(leader).trim(done.position) == Code::ok; }));
}

}  // namespace
}  // namespace caisson::engine_test
