// SPDX-License-Identifier: BSD-3-Clause
// Clients: pipelining, deadlines, back-pressure in both directions, and errors that say what to do.
#include "core/engine/client_connection.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <asio.hpp>
#include <atomic>
#include <thread>

#include "core/engine/greeting.hpp"
#include "tests/links/cluster_fixture.hpp"

namespace caisson::tests {
namespace {

using engine::ClientConnection;
using engine::Identity;
using std::chrono::milliseconds;

class ClientTest : public LinksTest {
 protected:
  void SetUp() override {
    options_ = node_options(one_);
    node_ = start(options_, told_);
    ASSERT_NE(node_, nullptr);
  }

  std::unique_ptr<ClientConnection> connect(const std::string& name = "ops") {
    auto connection = ClientConnection::connect(client_options(node_->port(), name));
    EXPECT_TRUE(connection.has_value()) << connection.error().message;
    return connection ? std::move(*connection) : nullptr;
  }

  Error connect_error(const engine::ClientConnectionOptions& options) {
    const auto connection = ClientConnection::connect(options);
    EXPECT_FALSE(connection.has_value());
    return connection ? Error{Code::ok, {}} : connection.error();
  }

  engine::LinksOptions options_;
  NodeRecorder told_;
  std::unique_ptr<engine::Links> node_;
};

TEST_F(ClientTest, FramesTravelBothWaysAndTheNameIsTheCertificates) {
  auto connection = connect("ops@example");
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(connection->node(), one_);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(told_.clients[0].first, "ops@example");
  ASSERT_EQ(connection->send("question"), Code::ok);
  ASSERT_EQ(connection->flush(0, kPatience), Code::ok);
  ASSERT_TRUE(client->wait([&] { return client->frames.size() == 1; }));
  EXPECT_EQ(client->frames[0], "question");
  EXPECT_EQ(client->channel->send("answer"), Code::ok);
  const auto answer = connection->receive(kPatience);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(*answer, "answer");
}

TEST_F(ClientTest, ThousandsOfFramesArePipelined) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  constexpr size_t kFrames = 20'000;
  for (size_t i = 0; i < kFrames; ++i) {
    ASSERT_EQ(connection->send(std::to_string(i)), Code::ok);
  }
  ASSERT_EQ(connection->flush(0, kPatience), Code::ok);
  ASSERT_TRUE(client->wait([&] { return client->frames.size() == kFrames; }));
  for (size_t i = 0; i < kFrames; ++i) ASSERT_EQ(client->frames[i], std::to_string(i));
  for (size_t i = 0; i < kFrames; ++i)
    ASSERT_EQ(client->channel->send(std::to_string(i)), Code::ok);
  for (size_t i = 0; i < kFrames; ++i) {
    const auto frame = connection->receive(kPatience);
    ASSERT_TRUE(frame.has_value());
    ASSERT_EQ(*frame, std::to_string(i));
  }
}

TEST_F(ClientTest, ASlowReaderMeetsBackPressureAndLosesNothing) {
  node_.reset();
  options_.client_queue_bytes_max = 256 << 10;
  node_ = start(options_, told_);
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  size_t sent = 0;
  const std::string filler(10'000, 'x');
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (client->channel->send(std::to_string(sent) + filler) == Code::ok) {
    ++sent;
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "the queue never filled";
  }
  EXPECT_GT(sent, 20u);
  EXPECT_LE(client->channel->queued_bytes(), options_.client_queue_bytes_max);
  // While its answers pile up, its questions are left in the socket.
  ASSERT_EQ(connection->send("question"), Code::ok);
  for (size_t i = 0; i < sent; ++i) {
    const auto frame = connection->receive(kPatience);
    ASSERT_TRUE(frame.has_value()) << frame.error().message;
    ASSERT_EQ(*frame, std::to_string(i) + filler);
  }
  ASSERT_TRUE(client->wait([&] { return client->drained == 1; }));
  EXPECT_EQ(client->channel->send("after"), Code::ok);
  EXPECT_EQ(connection->receive(kPatience).value_or("nothing"), "after");
  ASSERT_TRUE(client->wait([&] { return client->frames.size() == 1; }));
}

TEST_F(ClientTest, APausedReaderStopsTheClientsFrames) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  client->channel->pause_reading(true);
  ASSERT_EQ(client->channel->send("paused"), Code::ok);  // behind the pause on the same thread
  ASSERT_TRUE(connection->receive(kPatience).has_value());
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 64; ++i) ASSERT_EQ(connection->send(megabyte), Code::ok);
  EXPECT_EQ(connection->flush(0, milliseconds(200)), Code::timed_out);
  EXPECT_GT(connection->queued_bytes(), size_t{16} << 20)
      << "what the kernel does not hold waits here";
  {
    const std::lock_guard lock(client->mutex);
    EXPECT_LE(client->frames.size(), 2u);
  }
  client->channel->pause_reading(false);
  EXPECT_EQ(connection->flush(0, kPatience), Code::ok);
  EXPECT_TRUE(client->wait([&] { return client->frames.size() == 64; }));
}

TEST_F(ClientTest, ReceiveKeepsItsDeadlineAndWakes) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto before = std::chrono::steady_clock::now();
  const auto nothing = connection->receive(milliseconds(30));
  EXPECT_EQ(nothing.error().code, Code::timed_out);
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(30));
  EXPECT_EQ(connection->receive(milliseconds(0)).error().code, Code::timed_out);
  std::thread waker([&] { connection->wake(); });
  EXPECT_EQ(connection->receive(std::chrono::microseconds::max()).error().code, Code::again);
  waker.join();
}

TEST_F(ClientTest, AClosedChannelSaysSoOnBothSides) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  client->channel->close();
  ASSERT_TRUE(client->wait([&] { return client->closed_because.size() == 1; }));
  EXPECT_EQ(client->channel->send("late"), Code::closed);
  EXPECT_EQ(connection->receive(kPatience).error().code, Code::closed);
  EXPECT_EQ(connection->send("late"), Code::closed);
  EXPECT_EQ(connection->flush(0, kPatience), Code::closed);
}

TEST_F(ClientTest, AnswersSentBeforeAHangUpAreStillReceived) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  ASSERT_EQ(client->channel->send("one"), Code::ok);
  ASSERT_EQ(connection->receive(kPatience).value_or(""), "one");
  ASSERT_EQ(client->channel->send("two"), Code::ok);
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (client->channel->queued_bytes() != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    std::this_thread::yield();
  }
  node_->stop();
  EXPECT_EQ(connection->receive(kPatience).value_or(""), "two");
  EXPECT_EQ(connection->receive(kPatience).error().code, Code::closed);
}

TEST_F(ClientTest, AVanishedClientIsNoticedAndItsChannelOutlivesTheNode) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  connection.reset();
  ASSERT_TRUE(client->wait([&] { return client->closed_because.size() == 1; }));
  node_.reset();
  EXPECT_EQ(client->channel->send("late"), Code::closed);
  EXPECT_EQ(client->channel->queued_bytes(), 0u);
  client->channel->pause_reading(true);
  client->channel->close();
  EXPECT_EQ(client->closed_because.size(), 1u) << "told once";
}

TEST_F(ClientTest, FramesBeyondTheLimitAreRefusedOnBothSides) {
  auto connection = connect();
  ASSERT_NE(connection, nullptr);
  const auto client = told_.wait_client();
  ASSERT_NE(client, nullptr);
  const std::string too_large(engine::kFrameBytesMax + 1, 'x');
  EXPECT_EQ(connection->send(too_large), Code::too_large);
  EXPECT_EQ(client->channel->send(too_large), Code::too_large);
  EXPECT_EQ(connection->send(std::string(engine::kFrameBytesMax, 'x')), Code::ok);
  EXPECT_EQ(connection->flush(0, kPatience), Code::ok);
  ASSERT_TRUE(client->wait([&] { return client->frames.size() == 1; }));
}

TEST_F(ClientTest, AnOversizeFrameOnTheWireEndsTheConnection) {
  NodeRecorder told;
  auto options = node_options(three_);
  options.tls.enabled = false;
  auto plain = start(options, told);
  asio::io_context io;
  asio::ip::tcp::socket socket(io);
  socket.connect({asio::ip::make_address("127.0.0.1"), plain->port()});
  engine::Greeting greeting;
  greeting.self = Identity::of_client(cluster_, "raw");
  const std::string payload = encode(greeting);
  std::string bytes(4, '\0');
  bytes[0] = static_cast<char>(payload.size());
  asio::write(socket, asio::buffer(bytes + payload));
  const auto client = told.wait_client();
  ASSERT_NE(client, nullptr);
  asio::write(socket, asio::buffer(std::string("\xff\xff\xff\x7f", 4)));
  ASSERT_TRUE(client->wait([&] { return client->closed_because.size() == 1; }));
  EXPECT_EQ(client->closed_because[0].code, Code::too_large) << client->closed_because[0].message;
}

TEST_F(ClientTest, OnlySoManyClientsAreTaken) {
  node_.reset();
  options_.clients_max = 2;
  node_ = start(options_, told_);
  auto first = connect();
  auto second = connect();
  const Error third = connect_error(client_options(node_->port()));
  EXPECT_EQ(third.code, Code::again) << third.message;
  first.reset();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!ClientConnection::connect(client_options(node_->port()))) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "the place is never given away";
  }
}

TEST_F(ClientTest, ANodeMayTakeNoClients) {
  told_.take_clients = false;
  EXPECT_EQ(connect_error(client_options(node_->port())).code, Code::denied);
}

TEST_F(ClientTest, NobodyListeningIsClosedAndNamed) {
  const Error error = connect_error(client_options(unused_port_));
  EXPECT_EQ(error.code, Code::closed);
  EXPECT_NE(error.message.find("127.0.0.1:1 refuses connections"), std::string::npos)
      << error.message;
}

TEST_F(ClientTest, ASilentServerTimesOut) {
  asio::io_context io;
  asio::ip::tcp::acceptor silent(io, {asio::ip::make_address("127.0.0.1"), 0});
  auto options = client_options(silent.local_endpoint().port());
  options.timeout = milliseconds(50);
  EXPECT_EQ(connect_error(options).code, Code::timed_out);
}

TEST_F(ClientTest, HostNamesAreResolvedAndUnknownOnesNamed) {
  auto options = client_options(node_->port());
  options.host = "localhost";
  const auto connection = ClientConnection::connect(options);
  EXPECT_TRUE(connection.has_value()) << connection.error().message;
  options.host = "no-such-host.invalid";
  const Error error = connect_error(options);
  EXPECT_NE(error.message.find("no-such-host.invalid"), std::string::npos) << error.message;
  EXPECT_NE(error.code, Code::internal);
}

TEST_F(ClientTest, TheErrorSaysWhichCertificateIsWrong) {
  const uint16_t port = node_->port();
  auto options = client_options(port);
  options.cluster = other_cluster_;
  EXPECT_EQ(connect_error(options).code, Code::wrong_cluster);

  options = client_options(port);
  options.tls = tls(Identity::of_node(cluster_, two_));
  EXPECT_EQ(connect_error(options).code, Code::denied) << "a node's certificate is no client's";

  const engine::Validity past{std::chrono::hours(-48), std::chrono::hours(-24)};
  options.tls = tls(Identity::of_client(cluster_, "ops"), past);
  Error error = connect_error(options);
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_NE(error.message.find("our certificate has expired"), std::string::npos) << error.message;

  options.tls = tls(Identity::of_client(cluster_, "ops"), authority(cluster_, "imposter"),
                    authority(cluster_));
  error = connect_error(options);
  EXPECT_EQ(error.code, Code::wrong_cluster) << error.message;

  options.tls = tls(Identity::of_client(cluster_, "ops"), authority(cluster_),
                    authority(cluster_, "imposter"));
  error = connect_error(options);
  EXPECT_EQ(error.code, Code::wrong_cluster);
  EXPECT_NE(error.message.find("check tls.ca"), std::string::npos) << error.message;

  options = client_options(port);
  options.expected_node = two_;
  EXPECT_EQ(connect_error(options).code, Code::denied);

  options = client_options(port);
  options.tls.certificate_file = (directory_ / "none.pem").string();
  EXPECT_EQ(connect_error(options).code, Code::not_found);

  options = client_options(port);
  options.tls.enabled = false;
  EXPECT_NE(connect_error(options).code, Code::internal) << "plain against TLS";
}

}  // namespace
}  // namespace caisson::tests
