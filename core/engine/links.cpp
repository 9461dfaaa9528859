// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/links.hpp"

#include <pthread.h>

#include <algorithm>
#include <asio/ip/address.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <utility>

#include "core/engine/links_impl.hpp"
#include "core/engine/scheduling.hpp"

namespace caisson::engine {
namespace {

// Connections that have not said who they are: beyond this the oldest goes, so that strangers who
// hold connections open cannot keep peers out.
constexpr size_t kIncomingMax = 64;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

tl::unexpected<Error> listen_failed(const std::string& address, const asio::error_code& error) {
  if (error == asio::error::address_in_use) {
    return fail(Code::busy,
                address +
                    " is in use by another process: stop it, or choose another port, in "
                    "node.listen_port, in this node's [[peer]] in every node's file and, "
                    "where `caisson cluster start` made it, in cluster.json");
  }
  if (error == asio::error::access_denied) {
    return fail(Code::denied, address + ": no right to listen there: choose a port above 1023");
  }
  if (error.value() == EADDRNOTAVAIL) {
    return fail(Code::invalid,
                address + " is no address of this machine: correct node.listen_host");
  }
  return fail(Code::io, address + ": cannot listen: " + error.message());
}

// Signals are for the threads of the application.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// That the certificate was made for `self`.
Result<void> expect_identity(const TlsContext& context, const TlsOptions& tls,
                             const Identity& self) {
  if (!context) return {};
  const auto identity = own_identity(tls, *context);
  if (!identity) return tl::unexpected(identity.error());
  if (identity->cluster != self.cluster) {
    return fail(Code::wrong_cluster, tls.certificate_file + ": made for cluster " +
                                         to_hex(identity->cluster) + ", this node is of cluster " +
                                         to_hex(self.cluster));
  }
  if (*identity != self) {
    return fail(Code::denied, tls.certificate_file + ": made for " + describe(*identity) +
                                  ", this is " + describe(self) +
                                  "; make one for it with `caisson cert make`");
  }
  return {};
}

}  // namespace

// ---- Start and stop ----------------------------------------------------------------------------

Result<void> Links::Impl::check_own_certificate(const TlsContext& context) const {
  return expect_identity(context, options.tls, self());
}

Result<void> Links::Impl::reload_certificates() {
  auto context = make_tls_context(options.tls);
  if (!context) return tl::unexpected(std::move(context.error()));
  if (auto checked = check_own_certificate(*context); !checked) return checked;
  const std::lock_guard lock(mutex_);
  tls_ = std::move(*context);
  return {};
}

Result<void> Links::Impl::listen() {
  const std::string address = address_text(options.listen_host, options.listen_port);
  asio::error_code error;
  asio::ip::tcp::endpoint endpoint(asio::ip::make_address(options.listen_host, error),
                                   options.listen_port);
  if (error) {
    asio::ip::tcp::resolver resolver(io);
    const auto found = resolver.resolve(options.listen_host, std::to_string(options.listen_port),
                                        asio::ip::tcp::resolver::passive, error);
    if (error || found.empty()) {
      return fail(
          Code::invalid,
          options.listen_host + " is no host that can be listened on: correct node.listen_host");
    }
    endpoint = found.begin()->endpoint();
  }
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return listen_failed(address, error);
  port = acceptor_.local_endpoint(error).port();
  if (error) return listen_failed(address, error);
  return {};
}

Result<void> Links::Impl::open() {
  if (auto loaded = reload_certificates(); !loaded) return loaded;
  if (auto listening = listen(); !listening) return listening;
  accept();
  for (const LinkPeer& peer : options.peers) set_peer(peer);
  const SignalsBlocked blocked;
  thread_ = std::thread([this] {
    prefer_short_turns();
    io.run();
  });
  pthread_setname_np(thread_.native_handle(), "caisson-links");
  return {};
}

void Links::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  asio::post(io, [this] { close_all(); });
  if (thread_.joinable()) thread_.join();
}

void Links::Impl::close_all() {
  asio::error_code ignored;  // the process stops listening either way
  acceptor_.close(ignored);
  accept_pause_.cancel();
  for (const auto& incoming : std::exchange(incoming_, {})) incoming->stop();
  for (auto& input : inputs_) {
    if (input) std::exchange(input, nullptr)->stop();
  }
  while (!sessions.empty()) {
    const auto session = *sessions.begin();
    session->end(Error{Code::closed, "this node stops"});
  }
  std::array<std::shared_ptr<PeerLink>, kReplicaIdMax + 1> links;
  {
    const std::lock_guard lock(mutex_);
    links = links_;
  }
  for (const auto& peer_link : links) {
    if (peer_link) peer_link->stop();
  }
  work_.reset();
  io.stop();
}

// ---- Peers -------------------------------------------------------------------------------------

TlsContext Links::Impl::tls() const {
  const std::lock_guard lock(mutex_);
  return tls_;
}

transport::ReplicaSet Links::Impl::peers() const {
  transport::ReplicaSet set;
  const std::lock_guard lock(mutex_);
  for (const auto& peer_link : links_) {
    if (peer_link) set.add(ReplicaId{static_cast<uint8_t>(&peer_link - links_.data())});
  }
  return set;
}

std::shared_ptr<PeerLink> Links::Impl::link(ReplicaId peer) const {
  if (peer.value > kReplicaIdMax) return nullptr;
  const std::lock_guard lock(mutex_);
  return links_[peer.value];
}

void Links::Impl::set_peer(const LinkPeer& peer) {
  if (peer.id.value == 0 || peer.id.value > kReplicaIdMax || peer.id == options.self) return;
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  auto& slot = links_[peer.id.value];
  if (slot) {
    asio::post(io, [known = slot, peer] { known->move_to(peer); });
    return;
  }
  slot = std::make_shared<PeerLink>(*this, peer);
  asio::post(io, [added = slot] { added->dial(); });
}

void Links::Impl::on_peer_connected(ReplicaId peer, std::shared_ptr<FrameStream> stream) {
  // The newest connection is the living one: the peer may have restarted before the old one's end
  // was seen.
  auto& input = inputs_[peer.value];
  if (input) input->stop();
  input = std::make_shared<PeerInput>(*this, peer, stream);
  const auto key = stream->key();
  handler.on_link_key(peer, LinkHalf::receiving, key ? &*key : nullptr);
  if (const auto back = link(peer)) back->dial_now();
  stream->take_over(input, kFrameBytesMax);
}

void Links::Impl::on_peer_lost(const PeerInput* input, ReplicaId peer) {
  if (inputs_[peer.value].get() != input) return;
  inputs_[peer.value].reset();
  handler.on_link_key(peer, LinkHalf::receiving, nullptr);
}

// ---- The port ----------------------------------------------------------------------------------

void Links::Impl::accept() {
  acceptor_.async_accept([this](const asio::error_code& error, asio::ip::tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (!error) {
      on_accepted(std::move(socket));
      return accept();
    }
    // Out of descriptors, or the caller left before it was taken: neither may end the listening.
    accept_pause_.expires_after(kAcceptPause);
    accept_pause_.async_wait([this](const asio::error_code& stopped) {
      if (!stopped && acceptor_.is_open()) accept();
    });
  });
}

void Links::Impl::on_accepted(asio::ip::tcp::socket socket) {
  asio::error_code error;
  const auto remote = socket.remote_endpoint(error);
  if (error) return;
  const std::string who = address_text(remote.address().to_string(), remote.port());
  const auto stream = std::make_shared<FrameStream>(io, std::move(socket), tls(), who);
  stream->configure(0);
  const auto incoming = std::make_shared<Incoming>(*this, stream);
  incoming_.push_back(incoming);
  if (incoming_.size() > kIncomingMax) {
    incoming_.front()->stop();
    incoming_.pop_front();
  }
  incoming->start();
}

void Links::Impl::forget(const std::shared_ptr<Incoming>& incoming) {
  const auto found = std::find(incoming_.begin(), incoming_.end(), incoming);
  if (found != incoming_.end()) incoming_.erase(found);
}

// ---- Links -------------------------------------------------------------------------------------

LinksOptions links_options(const EngineOptions& options) {
  LinksOptions out;
  out.cluster = options.cluster;
  out.self = options.replica;
  out.listen_host = options.listen_host;
  out.listen_port = options.listen_port;
  out.tls = options.tls;
  for (const PeerOptions& peer : options.peers) {
    if (peer.id != options.replica) out.peers.push_back({peer.id, peer.host, peer.port});
  }
  return out;
}

Result<void> check_certificates(const EngineOptions& options) {
  const auto context = make_tls_context(options.tls);
  if (!context) return tl::unexpected(context.error());
  return expect_identity(*context, options.tls,
                         Identity::of_node(options.cluster, options.replica));
}

Links::Links(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Links::~Links() { stop(); }

Result<std::unique_ptr<Links>> Links::start(const LinksOptions& options,
                                            LinksHandler& handler) try {
  auto impl = std::make_unique<Impl>(options, handler);
  if (auto opened = impl->open(); !opened) return tl::unexpected(std::move(opened.error()));
  return std::unique_ptr<Links>(new Links(std::move(impl)));
} catch (const std::exception& error) {
  return fail(Code::io, std::string("control links cannot start: ") + error.what());
}

void Links::send(ReplicaId to, std::string frame) {
  if (frame.size() > kFrameBytesMax) return;
  if (const auto peer_link = impl_->link(to)) peer_link->send(std::move(frame));
}

bool Links::up(ReplicaId peer) const {
  const auto peer_link = impl_->link(peer);
  return peer_link && peer_link->up();
}

uint32_t Links::version(ReplicaId peer) const {
  const auto peer_link = impl_->link(peer);
  return peer_link ? peer_link->version() : 0;
}

void Links::set_peer(const LinkPeer& peer) { impl_->set_peer(peer); }
Result<void> Links::reload_certificates() { return impl_->reload_certificates(); }
uint16_t Links::port() const { return impl_->port; }
void Links::stop() { impl_->stop(); }

}  // namespace caisson::engine
