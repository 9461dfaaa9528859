// SPDX-License-Identifier: BSD-3-Clause
// Who is let in: identity decides, in certificates of the cluster's own authority; reachability
// never does.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <asio.hpp>
#include <asio/ssl.hpp>

#include "core/engine/greeting.hpp"
#include "tests/links/cluster_fixture.hpp"

namespace caisson::tests {
namespace {

using engine::Identity;

// A hand-made dialler, for what Links and ClientConnection refuse to do.
class RawConnection {
 public:
  explicit RawConnection(uint16_t port) : socket_(io_) {
    socket_.connect({asio::ip::make_address("127.0.0.1"), port}, error_);
  }

  void write(const std::string& bytes) { asio::write(socket_, asio::buffer(bytes), error_); }

  // Everything until the other side closes; true if it did within the patience of the test.
  bool closed_by_peer() {
    bool closed = false;
    std::function<void()> read = [&] {
      socket_.async_read_some(asio::buffer(input_), [&](const asio::error_code& error, size_t n) {
        if (error) {
          closed = true;
          return;
        }
        received.append(input_.data(), n);
        read();
      });
    };
    read();
    io_.run_for(kPatience);
    return closed;
  }

  asio::error_code error() const { return error_; }
  std::string received;

 private:
  asio::io_context io_;
  asio::ip::tcp::socket socket_;
  asio::error_code error_;
  std::array<char, 4096> input_{};
};

class AuthorisationTest : public LinksTest {
 protected:
  // A node that dials node 1 with these certificate files, and what it is told.
  void expect_link_refused(const TlsOptions& files, ReplicaId dials_as, const std::string& words,
                           Code code) {
    NodeRecorder told;
    auto options = node_options(dials_as, {});
    options.tls = files;
    options.peers.push_back({one_, "127.0.0.1", node_->port()});
    auto links = start(options, told);
    ASSERT_NE(links, nullptr);
    EXPECT_TRUE(told.wait_problem(words, code)) << told.problems_text();
    EXPECT_FALSE(links->up(one_));
    links->stop();
    EXPECT_FALSE(node_->up(dials_as));
    EXPECT_TRUE(node_told_.frames.empty());
    EXPECT_TRUE(node_told_.links.empty()) << "the node never saw a link";
  }

  void SetUp() override {
    node_ = start(node_options(one_, {two_}), node_told_);
    ASSERT_NE(node_, nullptr);
  }

  NodeRecorder node_told_;
  std::unique_ptr<engine::Links> node_;
};

TEST_F(AuthorisationTest, AnotherClustersNodeIsRefused) {
  // It even trusts our authority; ours does not trust its.
  const auto files =
      tls(Identity::of_node(cluster_, two_), authority(cluster_, "imposter"), authority(cluster_));
  expect_link_refused(files, two_, "does not know the authority", Code::wrong_cluster);
  EXPECT_TRUE(
      node_told_.wait_problem("not signed by this cluster's authority", Code::wrong_cluster))
      << node_told_.problems_text();
}

TEST_F(AuthorisationTest, ANodeOfAnotherClusterIsNotDialledSuccessfully) {
  NodeRecorder other_told;
  auto options = node_options(two_, {one_});
  options.cluster = other_cluster_;
  options.tls = tls(Identity::of_node(other_cluster_, two_));
  auto other = start(options, other_told);
  node_->set_peer({two_, "127.0.0.1", other->port()});
  EXPECT_TRUE(node_told_.wait_problem("link to node 2", Code::wrong_cluster))
      << node_told_.problems_text();
  EXPECT_FALSE(node_->up(two_));
}

TEST_F(AuthorisationTest, AWrongNodeAtTheAddressIsNotBelieved) {
  NodeRecorder third_told;
  auto third = start(node_options(three_, {one_}), third_told);
  node_->set_peer({two_, "127.0.0.1", third->port()});
  EXPECT_TRUE(node_told_.wait_problem("is node 3, not node 2", Code::denied))
      << node_told_.problems_text();
  EXPECT_FALSE(node_->up(two_));
}

TEST_F(AuthorisationTest, ANodeThatIsNoPeerIsRefused) {
  expect_link_refused(tls(Identity::of_node(cluster_, three_)), three_, "is no peer of node 1",
                      Code::denied);
}

TEST_F(AuthorisationTest, AnExpiredCertificateIsRefused) {
  const engine::Validity past{std::chrono::hours(-48), std::chrono::hours(-24)};
  expect_link_refused(tls(Identity::of_node(cluster_, two_), past), two_, "has expired",
                      Code::denied);
  EXPECT_TRUE(node_told_.wait_problem("has expired", Code::denied)) << node_told_.problems_text();
}

TEST_F(AuthorisationTest, ACertificateOfTheFutureIsRefused) {
  const engine::Validity future{std::chrono::hours(24), std::chrono::hours(48)};
  expect_link_refused(tls(Identity::of_node(cluster_, two_), future), two_, "does not accept",
                      Code::denied);
  EXPECT_TRUE(node_told_.wait_problem("check both clocks", Code::denied))
      << node_told_.problems_text();
}

TEST_F(AuthorisationTest, AClientsCertificateNeverMakesANode) {
  // Greets as node 2, proves to be a client.
  const TlsOptions files = tls(Identity::of_client(cluster_, "eve"));
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  context.use_certificate_chain_file(files.certificate_file);
  context.use_private_key_file(files.key_file, asio::ssl::context::pem);
  context.load_verify_file(files.ca_file);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), node_->port()});
  stream.handshake(asio::ssl::stream_base::client);
  engine::Greeting greeting;
  greeting.self = Identity::of_node(cluster_, two_);
  const std::string payload = encode(greeting);
  std::string frame(4, '\0');
  frame[0] = static_cast<char>(payload.size());
  asio::write(stream, asio::buffer(frame + payload));
  std::string answer;
  asio::error_code error;
  asio::read(stream, asio::dynamic_buffer(answer), error);
  ASSERT_GT(answer.size(), 4u);
  const auto welcome = engine::decode_welcome(
      std::as_bytes(std::span<const char>(answer.data() + 4, answer.size() - 4)));
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->code, Code::denied);
  EXPECT_NE(welcome->message.find("shows the certificate of client eve"), std::string::npos)
      << welcome->message;
  EXPECT_TRUE(node_told_.frames.empty());
}

TEST_F(AuthorisationTest, AClientsCertificateCannotServe) {
  const TlsOptions files = tls(Identity::of_client(cluster_, "eve"));
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_server);
  context.use_certificate_chain_file(files.certificate_file);
  context.use_private_key_file(files.key_file, asio::ssl::context::pem);
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  node_->set_peer({two_, "127.0.0.1", acceptor.local_endpoint().port()});
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  acceptor.accept(stream.next_layer());
  asio::error_code error;
  stream.handshake(asio::ssl::stream_base::server, error);
  EXPECT_TRUE(error);
  EXPECT_TRUE(node_told_.wait_problem("a node needs a node's certificate", Code::denied))
      << node_told_.problems_text();
  EXPECT_FALSE(node_->up(two_));
}

TEST_F(AuthorisationTest, NoCertificateIsRefused) {
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), node_->port()});
  asio::error_code error;
  stream.handshake(asio::ssl::stream_base::client, error);
  std::string answer;
  if (!error) asio::read(stream, asio::dynamic_buffer(answer), error);
  EXPECT_TRUE(error);
  EXPECT_TRUE(answer.empty());
  EXPECT_TRUE(node_told_.wait_problem("shows no certificate", Code::denied))
      << node_told_.problems_text();
}

TEST_F(AuthorisationTest, OlderTlsIsRefused) {
  const TlsOptions files = tls(Identity::of_node(cluster_, two_));
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tlsv12_client);
  context.use_certificate_chain_file(files.certificate_file);
  context.use_private_key_file(files.key_file, asio::ssl::context::pem);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), node_->port()});
  asio::error_code error;
  stream.handshake(asio::ssl::stream_base::client, error);
  EXPECT_TRUE(error);
}

TEST_F(AuthorisationTest, GarbageOnThePortIsRefusedAndTheNodeGoesOn) {
  const std::string garbage[] = {"GET / HTTP/1.1\r\n\r\n", std::string(100'000, '\xff'),
                                 std::string(5, '\0'), "\x16\x03\x01"};
  for (const std::string& bytes : garbage) {
    RawConnection raw(node_->port());
    ASSERT_FALSE(raw.error());
    raw.write(bytes);
    if (bytes.size() > 5) {
      EXPECT_TRUE(raw.closed_by_peer());
    }
  }
  EXPECT_TRUE(node_told_.wait_problem("does not speak TLS 1.3", Code::invalid))
      << node_told_.problems_text();
  NodeRecorder peer_told;
  auto peer = start(node_options(two_, {one_}), peer_told);
  connect_both(*node_, one_, *peer, two_);
  EXPECT_TRUE(node_told_.wait_link(two_, true)) << node_told_.problems_text();
}

TEST_F(AuthorisationTest, GarbageOnAPlainPortIsRefused) {
  NodeRecorder told;
  auto options = node_options(three_, {one_});
  options.tls.enabled = false;
  auto plain = start(options, told);
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(64, '\xff'),
                                   std::string("\x05\0\0\0hello", 9), std::string(4, '\0')}) {
    RawConnection raw(plain->port());
    ASSERT_FALSE(raw.error());
    raw.write(bytes);
    EXPECT_TRUE(raw.closed_by_peer());
  }
  EXPECT_TRUE(told.wait_problem("at most 4096", Code::too_large)) << told.problems_text();
  EXPECT_TRUE(told.wait_problem("does not greet", Code::invalid)) << told.problems_text();
}

TEST_F(AuthorisationTest, WhoeverStaysSilentIsDropped) {
  NodeRecorder told;
  auto options = node_options(three_, {one_});
  options.greeting_timeout_ms = 50;
  auto node = start(options, told);
  RawConnection raw(node->port());
  EXPECT_TRUE(raw.closed_by_peer());
  EXPECT_TRUE(told.wait_problem("did not greet in time", Code::timed_out)) << told.problems_text();
}

TEST_F(AuthorisationTest, AHandshakeAfterTheRefusalChangesNothing) {
  NodeRecorder told;
  auto options = node_options(three_);
  options.greeting_timeout_ms = 20;
  auto node = start(options, told);
  const TlsOptions files = tls(Identity::of_node(cluster_, one_));
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  context.use_certificate_chain_file(files.certificate_file);
  context.use_private_key_file(files.key_file, asio::ssl::context::pem);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), node->port()});
  ASSERT_TRUE(told.wait_problem("did not greet in time", Code::timed_out)) << told.problems_text();
  asio::error_code error;
  stream.handshake(asio::ssl::stream_base::client, error);
  std::string answer;
  if (!error) asio::read(stream, asio::dynamic_buffer(answer), error);
  EXPECT_TRUE(error);
  EXPECT_TRUE(answer.empty());
  EXPECT_EQ(told.problems.size(), 1u) << told.problems_text();
}

TEST_F(AuthorisationTest, ManySilentStrangersDoNotKeepAPeerOut) {
  std::vector<std::unique_ptr<RawConnection>> strangers;
  for (int i = 0; i < 200; ++i) {
    strangers.push_back(std::make_unique<RawConnection>(node_->port()));
    ASSERT_FALSE(strangers.back()->error());
  }
  NodeRecorder peer_told;
  auto peer = start(node_options(two_, {one_}), peer_told);
  connect_both(*node_, one_, *peer, two_);
  EXPECT_TRUE(peer_told.wait_link(one_, true)) << peer_told.problems_text();
}

}  // namespace
}  // namespace caisson::tests
