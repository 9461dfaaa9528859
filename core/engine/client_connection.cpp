// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/client_connection.hpp"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <deque>
#include <exception>
#include <optional>
#include <utility>

#include "core/engine/link_dialer.hpp"
#include "core/engine/links.hpp"

namespace caisson::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Never full: ClientConnection::send() says how much is queued, and its caller decides.
constexpr size_t kUnbounded = ~size_t{0};

// A deadline that a wait of years cannot overflow.
Clock::time_point deadline_after(std::chrono::microseconds timeout) {
  const auto now = Clock::now();
  const auto most =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::time_point::max() - now);
  return timeout >= most ? Clock::time_point::max() : now + timeout;
}

}  // namespace

class ClientConnection::Impl {
 public:
  class Inbox : public FrameStream::Owner {
   public:
    void on_stream_frame(std::string frame) override { frames.push_back(std::move(frame)); }
    void on_stream_closed(const Error& why) override { closed = why; }

    std::deque<std::string> frames;
    std::optional<Error> closed;
  };

  ~Impl() {
    if (stream) stream->close();
    io.poll();
  }

  Result<void> connect(const ClientConnectionOptions& options);

  // Runs the connection until `enough` holds. False: the deadline passed first.
  template <class Enough>
  bool run_until(Clock::time_point deadline, Enough enough) {
    io.restart();
    io.poll();
    while (!enough()) {
      io.restart();
      if (io.run_one_until(deadline) == 0 && Clock::now() >= deadline) return enough();
    }
    return true;
  }

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::shared_ptr<FrameStream> stream;
  std::shared_ptr<FrameQueue> queue =
      std::make_shared<FrameQueue>(kUnbounded, FrameQueue::Overflow::refuse);
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  ReplicaId node;
  std::atomic<bool> woken{false};
};

Result<void> ClientConnection::Impl::connect(const ClientConnectionOptions& options) {
  auto context = make_tls_context(options.tls);
  if (!context) return tl::unexpected(std::move(context.error()));
  DialOptions dial;
  dial.host = options.host;
  dial.port = options.port;
  dial.tls = *context;
  dial.expected_node = options.expected_node;
  dial.timeout = options.timeout;
  dial.self = Identity::of_client(options.cluster, options.name);
  if (*context) {
    auto own = own_identity(options.tls, **context);
    if (!own) return tl::unexpected(std::move(own.error()));
    if (own->cluster != options.cluster) {
      return fail(Code::wrong_cluster, options.tls.certificate_file + ": made for cluster " +
                                           to_hex(own->cluster) + ", not for " +
                                           to_hex(options.cluster));
    }
    if (own->role != PeerRole::client) {
      return fail(Code::denied,
                  options.tls.certificate_file + ": made for " + describe(*own) +
                      "; a client needs a client's certificate from `caisson cert make`");
    }
    dial.self = *own;
  } else if (!client_name_allowed(options.name)) {
    return fail(Code::invalid, '"' + options.name +
                                   "\" is no client name: use 1 to 64 of A-Z a-z "
                                   "0-9 - _ . @");
  }
  std::optional<Result<Dialled>> outcome;
  const auto under_way = Dial::start(io, std::move(dial), [&](Result<Dialled> dialled) {
    outcome = std::move(dialled);
    if (!outcome->has_value()) return;
    stream = (*outcome)->stream;
    stream->open(inbox, queue, kFrameBytesMax);
  });
  run_until(Clock::time_point::max(), [&] { return outcome.has_value(); });
  if (!outcome->has_value()) return tl::unexpected(std::move(outcome->error()));
  node = (*outcome)->node;
  return {};
}

ClientConnection::ClientConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ClientConnection::~ClientConnection() = default;

Result<std::unique_ptr<ClientConnection>> ClientConnection::connect(
    const ClientConnectionOptions& options) try {
  auto impl = std::make_unique<Impl>();
  if (auto connected = impl->connect(options); !connected) {
    return tl::unexpected(std::move(connected.error()));
  }
  return std::unique_ptr<ClientConnection>(new ClientConnection(std::move(impl)));
} catch (const std::exception& error) {
  return fail(Code::io, address_text(options.host, options.port) + ": " + error.what());
}

ReplicaId ClientConnection::node() const { return impl_->node; }

Code ClientConnection::send(std::string frame) {
  if (frame.size() > kFrameBytesMax) return Code::too_large;
  if (impl_->inbox->closed) return Code::closed;
  impl_->queue->push(std::move(frame));
  impl_->stream->pump();
  impl_->io.restart();
  impl_->io.poll();
  return Code::ok;
}

size_t ClientConnection::queued_bytes() const { return impl_->queue->bytes(); }

Result<std::string> ClientConnection::receive(std::chrono::microseconds timeout) {
  Impl& impl = *impl_;
  impl.run_until(deadline_after(timeout), [&impl] {
    return !impl.inbox->frames.empty() || impl.inbox->closed || impl.woken.load();
  });
  if (!impl.inbox->frames.empty()) {
    std::string frame = std::move(impl.inbox->frames.front());
    impl.inbox->frames.pop_front();
    return frame;
  }
  if (impl.inbox->closed) return fail(Code::closed, impl.inbox->closed->message);
  if (impl.woken.exchange(false)) return fail(Code::again, "woken");
  return fail(Code::timed_out, impl.stream->who() + " sent nothing in time");
}

Code ClientConnection::flush(size_t queued_bytes_max, std::chrono::microseconds timeout) {
  Impl& impl = *impl_;
  const bool done = impl.run_until(deadline_after(timeout), [&] {
    return impl.inbox->closed || impl.queue->bytes() <= queued_bytes_max;
  });
  if (impl.inbox->closed) return Code::closed;
  return done ? Code::ok : Code::timed_out;
}

void ClientConnection::wake() {
  impl_->woken.store(true);
  asio::post(impl_->io, [] {});
}

}  // namespace caisson::engine
