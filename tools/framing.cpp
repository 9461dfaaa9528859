// SPDX-License-Identifier: BSD-3-Clause
#include "tools/framing.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/files.hpp"

namespace caisson::tools {

namespace {

constexpr size_t kReadBytes = size_t{256} << 10;
constexpr size_t kWriteBytes = size_t{256} << 10;
constexpr size_t kLengthBytes = 4;

uint32_t load_length(const std::byte* at) {
  uint32_t length = 0;
  std::memcpy(&length, at, sizeof length);
  return length;
}

}  // namespace

FrameReader::FrameReader(int fd, Framing framing, uint32_t payload_bytes_max)
    : fd_(fd), framing_(framing), payload_bytes_max_(payload_bytes_max) {}

Error FrameReader::oversized(uint64_t bytes) const {
  return Error{Code::too_large, std::string(framing_ == Framing::lines ? "line " : "frame ") +
                                    std::to_string(taken_ + 1) + " holds " +
                                    (bytes == 0 ? "more" : std::to_string(bytes) + " bytes, more") +
                                    " than an entry may: " + std::to_string(payload_bytes_max_) +
                                    " bytes. Split it, or use a log with a larger entry_bytes_max"};
}

Result<bool> FrameReader::fill(int timeout_ms) {
  if (ended_) return false;
  if (timeout_ms >= 0) {
    pollfd waiting{fd_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, timeout_ms);
    if (ready == 0 || (ready < 0 && errno == EINTR)) return false;
  }
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, buffered());
    end_ -= begin_;
    begin_ = 0;
  }
  // One byte more than is read: a last line without newline gets its mark in place.
  if (buffer_.size() < end_ + kReadBytes) {
    buffer_.resize(std::max(buffer_.size() * 2, end_ + kReadBytes + kUnterminated.size()));
  }
  const ssize_t n =
      ::read(fd_, buffer_.data() + end_, buffer_.size() - end_ - kUnterminated.size());
  if (n < 0) {
    if (errno == EINTR || errno == EAGAIN) return false;
    return fail(Code::io, std::string("standard input cannot be read: ") + std::strerror(errno));
  }
  if (n == 0) ended_ = true;
  end_ += static_cast<size_t>(n);
  return true;
}

bool FrameReader::ready() const {
  if (ended_) return true;
  if (framing_ == Framing::lines) {
    return buffered() > searched_ && std::memchr(buffer_.data() + begin_ + searched_, '\n',
                                                 buffered() - searched_) != nullptr;
  }
  return buffered() >= kLengthBytes &&
         buffered() - kLengthBytes >= load_length(buffer_.data() + begin_);
}

Result<bool> FrameReader::next(std::span<const std::byte>& payload) {
  const auto got = framing_ == Framing::lines ? next_line(payload) : next_frame(payload);
  if (got && *got) ++taken_;
  return got;
}

Result<bool> FrameReader::next_line(std::span<const std::byte>& payload) {
  for (;;) {
    const std::byte* start = buffer_.data() + begin_;
    const void* found = buffered() == searched_
                            ? nullptr
                            : std::memchr(start + searched_, '\n', buffered() - searched_);
    const auto* newline = static_cast<const std::byte*>(found);
    if (newline != nullptr) {
      payload = {start, newline};
      begin_ += payload.size() + 1;
      searched_ = 0;
      if (payload.size() > payload_bytes_max_) return tl::unexpected(oversized(payload.size()));
      return true;
    }
    searched_ = buffered();
    if (searched_ > payload_bytes_max_) return tl::unexpected(oversized(0));
    if (ended_) break;
    if (const auto filled = fill(-1); !filled) return tl::unexpected(filled.error());
  }
  if (buffered() == 0) return false;
  std::memcpy(buffer_.data() + end_, kUnterminated.data(), kUnterminated.size());
  payload = {buffer_.data() + begin_, buffered() + kUnterminated.size()};
  begin_ = end_;
  searched_ = 0;
  if (payload.size() > payload_bytes_max_) return tl::unexpected(oversized(payload.size()));
  return true;
}

Result<bool> FrameReader::next_frame(std::span<const std::byte>& payload) {
  for (;;) {
    if (buffered() >= kLengthBytes) {
      const uint32_t length = load_length(buffer_.data() + begin_);
      if (length > payload_bytes_max_) return tl::unexpected(oversized(length));
      if (buffered() - kLengthBytes >= length) {
        payload = {buffer_.data() + begin_ + kLengthBytes, length};
        begin_ += kLengthBytes + length;
        return true;
      }
    }
    if (ended_) {
      if (buffered() == 0) return false;
      return fail(Code::invalid, "standard input ends within frame " + std::to_string(taken_ + 1) +
                                     ": --frame length32 expects four bytes of length, little "
                                     "endian, then that many bytes, for each entry");
    }
    if (const auto filled = fill(-1); !filled) return tl::unexpected(filled.error());
  }
}

Result<void> FrameWriter::write(std::span<const std::byte> payload, std::string_view prefix) {
  std::string_view bytes(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (framing_ == Framing::length32) {
    const auto length = static_cast<uint32_t>(payload.size());
    char text[kLengthBytes];
    std::memcpy(text, &length, sizeof text);
    buffer_.append(text, sizeof text);
    buffer_.append(bytes);
  } else {
    const bool marked = bytes.ends_with(kUnterminated);
    if (marked) bytes.remove_suffix(kUnterminated.size());
    buffer_.append(prefix);
    buffer_.append(bytes);
    if (!marked) buffer_.push_back('\n');
  }
  return buffer_.size() >= kWriteBytes ? flush() : Result<void>{};
}

Result<void> FrameWriter::write_raw(std::string_view text) {
  buffer_.append(text);
  return buffer_.size() >= kWriteBytes ? flush() : Result<void>{};
}

Result<void> FrameWriter::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return tl::unexpected(system_error(name_ + " cannot be written", errno));
    }
    done += static_cast<size_t>(n);
  }
  buffer_.clear();
  return {};
}

}  // namespace caisson::tools
