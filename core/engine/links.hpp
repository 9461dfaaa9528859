// SPDX-License-Identifier: BSD-3-Clause
// Control links of a node: one thread, one listening port, mutual TLS 1.3.
//
// Between nodes: each node dials every peer and sends only on the connection it dialled; it
// receives on those it accepted. One connection per ordered pair needs no rule for who dials and
// none for two crossing dials, each side finds out by itself that its sending half is gone, and a
// restarted peer that dials us makes us dial back at once instead of after the back-off.
//
// Clients come to the same port. Who someone is stands in the certificate, and nowhere else (R41):
// reaching the port proves nothing. Without TLS, which must be configured in so many words, the
// greeting is believed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caisson/options.hpp"
#include "core/engine/identity.hpp"
#include "core/engine/link_key.hpp"

namespace caisson::engine {

// The longest frame: one largest payload with its envelope.
inline constexpr size_t kFrameBytesMax = (size_t{1} << 20) + (size_t{64} << 10);

struct LinkPeer {
  ReplicaId id;
  std::string host;
  uint16_t port = 0;
};

struct LinksOptions {
  ClusterUuid cluster{};
  ReplicaId self;
  std::string listen_host = "127.0.0.1";
  uint16_t listen_port = 0;     // 0: any free one, see Links::port()
  std::vector<LinkPeer> peers;  // without self
  TlsOptions tls;
  size_t peer_queue_bytes_max = size_t{8} << 20;  // then the oldest frames are dropped
  size_t client_queue_bytes_max = size_t{8}
                                  << 20;  // then send() answers `again`, and reading pauses
  size_t clients_max = 256;               // connections, those still greeting included
  uint32_t backoff_min_ms = 5;
  uint32_t backoff_max_ms = 500;
  uint32_t greeting_timeout_ms = 5'000;  // from accept, or connect, to an authorised link
};

LinksOptions links_options(const EngineOptions& options);
// That the node's certificate files are there, and made for it: what start() would say.
Result<void> check_certificates(const EngineOptions& options);

// One connected client. Any thread.
class ClientChannel {
 public:
  virtual ~ClientChannel() = default;
  // ok: queued · again: the queue is full, nothing was taken; ClientHandler::on_drained() follows ·
  // closed · too_large.
  [[nodiscard]] virtual Code send(std::string frame) = 0;
  virtual size_t queued_bytes() const = 0;
  // While paused no further frame is read, and the client's sends meet TCP's back-pressure. A frame
  // or two that had already been read may still arrive.
  virtual void pause_reading(bool paused) = 0;
  // Flushes nothing. on_closed() follows, once.
  virtual void close() = 0;
};

// What a client's connection tells its owner. Called on the links thread; must not block.
class ClientHandler {
 public:
  virtual ~ClientHandler() = default;
  virtual void on_frame(std::string frame) = 0;
  virtual void on_drained() {}                   // the queue fell below half after an `again`
  virtual void on_closed(const Error& why) = 0;  // the last call
};

// What the links tell their node. Called on the links thread; must not block.
class LinksHandler {
 public:
  virtual ~LinksHandler() = default;
  virtual void on_frame(ReplicaId from, std::string frame) = 0;
  // up: frames sent to `peer` now leave; down: they wait, and the oldest are dropped.
  virtual void on_link(ReplicaId peer, bool up) = 0;
  // A half of the link to `peer` is up, with a key that both its ends know; null: it is down. TLS
  // only.
  virtual void on_link_key(ReplicaId, LinkHalf, const LinkKey*) {}
  // Null refuses the client. The channel may be kept as long as wanted.
  virtual std::shared_ptr<ClientHandler> on_client(const std::string& name,
                                                   std::shared_ptr<ClientChannel> channel) = 0;
  // Something a person may want to know: a refused connection, a peer that cannot be reached (once
  // per reason, not per attempt).
  virtual void on_problem(const Error&) {}
};

class Links {
 public:
  class Impl;

  // Listens, and starts dialling. busy: the port is taken · denied: certificate files or port ·
  // not_found, invalid, wrong_cluster: see the message, it names the file or address and the cure.
  // `handler` must outlive the Links; it is called until stop() returns.
  static Result<std::unique_ptr<Links>> start(const LinksOptions& options, LinksHandler& handler);
  ~Links();  // stops
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // Any thread; never blocks. Frames to one peer arrive in order or not at all. A frame to self or
  // to an unknown peer, or one that is too large, is dropped.
  void send(ReplicaId to, std::string frame);
  bool up(ReplicaId peer) const;  // any thread
  // The protocol version that both have agreed upon, the last time that the link to `peer` came up;
  // 0: it never did. Any thread.
  uint32_t version(ReplicaId peer) const;

  // Adds a peer, or moves it to another address: dials it at once. Any thread.
  void set_peer(const LinkPeer& peer);

  // Reads the certificate files again; links made from now on use them (R46). Any thread.
  Result<void> reload_certificates();

  uint16_t port() const;
  void stop();  // any thread but the links thread; no callback after it returns

 private:
  explicit Links(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace caisson::engine
