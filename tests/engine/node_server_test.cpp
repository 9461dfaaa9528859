// SPDX-License-Identifier: BSD-3-Clause
// The server for clients, spoken to over real connections.
#include "core/engine/node_server.hpp"

#include <map>

#include "tests/engine/server_fixture.hpp"

namespace caisson::engine_test {
namespace {

class Server : public ServerFixture {};

TEST_F(Server, AppendsAndReadsBack) {
  Connection connection(*cluster, leader);
  const auto opened = connection.ask<client::LogOpened>(client::OpenLog{"main"});
  EXPECT_EQ(opened.log, 1u);
  EXPECT_EQ(opened.leader.value, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  EXPECT_EQ(stream.last_sequence, 0u);
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back("line " + std::to_string(i));
  connection.send(append(stream.incarnation, 1, texts));
  const auto done = outcomes(connection, texts.size());
  Position last;
  for (const auto& [sequence, outcome] : done) {
    EXPECT_EQ(outcome.code, Code::ok) << sequence;
    EXPECT_GT(outcome.position, last);
    last = outcome.position;
  }
  EXPECT_EQ(cluster->contents(leader), texts);
  // Pieces as asked for, the last one marked.
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  read.entries_max = 100;
  connection.send(read);
  std::vector<std::string> found;
  for (bool over = false; !over && !HasFailure();) {
    const auto entries = connection.expect<client::Entries>();
    EXPECT_LE(entries.entries.size(), 100u);
    for (const auto& entry : entries.entries) found.push_back(entry.payload);
    over = entries.last;
  }
  EXPECT_EQ(found, texts);
}

TEST_F(Server, ARetryIsAnsweredWithTheOriginalPosition) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  connection.send(append(stream.incarnation, 1, {"a", "b", "c"}));
  const auto first = outcomes(connection, 3);
  Connection another(*cluster, leader);
  another.send(append(stream.incarnation, 2, {"b", "c", "d"}));
  const auto again = outcomes(another, 3);
  EXPECT_EQ(again.at(2).position, first.at(2).position);
  EXPECT_EQ(again.at(3).position, first.at(3).position);
  EXPECT_EQ(again.at(4).code, Code::ok);
  EXPECT_EQ(cluster->contents(leader), (std::vector<std::string>{"a", "b", "c", "d"}));
  another.send(append(stream.incarnation, 2, {"B"}));
  EXPECT_EQ(outcomes(another, 1).at(2).code, Code::identity_reused);
  another.send(append(stream.incarnation, 9, {"gap"}));
  EXPECT_EQ(outcomes(another, 1).at(9).code, Code::broken_stream);
  const auto resumed = another.ask<client::StreamOpened>(client::OpenStream{1, 77, true});
  EXPECT_EQ(resumed.last_sequence, 4u);
  another.send(append(stream.incarnation, 5, {"old"}));
  EXPECT_EQ(outcomes(another, 1).at(5).code, Code::stale_stream);
}

TEST_F(Server, AFollowerNamesTheLeadersAddress) {
  const int follower = leader == 1 ? 2 : 1;
  ASSERT_TRUE(
      cluster->until([&] { return cluster->log(follower).leadership().leader.value == leader; }));
  Connection connection(*cluster, follower);
  const auto refused = connection.ask<client::Failed>(client::OpenStream{1, 77, false});
  EXPECT_EQ(refused.code, Code::not_leader);
  EXPECT_EQ(refused.hint.leader.value, leader);
  EXPECT_EQ(refused.hint.port, cluster->options(leader).listen_port);
  connection.send(append(1, 1, {"a", "b"}));
  const auto result = connection.expect<client::AppendResult>();
  ASSERT_FALSE(result.outcomes.empty());
  EXPECT_EQ(result.outcomes.front().code, Code::not_leader);
  EXPECT_EQ(result.hint.leader.value, leader);
  EXPECT_EQ(result.hint.host, "127.0.0.1");
}

TEST_F(Server, AnAtomicAppendIsOneRun) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  client::Append request = append(stream.incarnation, 1, {"x", "y", "z"});
  request.atomic = true;
  connection.send(request);
  const auto done = outcomes(connection, 3);
  EXPECT_EQ(done.at(2).position, done.at(1).position + 1);
  EXPECT_EQ(done.at(3).position, done.at(1).position + 2);
  connection.send(request);
  EXPECT_EQ(outcomes(connection, 3).at(1).position, done.at(1).position);
  EXPECT_EQ(cluster->contents(leader), (std::vector<std::string>{"x", "y", "z"}));
  request.first_sequence = 4;
  request.payloads.assign(300, "x");
  EXPECT_EQ(connection.ask<client::Failed>(request).code, Code::too_large);
}

TEST_F(Server, FollowsUntilCancelled) {
  Connection writer(*cluster, leader);
  const auto stream = writer.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  Connection reader(*cluster, leader == 1 ? 2 : 1);
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  read.follow = true;
  const uint64_t id = reader.send(read);
  for (uint64_t i = 1; i <= 20; ++i) {
    writer.send(append(stream.incarnation, i, {std::to_string(i)}));
    ASSERT_EQ(outcomes(writer, 1).at(i).code, Code::ok);
    const auto entries = reader.expect<client::Entries>();
    ASSERT_EQ(entries.entries.size(), 1u);
    EXPECT_EQ(entries.entries[0].payload, std::to_string(i));
    EXPECT_FALSE(entries.last);
  }
  reader.send_as(id, client::Cancel{});
  (void)reader.ask<client::TailIs>(
      client::Tail{1});  // requests are taken in order: it is cancelled now
  writer.send(append(stream.incarnation, 21, {"unseen"}));
  ASSERT_EQ(outcomes(writer, 1).at(21).code, Code::ok);
  EXPECT_FALSE(reader.receive(milliseconds(200)));
}

TEST_F(Server, WaitsTailsTrimsAndTellsItsStatus) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  connection.send(append(stream.incarnation, 1, {"a", "b"}));
  const Position last = outcomes(connection, 2).at(2).position;
  const auto waited = connection.ask<client::Waited>(client::WaitFor{1, last, client::kForever});
  EXPECT_EQ(waited.code, Code::ok);
  EXPECT_EQ(connection.ask<client::Waited>(client::WaitFor{1, last + 1, 1000}).code,
            Code::timed_out);
  const auto tail = connection.ask<client::TailIs>(client::Tail{1});
  EXPECT_EQ(tail.position, last);
  EXPECT_FALSE(tail.linearizable);
  for (const ReadPath path : {ReadPath::log, ReadPath::leader, ReadPath::proof}) {
    const auto sure = connection.ask<client::TailIs>(
        client::Tail{1, static_cast<uint32_t>(path), client::kForever});
    EXPECT_GE(sure.position, last) << name(path);
    EXPECT_TRUE(sure.linearizable);
  }
  client::Trimmed trimmed;
  ASSERT_TRUE(cluster->until([&] {
    trimmed = connection.ask<client::Trimmed>(client::Trim{1, last});
    return trimmed.code == Code::ok || HasFailure();
  }));
  EXPECT_EQ(trimmed.trimmed, last);
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  EXPECT_EQ(connection.ask<client::Failed>(read).code, Code::trimmed);
  const auto status = connection.ask<client::StatusIs>(client::Status{});
  EXPECT_NE(status.json.find("\"leads\":true"), std::string::npos) << status.json;
  EXPECT_EQ(connection.ask<client::Failed>(client::OpenLog{"nope"}).code, Code::not_found);
  EXPECT_EQ(connection.ask<client::Failed>(client::Tail{99}).code, Code::not_found);
}

TEST_F(Server, RefusesWhatIsNoRequestAndWhatIsTooLarge) {
  Connection hostile(*cluster, leader);
  hostile.send_raw("no protobuf at all, and then some");
  EXPECT_EQ(hostile.expect<client::Failed>().code, Code::invalid);
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  const std::string large(cluster->options(1).logs[0].entry_bytes_max + 1, 'x');
  EXPECT_EQ(connection.ask<client::Failed>(append(stream.incarnation, 1, {"ok", large})).code,
            Code::too_large);
  connection.send(append(stream.incarnation, 1, {"ok"}));
  EXPECT_EQ(outcomes(connection, 1).at(1).code, Code::ok);
}

TEST_F(Server, TakesFarMoreThanItsBuffersAndLosesNothing) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  constexpr uint64_t kRequests = 300;
  constexpr uint64_t kPerRequest = 50;
  const std::string payload(1000, 'p');
  std::map<uint64_t, client::AppendOutcome> done;
  Position last;
  uint64_t sent = 0;
  // 15 MB through a ring of 4 MiB: trimmed on the way, or it would stand still.
  while (done.size() < kRequests * kPerRequest && !HasFailure()) {
    if (sent < kRequests && sent * kPerRequest < done.size() + 900) {
      connection.send(append(stream.incarnation, sent * kPerRequest + 1,
                             std::vector<std::string>(kPerRequest, payload)));
      ++sent;
      continue;
    }
    for (const auto& outcome : connection.expect<client::AppendResult>().outcomes) {
      EXPECT_EQ(outcome.code, Code::ok) << name(outcome.code);
      EXPECT_TRUE(done.emplace(outcome.sequence, outcome).second);
      last = std::max(last, outcome.position);
    }
    (void)cluster->log(leader).trim(last);
  }
  EXPECT_EQ(done.size(), kRequests * kPerRequest);
  for (uint64_t i = 2; i <= done.size(); ++i) {
    // Between two of them there may be checkpoints, which trimming needs.
    ASSERT_GT(done.at(i).position, done.at(i - 1).position);
  }
}

TEST_F(Server, EndsWithClientsStillThere) {
  Connection connection(*cluster, leader);
  const auto stream = connection.ask<client::StreamOpened>(client::OpenStream{1, 77, false});
  connection.send(append(stream.incarnation, 1, {"a"}));
  ASSERT_EQ(outcomes(connection, 1).at(1).code, Code::ok);
  client::Read read;
  read.log = 1;
  read.from = Position{1};
  read.follow = true;
  connection.send(read);
  servers[static_cast<size_t>(leader - 1)].reset();
  while (connection.receive(milliseconds(5000))) {
  }
  serve(leader);
  Connection again(*cluster, leader);
  EXPECT_EQ(again.ask<client::LogOpened>(client::OpenLog{"main"}).log, 1u);
}

TEST(ServerOf, AnInlineEngineServesNobody) {
  Cluster cluster({.runs_inline = true});
  cluster.create_all();
  cluster.open(1);
  ASSERT_FALSE(HasFatalFailure());
  const auto server = engine::NodeServer::start(cluster.engine(1));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Code::unsupported);
}

}  // namespace
}  // namespace caisson::engine_test
