// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/frame_stream.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <utility>

namespace caisson::engine {
namespace {

constexpr size_t kInputBytes = size_t{64} << 10;
constexpr size_t kWriteBytes = size_t{256} << 10;  // coalesced into one write, if so much waits
constexpr auto kLinger = std::chrono::seconds(1);

uint32_t load_length(const char* at) {
  uint32_t length = 0;
  for (int i = 3; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(at[i]);
  return length;
}

void set_option(int fd, int level, int option, int value) {
  // A kernel without one of these still carries frames: they only tell a dead host sooner.
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
}

}  // namespace

FrameStream::FrameStream(asio::io_context& io, Socket socket, TlsContext tls, std::string who)
    : io_(io), socket_(std::move(socket)), tls_context_(std::move(tls)), who_(std::move(who)) {
  if (tls_context_) ssl_.emplace(socket_, *tls_context_);
}

void FrameStream::configure(unsigned lost_after_ms) {
  const int fd = socket_.native_handle();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  if (lost_after_ms != 0) {
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(lost_after_ms));
  }
}

void FrameStream::handshake(Side side, std::function<void(Result<void>)> done) {
  if (!ssl_) {
    done({});
    return;
  }
  ssl_->async_handshake(
      side == Side::dialled ? asio::ssl::stream_base::client : asio::ssl::stream_base::server,
      [self = shared_from_this(), done = std::move(done)](const asio::error_code& error) {
        if (self->closed_) return;
        if (!error) return done({});
        done(tl::unexpected(explain(error, self->ssl_->native_handle(), self->who_)));
      });
}

void FrameStream::open(std::shared_ptr<Owner> owner, std::shared_ptr<FrameQueue> queue,
                       size_t frame_bytes_max) {
  owner_ = std::move(owner);
  queue_ = std::move(queue);
  frame_bytes_max_ = frame_bytes_max;
  if (input_.empty()) input_.resize(kInputBytes);
  deliver();
}

void FrameStream::take_over(std::shared_ptr<Owner> owner, size_t frame_bytes_max) {
  open(std::move(owner), queue_, frame_bytes_max);
}

// ---- Input -------------------------------------------------------------------------------------

template <class Buffer, class Done>
void FrameStream::read_some(const Buffer& buffer, Done done) {
  if (ssl_) {
    ssl_->async_read_some(buffer, std::move(done));
  } else {
    socket_.async_read_some(buffer, std::move(done));
  }
}

void FrameStream::read() {
  if (reading_ || paused_ || closed_) return;
  reading_ = true;
  read_some(asio::buffer(input_.data() + end_, input_.size() - end_),
            [self = shared_from_this()](const asio::error_code& error, size_t n) {
              self->on_read(error, n);
            });
}

void FrameStream::on_read(const asio::error_code& error, size_t n) {
  reading_ = false;
  if (closed_) return;
  if (lingering_) return drain_input();
  if (error) return fail_with(explain(error, ssl_ ? ssl_->native_handle() : nullptr, who_));
  end_ += n;
  deliver();
}

// Hands over every whole frame, makes room for the rest of a partial one, and reads on.
void FrameStream::deliver() {
  if (delivering_) return;  // called back by the owner: the loop below goes on
  delivering_ = true;
  const auto self = shared_from_this();
  size_t wanted = kFrameHeaderBytes;
  while (!closed_ && !paused_ && end_ - begin_ >= kFrameHeaderBytes) {
    const size_t length = load_length(input_.data() + begin_);
    if (length > frame_bytes_max_) {
      delivering_ = false;
      return fail_with(Error{Code::too_large, who_ + " sends a frame of " + std::to_string(length) +
                                                  " bytes, at most " +
                                                  std::to_string(frame_bytes_max_) +
                                                  " are allowed: is it caisson?"});
    }
    wanted = kFrameHeaderBytes + length;
    if (end_ - begin_ < wanted) break;
    std::string frame(input_.data() + begin_ + kFrameHeaderBytes, length);
    begin_ += wanted;
    wanted = kFrameHeaderBytes;
    const auto owner = owner_;
    owner->on_stream_frame(std::move(frame));
  }
  delivering_ = false;
  if (closed_ || reading_) return;
  if (begin_ != 0) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (input_.size() < std::max(wanted, end_ + 1)) input_.resize(std::max(wanted, end_ + 1));
  read();
}

void FrameStream::pause_reading(bool paused) {
  if (paused_ == paused || closed_) return;
  paused_ = paused;
  if (!paused_) deliver();
}

// ---- Output ------------------------------------------------------------------------------------

void FrameStream::pump() {
  if (writing_ || closed_ || !queue_) return;
  in_flight_.clear();
  queue_->take(in_flight_, kWriteBytes);
  if (in_flight_.empty()) {
    if (last_words_) linger();
    return;
  }
  writing_ = true;
  const auto done = [self = shared_from_this(), queue = queue_](const asio::error_code& error,
                                                                size_t) {
    self->writing_ = false;
    const bool drained = queue->written(std::exchange(self->in_flight_, {}).size());
    if (self->closed_) return;
    if (error) {
      const auto ssl = self->ssl_ ? self->ssl_->native_handle() : nullptr;
      return self->fail_with(explain(error, ssl, self->who_));
    }
    if (drained && self->owner_ && self->queue_ == queue) {
      const auto owner = self->owner_;
      owner->on_stream_drained();
    }
    self->pump();
  };
  if (ssl_) {
    asio::async_write(*ssl_, asio::buffer(in_flight_), done);
  } else {
    asio::async_write(socket_, asio::buffer(in_flight_), done);
  }
}

// ---- The end -----------------------------------------------------------------------------------

void FrameStream::close() {
  if (closed_) return;
  closed_ = true;
  asio::error_code ignored;  // nothing can be done about a socket that does not close
  socket_.close(ignored);
  owner_.reset();
  queue_.reset();
}

void FrameStream::fail_with(const Error& why) {
  const auto self = shared_from_this();
  const auto owner = owner_;
  close();
  if (owner) owner->on_stream_closed(why);
}

void FrameStream::close_gently() {
  if (closed_) return;
  owner_.reset();
  paused_ = true;
  last_words_ = true;
  pump();
  if (!queue_) linger();
}

void FrameStream::linger() {
  last_words_ = false;
  lingering_ = true;
  asio::error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  if (error) return close();
  const auto timer = std::make_shared<asio::steady_timer>(io_, kLinger);
  timer->async_wait([self = shared_from_this(), timer](const asio::error_code&) { self->close(); });
  if (!reading_) drain_input();
}

void FrameStream::drain_input() {
  if (input_.empty()) input_.resize(kInputBytes);
  socket_.async_read_some(asio::buffer(input_),
                          [self = shared_from_this()](const asio::error_code& error, size_t) {
                            if (self->closed_) return;
                            if (error) return self->close();
                            self->drain_input();
                          });
}

}  // namespace caisson::engine
