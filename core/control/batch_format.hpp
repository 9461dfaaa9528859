// SPDX-License-Identifier: BSD-3-Clause
// Several control messages from one node to another in one frame: what its logs have to say in the
// same turn, most of all when a node dies and every log of its peers seals (R46). Each message is
// what encode() makes of an envelope. The frame's first byte is 1, which begins neither a protobuf
// message nor a state frame. Explained in docs/format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::control {

inline constexpr uint32_t kBatchMagic = 0x54424301;  // "\1CBT"
inline constexpr uint16_t kBatchVersion = 1;
inline constexpr size_t kBatchBytesMax = 256u << 10;
inline constexpr size_t kBatchMessagesMax = 1024;

struct BatchHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t messages;  // that follow, each behind its length in four bytes; at least 1
};
static_assert(sizeof(BatchHeader) == 8);

// Puts messages together, as long as they fit.
class Batch {
 public:
  Batch();
  // False: it does not fit here any more, or never would. Nothing was added.
  [[nodiscard]] bool add(std::string_view message);
  size_t messages() const { return messages_; }
  // The frame. The batch is empty again.
  std::string take();

 private:
  std::string frame_;
  uint16_t messages_ = 0;
};

bool is_batch_frame(std::span<const std::byte> frame);

// The messages in the frame, as they lie there. invalid · wrong_version: a newer format.
Result<std::vector<std::span<const std::byte>>> decode_batch(std::span<const std::byte> frame);

}  // namespace caisson::control
