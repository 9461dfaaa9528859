// SPDX-License-Identifier: BSD-3-Clause
// Members through the API: admitted, handed over to, removed; views among the entries; appends that
// are bound to a view.
#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

Shape with_spare() {
  Shape shape;
  shape.replicas = 4;
  shape.adjust = [](EngineOptions& options) { options.peers[3].spare = true; };
  return shape;
}

ReplicaSet set_of(std::initializer_list<uint8_t> ids) {
  ReplicaSet set;
  for (const uint8_t id : ids) set.add(ReplicaId{id});
  return set;
}

// The newcomer may not have said hello yet.
Code admit(Cluster& cluster, int leader, ReplicaSet newcomers) {
  Code code = Code::not_found;
  (void)cluster.until([&] {
    code = cluster.log(leader).change_members({.add = newcomers}, 20 * kSecondNs);
    return code != Code::not_found;
  });
  return code;
}

TEST(Member, AChangeIsSeenByEverybodyInItsPlaceAmongTheEntries) {
  Cluster cluster(with_spare());
  cluster.start();
  int leader = 0;
  const auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  ASSERT_EQ(appender->append(bytes_of("before")).code, Code::ok);
  EXPECT_EQ(cluster.log(leader).members().voters, set_of({1, 2, 3}));
  ASSERT_EQ(admit(cluster, leader, set_of({4})), Code::ok);
  EXPECT_EQ(cluster.log(leader).change_members({.add = set_of({4})}, 20 * kSecondNs), Code::ok)
      << "as it is";
  ASSERT_EQ(appender->append(bytes_of("after")).code, Code::ok);
  const Members now = cluster.log(leader).members();
  EXPECT_TRUE(now.settled());
  EXPECT_EQ(now.voters, set_of({1, 2, 3, 4}));
  const Position last = cluster.log(leader).tail();
  for (int id = 1; id <= 4; ++id) {
    ASSERT_EQ(cluster.log(id).wait_for(last, 10 * kSecondNs), Code::ok) << id;
    auto subscription = cluster.log(id).subscribe(Position{1}, {.views = true});
    ASSERT_TRUE(subscription) << subscription.error().message;
    std::vector<std::string> seen;
    Entry entry;
    while (entry.position < last && (*subscription)->next_wait(entry, kSecondNs) == Code::ok) {
      if (entry.members != nullptr) {
        seen.push_back("view " + std::to_string(entry.members->view.value) + " of " +
                       std::to_string(entry.members->voters.count()));
      } else {
        seen.emplace_back(reinterpret_cast<const char*>(entry.payload.data()),
                          entry.payload.size());
      }
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"view 1 of 3", "before", "view 2 of 3", "view 3 of 4",
                                              "view 4 of 4", "after"}))
        << id;
  }
}

TEST(Member, AnAppendBoundToAViewIsRefusedInAnother) {
  Cluster cluster(with_spare());
  cluster.start();
  int leader = 0;
  const auto appender = cluster.appender_at_leader(leader);
  ASSERT_NE(appender, nullptr);
  const View first = cluster.log(leader).members().view;
  EXPECT_EQ(appender->append(bytes_of("a"), {.view = first}).code, Code::ok);
  ASSERT_EQ(admit(cluster, leader, set_of({4})), Code::ok);
  EXPECT_EQ(appender->append(bytes_of("b"), {.view = first}).code, Code::wrong_view);
  const View now = cluster.log(leader).members().view;
  EXPECT_EQ(appender->append(bytes_of("c"), {.view = now}).code, Code::ok);
  MemberChange late{.remove = set_of({4})};
  late.view = first;
  EXPECT_EQ(cluster.log(leader).change_members(late, kSecondNs), Code::wrong_view);
}

TEST(Member, TheLeadGoesWhereItIsHandedAndComesBack) {
  Cluster cluster;
  cluster.start();
  int first = 0;
  const auto before = cluster.appender_at_leader(first);
  ASSERT_NE(before, nullptr);
  const int second = first % 3 + 1;
  const ReplicaId to{static_cast<uint8_t>(second)};
  ASSERT_EQ(before->append(bytes_of("one")).code, Code::ok);
  EXPECT_EQ(cluster.log(second).hand_over(to, kSecondNs), Code::not_leader);
  EXPECT_EQ(cluster.log(first).hand_over(ReplicaId{9}, kSecondNs), Code::not_found);
  Code code = Code::again;
  ASSERT_TRUE(cluster.until([&] {
    code = cluster.log(first).hand_over(to, kSecondNs);
    return code != Code::no_quorum;
  }));
  ASSERT_EQ(code, Code::ok);
  ASSERT_TRUE(cluster.until([&] { return cluster.log(second).leadership().is_self; }));
  int leads = 0;
  const auto appender = cluster.appender_at_leader(leads);
  ASSERT_NE(appender, nullptr);
  EXPECT_EQ(appender->append(bytes_of("two")).code, Code::ok);
}

TEST(Member, ALeaderMayRemoveItself) {
  Cluster cluster;
  cluster.start();
  int first = 0;
  const auto before = cluster.appender_at_leader(first);
  ASSERT_NE(before, nullptr);
  ASSERT_EQ(before->append(bytes_of("one")).code, Code::ok);
  const Code code = cluster.log(first).change_members(
      {.remove = just(ReplicaId{static_cast<uint8_t>(first)})}, 10 * kSecondNs);
  EXPECT_TRUE(code == Code::ok || code == Code::not_leader) << name(code);
  int second = 0;
  ASSERT_TRUE(cluster.until([&] { return !cluster.log(first).leadership().is_self; }));
  const auto appender = cluster.appender_at_leader(second);
  ASSERT_NE(appender, nullptr);
  EXPECT_EQ(appender->append(bytes_of("two")).code, Code::ok);
  EXPECT_EQ(cluster.log(second).members().voters.count(), 2);
  EXPECT_FALSE(cluster.log(first).leadership().is_self);
}

}  // namespace
}  // namespace caisson::engine_test
