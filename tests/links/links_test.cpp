// SPDX-License-Identifier: BSD-3-Clause
// Links between nodes: frames arrive in order, links heal, and nobody is believed for being
// reachable.
#include "core/engine/links.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/links/cluster_fixture.hpp"

namespace caisson::tests {
namespace {

using engine::Identity;
using engine::Links;

TEST_F(LinksTest, FramesArriveInOrderBothWays) {
  NodeRecorder a_told, b_told;
  auto a = start(node_options(one_, {two_}), a_told);
  auto b = start(node_options(two_, {one_}), b_told);
  connect_both(*a, one_, *b, two_);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  ASSERT_TRUE(b_told.wait_link(one_, true)) << b_told.problems_text();
  EXPECT_TRUE(a->up(two_));
  EXPECT_TRUE(b->up(one_));
  constexpr size_t kFrames = 5000;
  for (size_t i = 0; i < kFrames; ++i) {
    a->send(two_, "a" + std::to_string(i));
    b->send(one_, "b" + std::to_string(i));
  }
  ASSERT_TRUE(b_told.wait_frames(kFrames));
  ASSERT_TRUE(a_told.wait_frames(kFrames));
  for (size_t i = 0; i < kFrames; ++i) {
    ASSERT_EQ(b_told.frames[i], std::pair(one_, "a" + std::to_string(i)));
    ASSERT_EQ(a_told.frames[i], std::pair(two_, "b" + std::to_string(i)));
  }
}

TEST_F(LinksTest, FramesOfEverySizeUpToTheLimitArriveWhole) {
  NodeRecorder a_told, b_told;
  auto a = start(node_options(one_, {two_}), a_told);
  auto b = start(node_options(two_, {one_}), b_told);
  connect_both(*a, one_, *b, two_);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  const size_t sizes[] = {0,     1,     3,     4,        5, 1000, 16384,   65532,
                          65533, 65536, 70000, 1u << 20, 0, 7,    100'000, engine::kFrameBytesMax};
  for (const size_t n : sizes) a->send(two_, std::string(n, static_cast<char>('a' + n % 26)));
  a->send(two_, std::string(engine::kFrameBytesMax + 1, 'x'));  // dropped, the link stays
  a->send(two_, "last");
  ASSERT_TRUE(b_told.wait_frames(std::size(sizes) + 1));
  for (size_t i = 0; i < std::size(sizes); ++i) {
    EXPECT_EQ(b_told.frames[i].second,
              std::string(sizes[i], static_cast<char>('a' + sizes[i] % 26)));
  }
  EXPECT_EQ(b_told.frames.back().second, "last");
}

TEST_F(LinksTest, ManyThreadsSendAtOnceAndEachOnesOrderHolds) {
  NodeRecorder a_told, b_told;
  auto a = start(node_options(one_, {two_}), a_told);
  auto b = start(node_options(two_, {one_}), b_told);
  connect_both(*a, one_, *b, two_);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  constexpr int kThreads = 4;
  constexpr int kEach = 1000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) a->send(two_, std::to_string(t) + " " + std::to_string(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(b_told.wait_frames(kThreads * kEach));
  int next[kThreads] = {};
  for (const auto& [from, frame] : b_told.frames) {
    const int t = std::stoi(frame);
    ASSERT_EQ(std::stoi(frame.substr(frame.find(' ') + 1)), next[t]++);
  }
}

TEST_F(LinksTest, ALinkComesBackAfterThePeerRestarts) {
  NodeRecorder a_told;
  auto a = start(node_options(one_, {two_}), a_told);
  auto options = node_options(two_, {});
  options.peers.push_back({one_, "127.0.0.1", a->port()});
  uint16_t port = 0;
  for (int round = 0; round < 3; ++round) {
    NodeRecorder b_told;
    options.listen_port = port;
    auto b = start(options, b_told);
    ASSERT_NE(b, nullptr);
    if (port == 0) a->set_peer({two_, "127.0.0.1", b->port()});
    port = b->port();
    ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
    ASSERT_TRUE(b_told.wait_link(one_, true)) << b_told.problems_text();
    a->send(two_, "round " + std::to_string(round));
    ASSERT_TRUE(b_told.wait_frames(1));
    EXPECT_EQ(b_told.frames.back().second, "round " + std::to_string(round));
    b.reset();
    ASSERT_TRUE(a_told.wait_link(two_, false));
    EXPECT_FALSE(a->up(two_));
  }
}

TEST_F(LinksTest, BothEndsOfALinkDeriveOneKeyAndEachConnectionAnother) {
  NodeRecorder a_told, b_told;
  auto a = start(node_options(one_, {two_}), a_told);
  auto b = start(node_options(two_, {one_}), b_told);
  connect_both(*a, one_, *b, two_);
  const auto a_sends = a_told.wait_key(a_told.sending_keys, two_);
  const auto b_sends = b_told.wait_key(b_told.sending_keys, one_);
  const auto a_receives = a_told.wait_key(a_told.receiving_keys, two_);
  const auto b_receives = b_told.wait_key(b_told.receiving_keys, one_);
  ASSERT_TRUE(a_sends && b_sends && a_receives && b_receives);
  EXPECT_EQ(a_sends, b_receives);
  EXPECT_EQ(b_sends, a_receives);
  EXPECT_NE(a_sends, b_sends);
  b->stop();
  EXPECT_TRUE(a_told.wait([&] {
    return !a_told.sending_keys[two_].has_value() && !a_told.receiving_keys[two_].has_value();
  })) << "a link that is down has no key";
}

TEST_F(LinksTest, ARestartedPeerIsDialledBackWithoutWaitingForTheBackOff) {
  NodeRecorder a_told, b_told;
  auto a_options = node_options(one_, {two_});
  a_options.backoff_min_ms = a_options.backoff_max_ms = 3'600'000;
  auto a = start(a_options, a_told);
  ASSERT_TRUE(a_told.wait_problem("refuses connections", Code::closed)) << a_told.problems_text();
  auto b_options = node_options(two_, {});
  b_options.peers.push_back({one_, "127.0.0.1", a->port()});
  // What listens where `a` dials next is `b`; only b's own dial can make it do so within the hour.
  auto b = start(b_options, b_told);
  ASSERT_TRUE(b_told.wait_link(one_, true)) << b_told.problems_text();
  a->set_peer({two_, "127.0.0.1", b->port()});
  ASSERT_TRUE(a_told.wait_link(two_, true));
  b->stop();
  ASSERT_TRUE(a_told.wait_link(two_, false));
  b_options.listen_port = b->port();
  b = start(b_options, b_told);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
}

TEST_F(LinksTest, OnlyTheNewestFramesWaitForALink) {
  NodeRecorder a_told, b_told;
  auto a = start(node_options(one_, {two_}), a_told);
  for (int i = 0; i < 1000; ++i) a->send(two_, std::to_string(i));
  auto b = start(node_options(two_, {one_}), b_told);
  connect_both(*a, one_, *b, two_);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  a->send(two_, "end");
  ASSERT_TRUE(
      b_told.wait([&] { return !b_told.frames.empty() && b_told.frames.back().second == "end"; }));
  EXPECT_LE(b_told.frames.size(), 17u);
  EXPECT_EQ(b_told.frames[b_told.frames.size() - 2].second, "999");
}

TEST_F(LinksTest, FramesToNobodyAreDropped) {
  NodeRecorder told;
  auto a = start(node_options(one_), told);
  a->send(one_, "self");
  a->send(three_, "unknown");
  a->send(ReplicaId{0}, "nobody");
  a->send(ReplicaId{200}, "out of range");
  EXPECT_FALSE(a->up(three_));
  EXPECT_FALSE(a->up(ReplicaId{200}));
}

TEST_F(LinksTest, APortInUseIsBusyAndNamed) {
  NodeRecorder told;
  auto a = start(node_options(one_), told);
  auto options = node_options(two_);
  options.listen_port = a->port();
  const auto second = Links::start(options, told);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::busy);
  EXPECT_NE(second.error().message.find("127.0.0.1:" + std::to_string(a->port())),
            std::string::npos)
      << second.error().message;
}

TEST_F(LinksTest, AnAddressOfAnotherMachineCannotBeListenedOn) {
  NodeRecorder told;
  auto options = node_options(one_);
  options.listen_host = "192.0.2.1";
  const auto links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::invalid) << links.error().message;
}

TEST_F(LinksTest, ItsOwnCertificateMustBeItsOwn) {
  NodeRecorder told;
  auto options = node_options(one_);
  options.tls = tls(Identity::of_node(cluster_, two_));
  auto links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::denied) << links.error().message;
  options.tls = tls(Identity::of_node(other_cluster_, one_));
  links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::wrong_cluster) << links.error().message;
}

TEST_F(LinksTest, MissingAndForeignCertificateFilesAreNamed) {
  NodeRecorder told;
  auto options = node_options(one_);
  const TlsOptions good = options.tls;
  options.tls.key_file = (directory_ / "none.key").string();
  auto links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::not_found);
  EXPECT_NE(links.error().message.find("none.key"), std::string::npos) << links.error().message;
  options.tls = good;
  options.tls.key_file = tls(Identity::of_node(cluster_, one_)).key_file;
  links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::invalid) << links.error().message;
  options.tls = good;
  options.tls.ca_file = good.key_file;
  links = Links::start(options, told);
  ASSERT_FALSE(links.has_value());
  EXPECT_EQ(links.error().code, Code::invalid) << links.error().message;
}

TEST_F(LinksTest, WithoutTlsLinksWorkIfBothSidesSaySo) {
  NodeRecorder a_told, b_told, c_told;
  auto a_options = node_options(one_, {two_, three_});
  auto b_options = node_options(two_, {one_});
  a_options.tls.enabled = b_options.tls.enabled = false;
  auto a = start(a_options, a_told);
  auto b = start(b_options, b_told);
  connect_both(*a, one_, *b, two_);
  ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  a->send(two_, "plain");
  ASSERT_TRUE(b_told.wait_frames(1));
  auto c = start(node_options(three_, {one_}), c_told);  // with TLS
  c->set_peer({one_, "127.0.0.1", a->port()});
  EXPECT_TRUE(c_told.wait([&] { return !c_told.problems.empty(); })) << "TLS meets plain";
  EXPECT_FALSE(c->up(one_));
}

TEST_F(LinksTest, CertificatesAreExchangedWithoutARestart) {
  NodeRecorder a_told, b_told;
  auto a_options = node_options(one_, {two_});
  auto a = start(a_options, a_told);
  auto b = start(node_options(two_, {one_}), b_told);
  const TlsOptions fresh = tls(Identity::of_node(cluster_, one_));
  std::filesystem::rename(fresh.certificate_file, a_options.tls.certificate_file);
  EXPECT_EQ(a->reload_certificates().error().code, Code::invalid) << "half an exchange is refused";
  std::filesystem::rename(fresh.key_file, a_options.tls.key_file);
  EXPECT_TRUE(a->reload_certificates().has_value());
  connect_both(*a, one_, *b, two_);
  EXPECT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
  EXPECT_TRUE(b_told.wait_link(one_, true)) << b_told.problems_text();
}

TEST_F(LinksTest, StopInTheMiddleOfTrafficEndsEveryCallback) {
  for (int round = 0; round < 5; ++round) {
    NodeRecorder a_told, b_told;
    auto a = start(node_options(one_, {two_}), a_told);
    auto b = start(node_options(two_, {one_}), b_told);
    connect_both(*a, one_, *b, two_);
    ASSERT_TRUE(a_told.wait_link(two_, true)) << a_told.problems_text();
    std::atomic<bool> done{false};
    std::thread sender([&] {
      while (!done) a->send(two_, std::string(1000, 'x'));
    });
    ASSERT_TRUE(b_told.wait_frames(100));
    b->stop();
    const size_t frames = b_told.frames.size();
    a->stop();
    done = true;
    sender.join();
    EXPECT_EQ(b_told.frames.size(), frames);
  }
}

}  // namespace
}  // namespace caisson::tests
