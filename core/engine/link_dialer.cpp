// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/link_dialer.hpp"

#include <asio/connect.hpp>
#include <asio/ip/address.hpp>
#include <span>
#include <utility>

namespace caisson::engine {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

}  // namespace

std::string address_text(const std::string& host, uint16_t port) {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

Dial::Dial(asio::io_context& io, DialOptions options, Done done)
    : options_(std::move(options)),
      who_(address_text(options_.host, options_.port)),
      done_(std::move(done)),
      resolver_(io),
      timer_(io) {}

std::shared_ptr<Dial> Dial::start(asio::io_context& io, DialOptions options, Done done) {
  auto dial = std::make_shared<Dial>(io, std::move(options), std::move(done));
  dial->timer_.expires_after(dial->options_.timeout);
  dial->timer_.async_wait([dial](const asio::error_code& error) {
    if (!error) dial->finish(tl::unexpected(explain(asio::error::timed_out, nullptr, dial->who_)));
  });
  dial->stream_ =
      std::make_shared<FrameStream>(io, asio::ip::tcp::socket(io), dial->options_.tls, dial->who_);
  dial->resolve();
  return dial;
}

void Dial::resolve() {
  asio::error_code not_numeric;
  const auto address = asio::ip::make_address(options_.host, not_numeric);
  if (!not_numeric) {  // no resolver thread for what needs no resolving
    const asio::ip::tcp::endpoint endpoint(address, options_.port);
    return connect(asio::ip::tcp::resolver::results_type::create(endpoint, options_.host, {}));
  }
  resolver_.async_resolve(
      options_.host, std::to_string(options_.port),
      [self = shared_from_this()](const asio::error_code& error, const auto& endpoints) {
        if (!self->done_) return;
        if (error) return self->finish(tl::unexpected(explain(error, nullptr, self->who_)));
        self->connect(endpoints);
      });
}

void Dial::connect(const asio::ip::tcp::resolver::results_type& endpoints) {
  asio::async_connect(
      stream_->socket(), endpoints,
      [self = shared_from_this()](const asio::error_code& error, const asio::ip::tcp::endpoint&) {
        if (!self->done_) return;
        if (error) return self->finish(tl::unexpected(explain(error, nullptr, self->who_)));
        self->stream_->configure(0);
        self->stream_->handshake(FrameStream::Side::dialled, [self](Result<void> shaken) {
          if (!self->done_) return;
          if (!shaken) return self->finish(tl::unexpected(std::move(shaken.error())));
          self->greet();
        });
      });
}

Result<void> Dial::check_certificate() {
  if (!stream_->tls()) return {};
  const auto identity = stream_->proven();
  if (!identity) return fail(identity.error().code, who_ + ": " + identity.error().message);
  if (identity->cluster != options_.self.cluster) {
    return fail(Code::wrong_cluster, who_ + " belongs to cluster " + to_hex(identity->cluster) +
                                         ", not to " + to_hex(options_.self.cluster) +
                                         ": check the address");
  }
  if (identity->role != PeerRole::node) {
    return fail(Code::denied, who_ + " shows the certificate of " + describe(*identity) +
                                  ": a node needs a node's certificate");
  }
  if (options_.expected_node.value != 0 && identity->node != options_.expected_node) {
    return fail(Code::denied, who_ + " is " + describe(*identity) + ", not node " +
                                  std::to_string(options_.expected_node.value) +
                                  ": check the address and the certificate there");
  }
  return {};
}

void Dial::greet() {
  if (auto checked = check_certificate(); !checked) {
    return finish(tl::unexpected(std::move(checked.error())));
  }
  auto queue = std::make_shared<FrameQueue>(kGreetingBytesMax, FrameQueue::Overflow::refuse);
  queue->push(
      encode(Greeting{kLinkVersionMin, kLinkVersion, options_.self, options_.expected_node}));
  stream_->open(shared_from_this(), std::move(queue), kGreetingBytesMax);
  stream_->pump();
}

void Dial::on_stream_frame(std::string frame) {
  auto welcome = decode_welcome(bytes_of(frame));
  if (!welcome) return finish(fail(welcome.error().code, who_ + ": " + welcome.error().message));
  if (welcome->code != Code::ok) {
    return finish(fail(welcome->code, who_ + " refuses: " + welcome->message));
  }
  const Identity& node = welcome->self;
  if (node.cluster != options_.self.cluster ||
      (options_.expected_node.value != 0 && node.node != options_.expected_node)) {
    return finish(fail(Code::wrong_cluster, who_ + " is " + describe(node) + " of cluster " +
                                                to_hex(node.cluster) + ": check the address"));
  }
  if (welcome->version < kLinkVersionMin || welcome->version > kLinkVersion) {
    return finish(fail(Code::wrong_version, who_ + " wants to speak protocol version " +
                                                std::to_string(welcome->version) +
                                                ", which was not offered: upgrade the older node"));
  }
  finish(Dialled{stream_, node.node, welcome->version});
}

void Dial::on_stream_closed(const Error& why) { finish(tl::unexpected(why)); }

void Dial::cancel() {
  if (!done_) return;
  done_ = nullptr;
  timer_.cancel();
  resolver_.cancel();
  stream_->close();
}

void Dial::finish(Result<Dialled> result) {
  if (!done_) return;
  const auto self = shared_from_this();
  const Done done = std::exchange(done_, nullptr);
  timer_.cancel();
  if (!result) stream_->close();
  stream_.reset();
  done(std::move(result));
}

}  // namespace caisson::engine
