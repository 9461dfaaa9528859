// SPDX-License-Identifier: BSD-3-Clause
// What stands at each end of a connection: see links_impl.hpp.
#include <algorithm>
#include <asio/post.hpp>
#include <span>
#include <utility>

#include "core/engine/links_impl.hpp"

namespace caisson::engine {
namespace {

// A peer that acknowledges nothing for so long is gone; failure detection noticed long before.
constexpr unsigned kPeerLostAfterMs = 10'000;

// Frames that waited for a link are stale by the time it is up: every exchange is retried.
constexpr size_t kFramesKeptOverReconnect = 16;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

}  // namespace

// ---- PeerLink ----------------------------------------------------------------------------------

PeerLink::PeerLink(Links::Impl& links, LinkPeer peer)
    : links_(links),
      peer_(std::move(peer)),
      backoff_(links.io),
      backoff_ms_(links.options.backoff_min_ms),
      queue_(std::make_shared<FrameQueue>(links.options.peer_queue_bytes_max,
                                          FrameQueue::Overflow::drop_oldest)) {}

void PeerLink::send(std::string frame) {
  if (queue_->push(std::move(frame)) != FrameQueue::Push::queued_wake) return;
  const auto pump = [self = shared_from_this()] {
    if (self->stream_) self->stream_->pump();
  };
  if (links_.on_links_thread()) {
    pump();
  } else {
    asio::post(links_.io, pump);
  }
}

void PeerLink::dial() {
  waiting_ = false;
  if (dial_ || stream_) return;
  DialOptions options;
  options.host = peer_.host;
  options.port = peer_.port;
  options.tls = links_.tls();
  options.self = links_.self();
  options.expected_node = peer_.id;
  options.timeout = std::chrono::milliseconds(links_.options.greeting_timeout_ms);
  dial_ = Dial::start(links_.io, std::move(options),
                      [self = shared_from_this()](Result<Dialled> dialled) {
                        self->on_dialled(std::move(dialled));
                      });
}

void PeerLink::on_dialled(Result<Dialled> dialled) {
  dial_.reset();
  if (!dialled) return lost(dialled.error());
  stream_ = std::move(dialled->stream);
  stream_->configure(kPeerLostAfterMs);
  backoff_ms_ = links_.options.backoff_min_ms;
  last_problem_.clear();
  // What waits was made for whom we spoke to before.
  const bool understands = dialled->version >= version();
  queue_->keep_newest(understands ? kFramesKeptOverReconnect : 0);
  stream_->open(shared_from_this(), queue_, kGreetingBytesMax);
  version_.store(dialled->version, std::memory_order_release);
  up_.store(true, std::memory_order_release);
  if (const auto key = stream_->key()) {
    links_.handler.on_link_key(peer_.id, LinkHalf::sending, &*key);
  }
  stream_->pump();
  links_.handler.on_link(peer_.id, true);
}

// Nothing travels in this direction; reading is for noticing the end at once.
void PeerLink::on_stream_frame(std::string) {
  const auto stream = stream_;
  stream->close();
  lost(Error{Code::invalid, stream->who() + " sends on a link that only receives"});
}

void PeerLink::on_stream_closed(const Error& why) { lost(why); }

void PeerLink::lost(const Error& why) {
  const bool was_up = up_.exchange(false, std::memory_order_acq_rel);
  stream_.reset();
  const std::string problem = "link to node " + std::to_string(peer_.id.value) + ": " + why.message;
  if (problem != last_problem_) {
    last_problem_ = problem;
    links_.handler.on_problem(Error{why.code, problem});
  }
  waiting_ = true;
  backoff_.expires_after(std::chrono::milliseconds(backoff_ms_));
  backoff_ms_ = std::min(backoff_ms_ * 2, links_.options.backoff_max_ms);
  backoff_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error && self->waiting_) self->dial();
  });
  if (was_up) tell_down();
}

void PeerLink::tell_down() {
  links_.handler.on_link_key(peer_.id, LinkHalf::sending, nullptr);
  links_.handler.on_link(peer_.id, false);
}

void PeerLink::dial_now() {
  if (!waiting_) return;
  waiting_ = false;
  backoff_.cancel();
  dial();
}

void PeerLink::move_to(const LinkPeer& peer) {
  peer_ = peer;
  const bool was_up = up_.exchange(false, std::memory_order_acq_rel);
  stop();
  backoff_ms_ = links_.options.backoff_min_ms;
  dial();
  if (was_up) tell_down();
}

void PeerLink::stop() {
  waiting_ = false;
  backoff_.cancel();
  if (dial_) std::exchange(dial_, nullptr)->cancel();
  if (stream_) std::exchange(stream_, nullptr)->close();
}

// ---- Incoming ----------------------------------------------------------------------------------

Incoming::Incoming(Links::Impl& links, std::shared_ptr<FrameStream> stream)
    : links_(links),
      timer_(links.io),
      stream_(std::move(stream)),
      queue_(std::make_shared<FrameQueue>(kGreetingBytesMax, FrameQueue::Overflow::refuse)) {}

void Incoming::start() {
  const auto self = shared_from_this();
  timer_.expires_after(std::chrono::milliseconds(links_.options.greeting_timeout_ms));
  timer_.async_wait([self](const asio::error_code& error) {
    if (error) return;
    self->stream_->close();  // nothing was agreed that last words could be said in
    self->refuse(
        Error{Code::timed_out, self->stream_->who() + " connected and did not greet in time"});
  });
  stream_->handshake(FrameStream::Side::accepted,
                     [self](Result<void> shaken) { self->on_shaken(std::move(shaken)); });
}

void Incoming::on_shaken(Result<void> shaken) {
  if (!stream_) return;  // refused meanwhile, for being late
  if (!shaken) return refuse(shaken.error());
  if (stream_->tls()) {
    auto identity = stream_->proven();
    if (!identity) {
      return refuse(Error{identity.error().code, stream_->who() + ": " + identity.error().message});
    }
    certificate_ = *identity;
  }
  stream_->open(shared_from_this(), queue_, kGreetingBytesMax);
}

void Incoming::on_stream_frame(std::string frame) {
  const auto greeting = decode_greeting(bytes_of(frame));
  if (!greeting) {
    return refuse(Error{greeting.error().code, stream_->who() + ": " + greeting.error().message});
  }
  Welcome welcome = judge(*greeting, certificate_, links_.self(), links_.peers());
  const bool client = greeting->self.role == PeerRole::client;
  if (client && welcome.code == Code::ok && links_.sessions.size() >= links_.options.clients_max) {
    welcome.code = Code::again;
    welcome.message = "as many clients are connected as may be: try another node, or later";
  }
  if (client && welcome.code == Code::ok && !take_client(greeting->self.client, welcome)) {
    welcome.code = Code::denied;
    welcome.message = "this node takes no clients: try another node";
  }
  if (welcome.code != Code::ok) {
    queue_->push(encode(welcome));
    stream_->pump();
    return refuse(Error{welcome.code, stream_->who() + " refused: " + welcome.message});
  }
  const auto self = shared_from_this();
  timer_.cancel();
  links_.forget(self);
  if (client) return;
  stream_->configure(kPeerLostAfterMs);
  queue_->push(encode(welcome));
  stream_->pump();
  links_.on_peer_connected(greeting->self.node, std::move(stream_));
}

// True: a session has taken over the stream.
bool Incoming::take_client(const std::string& name, const Welcome& welcome) {
  const auto channel =
      std::make_shared<ClientChannelImpl>(links_.io, links_.options.client_queue_bytes_max);
  const auto session = std::make_shared<ClientSession>(links_, name, stream_, channel);
  channel->attach(session);
  channel->queue()->push(encode(welcome));
  auto handler = links_.handler.on_client(name, channel);
  if (!handler) {
    channel->detach();
    return false;
  }
  session->start(std::move(handler));
  stream_.reset();
  return true;
}

void Incoming::on_stream_closed(const Error& why) { refuse(why); }

void Incoming::refuse(const Error& why) {
  const auto self = shared_from_this();
  timer_.cancel();
  if (stream_) std::exchange(stream_, nullptr)->close_gently();
  links_.forget(self);
  links_.handler.on_problem(why);
}

void Incoming::stop() {
  timer_.cancel();
  if (stream_) std::exchange(stream_, nullptr)->close();
}

// ---- PeerInput ---------------------------------------------------------------------------------

void PeerInput::on_stream_frame(std::string frame) {
  links_.handler.on_frame(peer_, std::move(frame));
}

void PeerInput::on_stream_closed(const Error&) { links_.on_peer_lost(this, peer_); }

// ---- Clients -----------------------------------------------------------------------------------

template <class Work>
void ClientChannelImpl::post(Work work) {
  const std::lock_guard lock(mutex_);
  if (io_ == nullptr) return;
  asio::post(*io_, [session = session_, work] {
    if (const auto alive = session.lock()) work(*alive);
  });
}

Code ClientChannelImpl::send(std::string frame) {
  if (frame.size() > kFrameBytesMax) return Code::too_large;
  switch (queue_->push(std::move(frame))) {
    case FrameQueue::Push::queued: return Code::ok;
    case FrameQueue::Push::closed: return Code::closed;
    case FrameQueue::Push::full:
      post([](ClientSession& session) { session.pause_until_drained(); });
      return Code::again;
    case FrameQueue::Push::queued_wake: break;
  }
  post([](ClientSession& session) { session.pump(); });
  return Code::ok;
}

void ClientChannelImpl::pause_reading(bool paused) {
  post([paused](ClientSession& session) { session.pause(paused); });
}

void ClientChannelImpl::close() {
  post([](ClientSession& session) { session.end(Error{Code::closed, "closed by this node"}); });
}

void ClientChannelImpl::attach(std::weak_ptr<ClientSession> session) {
  const std::lock_guard lock(mutex_);
  session_ = std::move(session);
}

void ClientChannelImpl::detach() {
  queue_->close();
  const std::lock_guard lock(mutex_);
  io_ = nullptr;
}

ClientSession::ClientSession(Links::Impl& links, std::string name,
                             std::shared_ptr<FrameStream> stream,
                             std::shared_ptr<ClientChannelImpl> channel)
    : links_(links),
      name_(std::move(name)),
      stream_(std::move(stream)),
      channel_(std::move(channel)) {}

void ClientSession::start(std::shared_ptr<ClientHandler> handler) {
  handler_ = std::move(handler);
  links_.sessions.insert(shared_from_this());
  stream_->open(shared_from_this(), channel_->queue(), kFrameBytesMax);
  stream_->pump();
}

void ClientSession::pause(bool by_owner) {
  paused_by_owner_ = by_owner;
  stream_->pause_reading(paused_by_owner_ || paused_by_queue_);
}

void ClientSession::pause_until_drained() {
  if (!channel_->queue()->waits_for_drain()) return;  // it drained while this was on its way
  paused_by_queue_ = true;
  stream_->pause_reading(true);
}

void ClientSession::on_stream_frame(std::string frame) { handler_->on_frame(std::move(frame)); }

void ClientSession::on_stream_drained() {
  paused_by_queue_ = false;
  handler_->on_drained();
  stream_->pause_reading(paused_by_owner_ || paused_by_queue_);
}

void ClientSession::on_stream_closed(const Error& why) { end(why); }

void ClientSession::end(const Error& why) {
  if (!handler_) return;
  const auto self = shared_from_this();
  const auto handler = std::exchange(handler_, nullptr);
  channel_->detach();
  stream_->close();
  links_.forget(self);
  handler->on_closed(Error{why.code, "client " + name_ + ": " + why.message});
}

}  // namespace caisson::engine
