// SPDX-License-Identifier: BSD-3-Clause
// Entries on a byte stream.
//
// lines     One entry a line, without its newline; `read` writes it with a newline. A last line
// that has
//           no newline is marked by kUnterminated behind its payload, which no line can contain;
//           `read` takes the mark away and writes no newline. So what was appended comes back byte
//           for byte.
// length32  Four bytes little endian: how many payload bytes follow. For payloads of any content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::tools {

enum class Framing : uint8_t { lines, length32 };

inline constexpr std::string_view kUnterminated = "\n\\";
inline constexpr uint32_t kFrameBytesMax = 256u << 20;

// Cuts a file descriptor's bytes into payloads.
class FrameReader {
 public:
  FrameReader(int fd, Framing framing, uint32_t payload_bytes_max);

  // True: `payload` is the next one, good until the next call. False: the input ended.
  // Errors: too_large, naming the line · invalid: cut off within a frame · io.
  Result<bool> next(std::span<const std::byte>& payload);

  // True if next() would return without waiting for the input.
  bool ready() const;
  // Reads what there is, waiting at most `timeout_ms` for it. False: nothing came.
  Result<bool> fill(int timeout_ms);
  uint64_t taken() const { return taken_; }

 private:
  Result<bool> next_line(std::span<const std::byte>& payload);
  Result<bool> next_frame(std::span<const std::byte>& payload);
  size_t buffered() const { return end_ - begin_; }
  Error oversized(uint64_t bytes) const;

  int fd_;
  Framing framing_;
  uint32_t payload_bytes_max_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t searched_ = 0;  // no newline in [begin_, begin_ + searched_)
  bool ended_ = false;
  uint64_t taken_ = 0;
};

// Buffers payloads for a file descriptor.
class FrameWriter {
 public:
  // `name`: of what is written to, for people.
  FrameWriter(int fd, Framing framing, std::string name = "standard output")
      : fd_(fd), framing_(framing), name_(std::move(name)) {}

  // `prefix` goes before the payload (lines only). io: the reader has gone, the disk is full, …
  Result<void> write(std::span<const std::byte> payload, std::string_view prefix = {});
  // As it is, without framing.
  Result<void> write_raw(std::string_view text);
  Result<void> flush();

 private:
  int fd_;
  Framing framing_;
  std::string name_;
  std::string buffer_;
};

}  // namespace caisson::tools
