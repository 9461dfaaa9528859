// SPDX-License-Identifier: BSD-3-Clause
// One connection that carries frames: 4 bytes of length, little endian, then the payload; inside
// TLS or plain. Everything here runs on the thread of its io_context.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ssl/stream.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/frame_queue.hpp"
#include "core/engine/link_tls.hpp"

namespace caisson::engine {

class FrameStream : public std::enable_shared_from_this<FrameStream> {
 public:
  using Socket = asio::ip::tcp::socket;
  enum class Side : unsigned char { dialled, accepted };

  // Whoever is to be told. May be exchanged at any time, also from within a call.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_stream_frame(std::string frame) = 0;
    virtual void on_stream_drained() {}
    // The last call; not made for close().
    virtual void on_stream_closed(const Error& why) = 0;
  };

  // `who` names the other end in errors. `tls` null: plain.
  FrameStream(asio::io_context& io, Socket socket, TlsContext tls, std::string who);

  Socket& socket() { return socket_; }
  const std::string& who() const { return who_; }
  bool tls() const { return ssl_.has_value(); }

  // Without TLS done at once. `done` is not called after close().
  void handshake(Side side, std::function<void(Result<void>)> done);
  Result<Identity> proven() { return proven_identity(ssl_->native_handle()); }
  // Once shaken. Nothing without TLS.
  std::optional<LinkKey> key() { return ssl_ ? derive_key(ssl_->native_handle()) : std::nullopt; }

  // Kernel settings of an established connection. `lost_after_ms`: unacknowledged bytes end it; 0:
  // never, so that a slow reader may be as slow as it likes.
  void configure(unsigned lost_after_ms);

  // Frames of up to frame_bytes_max arrive at `owner`; frames in `queue` leave, once pumped.
  void open(std::shared_ptr<Owner> owner, std::shared_ptr<FrameQueue> queue,
            size_t frame_bytes_max);
  // Another owner and limit for an open stream; what is queued still leaves.
  void take_over(std::shared_ptr<Owner> owner, size_t frame_bytes_max);
  void pump();
  void pause_reading(bool paused);

  // Silent and at once. Bytes that are queued are lost.
  void close();
  // Sends what is queued, then the end, and gives the other side a second to read it: closing with
  // unread input would reset the connection and could destroy the last words.
  void close_gently();

  bool closed() const { return closed_; }

 private:
  void read();
  void on_read(const asio::error_code& error, size_t n);
  void deliver();
  void fail_with(const Error& why);
  void linger();
  void drain_input();

  template <class Buffer, class Done>
  void read_some(const Buffer& buffer, Done done);

  asio::io_context& io_;
  Socket socket_;
  TlsContext tls_context_;
  std::optional<asio::ssl::stream<Socket&>> ssl_;
  std::string who_;

  std::shared_ptr<Owner> owner_;
  std::shared_ptr<FrameQueue> queue_;
  size_t frame_bytes_max_ = 0;

  std::vector<char> input_;  // [begin_, end_) is read and not delivered yet
  size_t begin_ = 0;
  size_t end_ = 0;
  bool reading_ = false;
  bool delivering_ = false;
  bool paused_ = false;

  std::string in_flight_;
  bool writing_ = false;
  bool last_words_ = false;  // close_gently(): linger once the queue is empty
  bool lingering_ = false;
  bool closed_ = false;
};

}  // namespace caisson::engine
