// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/batch_format.hpp"

#include <cstring>
#include <utility>

namespace caisson::control {

namespace {

static_assert(kBatchMessagesMax <= UINT16_MAX);
constexpr size_t kLengthBytes = sizeof(uint32_t);

tl::unexpected<Error> refuse(const char* why) {
  return fail(Code::invalid, std::string("batch of control messages refused: ") + why);
}

}  // namespace

Batch::Batch() { frame_.resize(sizeof(BatchHeader)); }

bool Batch::add(std::string_view message) {
  const bool fits = message.size() + kLengthBytes <= kBatchBytesMax - frame_.size();
  if (!fits || message.empty() || messages_ == kBatchMessagesMax) return false;
  const auto bytes = static_cast<uint32_t>(message.size());
  frame_.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  frame_.append(message);
  ++messages_;
  return true;
}

std::string Batch::take() {
  const BatchHeader header{kBatchMagic, kBatchVersion, std::exchange(messages_, uint16_t{0})};
  std::memcpy(frame_.data(), &header, sizeof header);
  return std::exchange(frame_, std::string(sizeof header, '\0'));
}

bool is_batch_frame(std::span<const std::byte> frame) {
  return !frame.empty() && frame.front() == std::byte{kBatchMagic & 0xff};
}

Result<std::vector<std::span<const std::byte>>> decode_batch(std::span<const std::byte> frame) {
  BatchHeader header;
  if (frame.size() < sizeof header) return refuse("it is too short");
  if (frame.size() > kBatchBytesMax) return refuse("it is longer than 256 KiB");
  std::memcpy(&header, frame.data(), sizeof header);
  if (header.magic != kBatchMagic) return refuse("it does not begin as one");
  if (header.version > kBatchVersion) {
    return fail(Code::wrong_version, "batch of control messages of format " +
                                         std::to_string(header.version) +
                                         ", this node reads up to " +
                                         std::to_string(kBatchVersion) + ": upgrade this node");
  }
  if (header.version == 0) return refuse("it names no format");
  if (header.messages == 0 || header.messages > kBatchMessagesMax) {
    return refuse("it holds none, or more than 1024");
  }
  std::vector<std::span<const std::byte>> messages;
  messages.reserve(header.messages);
  size_t at = sizeof header;
  for (uint16_t i = 0; i < header.messages; ++i) {
    uint32_t bytes = 0;
    if (frame.size() - at < kLengthBytes) return refuse("it ends within a length");
    std::memcpy(&bytes, frame.data() + at, sizeof bytes);
    at += kLengthBytes;
    if (bytes == 0 || bytes > frame.size() - at) return refuse("a length leads out of it");
    messages.push_back(frame.subspan(at, bytes));
    at += bytes;
  }
  if (at != frame.size()) return refuse("more follows than it holds");
  return messages;
}

}  // namespace caisson::control
