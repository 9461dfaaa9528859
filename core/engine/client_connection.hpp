// SPDX-License-Identifier: BSD-3-Clause
// A client's connection to one node: frames out, frames in, deadlines on everything.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "caisson/options.hpp"
#include "core/engine/identity.hpp"

namespace caisson::engine {

struct ClientConnectionOptions {
  std::string host;
  uint16_t port = 0;
  ClusterUuid cluster{};
  ReplicaId expected_node;   // 0: whichever node of the cluster answers
  TlsOptions tls;            // with a client's certificate
  std::string name = "cli";  // without TLS only: the certificate says it otherwise
  std::chrono::milliseconds timeout{5'000};
};

// One thread at a time, except wake(). Nothing runs in the background: frames leave and arrive
// while a call is being made.
class ClientConnection {
 public:
  // closed: nobody listens there, or it hung up · timed_out · denied: one certificate is not
  // accepted, the message says whose and why · wrong_cluster · wrong_version · not_found, damaged:
  // certificate files.
  static Result<std::unique_ptr<ClientConnection>> connect(const ClientConnectionOptions& options);
  ~ClientConnection();
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  ReplicaId node() const;  // who answered

  // Queues a frame and moves what can be moved. ok · closed · too_large. Does not wait: watch
  // queued_bytes(), and receive() or flush() when it grows.
  [[nodiscard]] Code send(std::string frame);
  size_t queued_bytes() const;

  // The next frame. timed_out: none came · again: wake() was called · closed. Frames that arrived
  // before a hang-up are returned first.
  Result<std::string> receive(std::chrono::microseconds timeout);

  // Waits until at most `queued_bytes_max` are queued. ok · timed_out · closed. Frames that arrive
  // meanwhile are kept for receive().
  [[nodiscard]] Code flush(size_t queued_bytes_max, std::chrono::microseconds timeout);

  void wake();  // any thread: ends a waiting receive()

 private:
  class Impl;
  explicit ClientConnection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caisson::engine
