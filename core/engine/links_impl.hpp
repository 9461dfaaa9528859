// SPDX-License-Identifier: BSD-3-Clause
// Inside of links.hpp: the thread, the port, and a session for each connection. Everything without
// a word about threads runs on the links thread.
#pragma once

#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "core/engine/frame_stream.hpp"
#include "core/engine/link_dialer.hpp"
#include "core/engine/links.hpp"

namespace caisson::engine {

// The sending half towards one peer: dialled, and dialled again for as long as it takes.
class PeerLink : public FrameStream::Owner, public std::enable_shared_from_this<PeerLink> {
 public:
  PeerLink(Links::Impl& links, LinkPeer peer);

  void send(std::string frame);                                    // any thread
  bool up() const { return up_.load(std::memory_order_acquire); }  // any thread
  // Last agreed upon; 0: never so far. Any thread.
  uint32_t version() const { return version_.load(std::memory_order_acquire); }

  void dial();
  void move_to(const LinkPeer& peer);
  void dial_now();  // if it is waiting for its back-off to pass
  void stop();

 private:
  void on_dialled(Result<Dialled> dialled);
  void on_stream_frame(std::string frame) override;
  void on_stream_closed(const Error& why) override;
  void lost(const Error& why);
  void tell_down();

  Links::Impl& links_;
  LinkPeer peer_;
  asio::steady_timer backoff_;
  uint32_t backoff_ms_;
  bool waiting_ = false;
  std::shared_ptr<Dial> dial_;
  std::shared_ptr<FrameStream> stream_;
  std::shared_ptr<FrameQueue> queue_;
  std::string last_problem_;
  std::atomic<bool> up_{false};
  std::atomic<uint32_t> version_{0};
};

// Somebody who has connected and not yet said, or not proven, who it is.
class Incoming : public FrameStream::Owner, public std::enable_shared_from_this<Incoming> {
 public:
  Incoming(Links::Impl& links, std::shared_ptr<FrameStream> stream);
  void start();
  void stop();

 private:
  void on_shaken(Result<void> shaken);
  bool take_client(const std::string& name, const Welcome& welcome);
  void on_stream_frame(std::string frame) override;
  void on_stream_closed(const Error& why) override;
  void refuse(const Error& why);

  Links::Impl& links_;
  asio::steady_timer timer_;
  std::shared_ptr<FrameStream> stream_;
  std::shared_ptr<FrameQueue> queue_;
  std::optional<Identity> certificate_;
};

// The receiving half from one peer.
class PeerInput : public FrameStream::Owner {
 public:
  PeerInput(Links::Impl& links, ReplicaId peer, std::shared_ptr<FrameStream> stream)
      : links_(links), peer_(peer), stream_(std::move(stream)) {}
  void stop() { stream_->close(); }

 private:
  void on_stream_frame(std::string frame) override;
  void on_stream_closed(const Error& why) override;

  Links::Impl& links_;
  ReplicaId peer_;
  std::shared_ptr<FrameStream> stream_;
};

class ClientSession;

// What a ClientHandler's owner holds: outlives the session, and even the Links.
class ClientChannelImpl : public ClientChannel {
 public:
  ClientChannelImpl(asio::io_context& io, size_t queue_bytes_max)
      : queue_(std::make_shared<FrameQueue>(queue_bytes_max, FrameQueue::Overflow::refuse)),
        io_(&io) {}

  Code send(std::string frame) override;
  size_t queued_bytes() const override { return queue_->bytes(); }
  void pause_reading(bool paused) override;
  void close() override;

  const std::shared_ptr<FrameQueue>& queue() const { return queue_; }
  void attach(std::weak_ptr<ClientSession> session);
  void detach();  // closed from now on

 private:
  // Runs `work` on the links thread with the session, if there still is one.
  template <class Work>
  void post(Work work);

  const std::shared_ptr<FrameQueue> queue_;
  std::mutex mutex_;
  // Guarded by mutex_.
  asio::io_context* io_;  // null once detached
  std::weak_ptr<ClientSession> session_;
};

class ClientSession : public FrameStream::Owner,
                      public std::enable_shared_from_this<ClientSession> {
 public:
  ClientSession(Links::Impl& links, std::string name, std::shared_ptr<FrameStream> stream,
                std::shared_ptr<ClientChannelImpl> channel);
  void start(std::shared_ptr<ClientHandler> handler);
  void pump() { stream_->pump(); }
  void pause(bool by_owner);
  void pause_until_drained();
  void end(const Error& why);

 private:
  void on_stream_frame(std::string frame) override;
  void on_stream_drained() override;
  void on_stream_closed(const Error& why) override;

  Links::Impl& links_;
  const std::string name_;
  std::shared_ptr<FrameStream> stream_;
  const std::shared_ptr<ClientChannelImpl> channel_;
  std::shared_ptr<ClientHandler> handler_;
  bool paused_by_owner_ = false;
  bool paused_by_queue_ = false;
};

class Links::Impl {
 public:
  Impl(const LinksOptions& given, LinksHandler& told) : options(given), handler(told) {}

  Result<void> open();
  void stop();
  void set_peer(const LinkPeer& peer);
  Result<void> reload_certificates();

  TlsContext tls() const;  // any thread
  Identity self() const { return Identity::of_node(options.cluster, options.self); }
  transport::ReplicaSet peers() const;                   // any thread
  std::shared_ptr<PeerLink> link(ReplicaId peer) const;  // any thread
  bool on_links_thread() const { return io.get_executor().running_in_this_thread(); }

  void on_peer_connected(ReplicaId peer, std::shared_ptr<FrameStream> stream);
  void on_peer_lost(const PeerInput* input, ReplicaId peer);
  void forget(const std::shared_ptr<Incoming>& incoming);
  void forget(const std::shared_ptr<ClientSession>& session) { sessions.erase(session); }

  const LinksOptions options;
  LinksHandler& handler;
  mutable asio::io_context io{1};
  std::set<std::shared_ptr<ClientSession>> sessions;
  uint16_t port = 0;

 private:
  Result<void> listen();
  Result<void> check_own_certificate(const TlsContext& context) const;
  void accept();
  void on_accepted(asio::ip::tcp::socket socket);
  void close_all();

  asio::executor_work_guard<asio::io_context::executor_type> work_{io.get_executor()};
  asio::ip::tcp::acceptor acceptor_{io};
  asio::steady_timer accept_pause_{io};
  std::deque<std::shared_ptr<Incoming>> incoming_;
  std::array<std::shared_ptr<PeerInput>, kReplicaIdMax + 1> inputs_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  TlsContext tls_;
  std::array<std::shared_ptr<PeerLink>, kReplicaIdMax + 1> links_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace caisson::engine
