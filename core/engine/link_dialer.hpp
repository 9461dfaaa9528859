// SPDX-License-Identifier: BSD-3-Clause
// From an address to an authorised connection: resolve, connect, TLS, who is it, greeting, welcome.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/engine/frame_stream.hpp"
#include "core/engine/greeting.hpp"

namespace caisson::engine {

struct DialOptions {
  std::string host;
  uint16_t port = 0;
  TlsContext tls;
  Identity self;
  ReplicaId expected_node;  // 0: any of the cluster
  std::chrono::milliseconds timeout{5'000};
};

struct Dialled {
  std::shared_ptr<FrameStream> stream;  // opened by nobody yet
  ReplicaId node;
  uint32_t version = 0;  // that both speak
};

std::string address_text(const std::string& host, uint16_t port);

// One attempt. Lives as long as it is under way.
class Dial : public FrameStream::Owner, public std::enable_shared_from_this<Dial> {
 public:
  using Done = std::function<void(Result<Dialled>)>;

  // Calls `done` once, from the io_context's thread, unless cancelled first.
  static std::shared_ptr<Dial> start(asio::io_context& io, DialOptions options, Done done);
  void cancel();

  Dial(asio::io_context& io, DialOptions options, Done done);

 private:
  void resolve();
  void connect(const asio::ip::tcp::resolver::results_type& endpoints);
  void greet();
  Result<void> check_certificate();
  void on_stream_frame(std::string frame) override;
  void on_stream_closed(const Error& why) override;
  void finish(Result<Dialled> result);

  DialOptions options_;
  std::string who_;
  Done done_;
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer timer_;
  std::shared_ptr<FrameStream> stream_;
};

}  // namespace caisson::engine
