// SPDX-License-Identifier: BSD-3-Clause
// What clients ask of a node besides appends and reads: members, the lead, apologies, orphans; and
// how much they may ask for at a time.
#include <gmock/gmock.h>

#include <algorithm>

#include "core/engine/engine_parts.hpp"
#include "core/replication/salvage.hpp"
#include "tests/engine/server_fixture.hpp"

namespace caisson::engine_test {
namespace {

using ::testing::HasSubstr;

ReplicaId id_of(int id) { return ReplicaId{static_cast<uint8_t>(id)}; }

class ServerRequests : public ServerFixture {
 protected:
  int follower() const { return leader == 1 ? 2 : 1; }
  // Everybody knows who leads: a refusal can name it.
  void settle() {
    ASSERT_TRUE(cluster->until(
        [&] { return cluster->log(follower()).leadership().leader == id_of(leader); }));
  }
  void expect_names_the_leader(const client::Failed& refused, const char* what) {
    EXPECT_EQ(refused.code, Code::not_leader) << what;
    EXPECT_EQ(refused.hint.leader, id_of(leader)) << what;
    EXPECT_EQ(refused.hint.port, cluster->options(leader).listen_port) << what;
  }
  // Has the stopped replica `id` hold all of its own entries as displaced ones.
  uint64_t displace(int id) {
    const EngineOptions options = engine::completed(cluster->options(id));
    const auto ground = engine::open_ground(options, options.logs[0]);
    EXPECT_TRUE(ground);
    if (!ground) return 0;
    pmem::Region& region = *ground->region;
    const auto superblock = log::decode_superblock(*region.read_superblock());
    EXPECT_TRUE(superblock);
    replication::SalvageArea area(region);
    const log::Ring ring(region.ring_data(), region.geometry().ring_bytes);
    EXPECT_TRUE(area.keep(ring, superblock->trim, superblock->validated.end, Term{999}));
    return area.records().empty() ? 0 : area.records().front().slot.id;
  }
};

TEST_F(ServerRequests, OnlyTheLeaderChangesMembersHandsOverTrimsOrTakesApologies) {
  settle();
  Connection connection(*cluster, follower());
  client::ChangeMembers change;
  change.log = 1;
  change.remove = just(id_of(3));
  expect_names_the_leader(connection.ask<client::Failed>(change), "members");
  expect_names_the_leader(connection.ask<client::Failed>(client::HandOver{1, id_of(follower())}),
                          "hand over");
  expect_names_the_leader(connection.ask<client::Failed>(client::Trim{1, Position{1}}), "trim");
  expect_names_the_leader(connection.ask<client::Failed>(client::TakeApologies{1, 77, Position{1}}),
                          "apologies");
  EXPECT_EQ(cluster->log(leader).members().voters.count(), 3);
  EXPECT_TRUE(cluster->log(leader).leadership().is_self);
}

TEST_F(ServerRequests, NameALogThatIsThere) {
  Connection connection(*cluster, leader);
  client::Read read;
  read.log = 99;
  read.from = Position{1};
  client::ChangeMembers change;
  change.log = 99;
  change.remove = just(id_of(3));
  client::OrphansOf orphans;
  orphans.log = 99;
  const std::vector<client::RequestBody> requests{client::OpenStream{99, 77, false},
                                                  client::TakeApologies{99, 77, Position{1}},
                                                  append(1, 1, {"x"}),
                                                  read,
                                                  client::Trim{99, Position{1}},
                                                  client::WaitFor{99, Position{1}, 0},
                                                  change,
                                                  client::HandOver{99, id_of(1)},
                                                  orphans,
                                                  client::DiscardOrphans{99, 1}};
  for (client::RequestBody body : requests) {
    if (auto* const appended = std::get_if<client::Append>(&body)) appended->log = 99;
    const auto refused = connection.ask<client::Failed>(body);
    EXPECT_EQ(refused.code, Code::not_found) << body.index();
    EXPECT_THAT(refused.message, HasSubstr("99")) << body.index();
  }
}

TEST_F(ServerRequests, AChangeOfMembersIsDoneOrSaysWhyNot) {
  Connection connection(*cluster, leader);
  const int leaves = leader == 3 ? 2 : 3;
  client::ChangeMembers change;
  change.log = 1;
  change.remove = just(id_of(leaves));
  change.view = View{12345};
  EXPECT_EQ(connection.ask<client::Done>(change).code, Code::wrong_view);
  change.view = {};
  ASSERT_TRUE(cluster->until(
      [&] { return connection.ask<client::Done>(change).code == Code::ok || HasFailure(); }));
  ASSERT_TRUE(cluster->until([&] {
    const Members now = cluster->log(leader).members();
    return now.settled() && now.voters.count() == 2;
  }));
  EXPECT_FALSE(cluster->log(leader).members().voters.has(id_of(leaves)));
  client::ChangeMembers unseen;
  unseen.log = 1;
  unseen.add = just(ReplicaId{9});
  EXPECT_EQ(connection.ask<client::Done>(unseen).code, Code::not_found) << "it never said hello";
}

TEST_F(ServerRequests, TheLeadIsHandedToAVoter) {
  Connection connection(*cluster, leader);
  EXPECT_EQ(connection.ask<client::Done>(client::HandOver{1, ReplicaId{9}}).code, Code::not_found);
  const int heir = follower();
  ASSERT_TRUE(cluster->until([&] {
    connection.send(client::HandOver{1, id_of(heir)});
    const auto reply = connection.receive();
    const auto* const done = reply ? std::get_if<client::Done>(&reply->body) : nullptr;
    return done == nullptr || done->code == Code::ok;
  }));
  EXPECT_TRUE(cluster->until([&] { return cluster->log(heir).leadership().is_self; }));
}

TEST_F(ServerRequests, ApologiesAreTakenForAStream) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  connection.send(append(stream.incarnation, 1, {"a", "b"}));
  ASSERT_EQ(outcomes(connection, 2).at(2).code, Code::ok);
  // Its client was told of 9 appends; the log holds 2.
  client::OpenStream back{1, 77, true};
  back.told_incarnation = stream.incarnation;
  back.told_sequence = 9;
  const auto resumed = connection.ask<client::StreamOpened>(back);
  ASSERT_EQ(resumed.apologies.size(), 1u);
  EXPECT_EQ(resumed.apologies[0].first_sequence, 3u);
  EXPECT_EQ(resumed.apologies[0].last_sequence, 9u);
  const auto taken =
      connection.ask<client::Done>(client::TakeApologies{1, 77, resumed.apologies[0].noted});
  EXPECT_EQ(taken.code, Code::ok);
  EXPECT_TRUE(
      connection.ask<client::StreamOpened>(client::OpenStream{1, 77, true}).apologies.empty());
}

TEST_F(ServerRequests, OrphansAreListedReadAndDiscarded) {
  {
    Connection connection(*cluster, leader);
    const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
    connection.send(append(stream.incarnation, 1, {"one", "two"}));
    ASSERT_EQ(outcomes(connection, 2).at(2).code, Code::ok);
  }
  const int held = follower();
  ASSERT_TRUE(cluster->until([&] { return cluster->contents(held).size() == 2; }));
  servers[static_cast<size_t>(held - 1)].reset();
  cluster->close(held);
  const uint64_t record = displace(held);
  ASSERT_NE(record, 0u);
  cluster->open(held);
  serve(held);
  ASSERT_FALSE(HasFatalFailure());

  Connection connection(*cluster, held);
  client::OrphansOf all;
  all.log = 1;
  const auto listed = connection.ask<client::OrphanRecords>(all).all;
  ASSERT_EQ(listed.records.size(), 1u);
  EXPECT_EQ(listed.records[0].id, record);
  EXPECT_EQ(listed.records[0].sealed_by, Term{999});
  EXPECT_TRUE(listed.records[0].entries.empty()) << "read one by one";
  for (const bool payloads : {false, true}) {
    client::OrphansOf one = all;
    one.record = record;
    one.payloads = payloads;
    std::vector<std::string> found;
    for (bool last = false; !last && !HasFailure();) {
      const auto page = connection.ask<client::OrphanEntries>(one);
      EXPECT_FALSE(page.damaged);
      for (const OrphanEntry& entry : page.entries) {
        if (entry.data) found.push_back(text_of(entry.payload));
      }
      one.from = page.next;
      last = page.last;
    }
    EXPECT_EQ(found, payloads ? (std::vector<std::string>{"one", "two"})
                              : (std::vector<std::string>{"", ""}));
  }
  client::OrphansOf unknown = all;
  unknown.record = record + 1;
  const auto refused = connection.ask<client::Failed>(unknown);
  EXPECT_EQ(refused.code, Code::not_found);
  EXPECT_THAT(refused.message, HasSubstr("record " + std::to_string(record + 1)));
  EXPECT_EQ(connection.ask<client::Done>(client::DiscardOrphans{1, record + 1}).code,
            Code::not_found);
  EXPECT_EQ(connection.ask<client::Done>(client::DiscardOrphans{1, record}).code, Code::ok);
  EXPECT_TRUE(connection.ask<client::OrphanRecords>(all).all.records.empty());
}

TEST_F(ServerRequests, MoreThanAThousandAtATimeAreRefusedAndOneThatEndsMakesRoom) {
  Connection connection(*cluster, leader);
  constexpr int kMost = 1024;
  uint64_t last = 0;
  for (int i = 0; i < kMost; ++i) {
    last = connection.send(client::WaitFor{1, Position{1'000'000}, client::kForever});
  }
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  const std::vector<client::RequestBody> more{
      client::WaitFor{1, Position{1}, 0}, read, client::OpenStream{1, 77, false},
      client::TakeApologies{1, 77, Position{1}},
      client::Tail{1, static_cast<uint32_t>(ReadPath::log), client::kForever}};
  for (const client::RequestBody& body : more) {
    const auto refused = connection.ask<client::Failed>(body);
    EXPECT_EQ(refused.code, Code::again) << body.index();
    EXPECT_THAT(refused.message, HasSubstr(std::to_string(kMost))) << body.index();
  }
  connection.send_as(last, client::Cancel{});
  EXPECT_EQ(connection.ask<client::Waited>(client::WaitFor{1, Position{1}, client::kForever}).code,
            Code::ok);
  Connection other(*cluster, leader);
  EXPECT_EQ(other.ask<client::Waited>(client::WaitFor{1, Position{1}, client::kForever}).code,
            Code::ok)
      << "another client has room of its own";
}

// A ring of 4 MiB takes no more until it is trimmed; what came meanwhile waits where it is.
TEST_F(ServerRequests, WhatIsSentToAFullLogWaitsAndIsAppendedOnceInOrder) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  constexpr uint64_t kRequests = 400;
  constexpr uint64_t kEach = 50;
  const std::string payload(1000, 'p');
  for (uint64_t i = 0; i < kRequests; ++i) {
    connection.send(
        append(stream.incarnation, i * kEach + 1, std::vector<std::string>(kEach, payload)));
  }
  std::map<uint64_t, Position> done;
  Position last;
  while (done.size() < kRequests * kEach && !HasFailure()) {
    for (const auto& outcome : connection.expect<client::AppendResult>().outcomes) {
      EXPECT_EQ(outcome.code, Code::ok) << name(outcome.code);
      EXPECT_TRUE(done.emplace(outcome.sequence, outcome.position).second) << outcome.sequence;
      last = std::max(last, outcome.position);
    }
    (void)cluster->log(leader).trim(last);
  }
  EXPECT_TRUE(std::ranges::is_sorted(done, {}, [](const auto& each) { return each.second; }));
}

TEST_F(ServerRequests, AClientThatTakesNoAnswersHoldsUpNobodyElse) {
  Connection writer(*cluster, leader);
  const auto stream = writer.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  constexpr uint64_t kEntries = 2'000;
  constexpr uint64_t kEach = 500;
  for (uint64_t first = 1; first <= kEntries; first += kEach) {
    writer.send(
        append(stream.incarnation, first, std::vector<std::string>(kEach, std::string(1000, 'x'))));
    ASSERT_EQ(outcomes(writer, kEach).size(), kEach);
  }
  Connection lazy(*cluster, leader);
  constexpr uint64_t kReads = 20;
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  // 40 MB of answers: far more than sockets and the node keep for it.
  for (uint64_t i = 0; i < kReads; ++i) lazy.send(read);
  for (uint64_t i = 0; i < 50; ++i) {
    writer.send(append(stream.incarnation, kEntries + 1 + i, {"meanwhile"}));
    ASSERT_EQ(outcomes(writer, 1)[kEntries + 1 + i].code, Code::ok);
  }
  std::map<uint64_t, size_t> entries;
  std::set<uint64_t> ended;
  while (ended.size() < kReads && !HasFailure()) {
    const auto reply = lazy.receive();
    ASSERT_TRUE(reply);
    const auto* const found = std::get_if<client::Entries>(&reply->body);
    ASSERT_NE(found, nullptr);
    entries[reply->id] += found->entries.size();
    if (found->last) ended.insert(reply->id);
  }
  for (const auto& [id, count] : entries) EXPECT_GE(count, kEntries) << id;
}

}  // namespace
}  // namespace caisson::engine_test
