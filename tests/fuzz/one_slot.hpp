// SPDX-License-Identifier: BSD-3-Clause
// A postbox of one slot that anybody may write to, for what express makes of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <span>
#include <vector>

#include "core/engine/link_key.hpp"
#include "transport/fabric.hpp"

namespace caisson::fuzz {

inline constexpr engine::LinkKey kSlotKey{1, 2, 3};
inline constexpr ReplicaId kSlotSender{2};

class OneSlot final : public transport::Postbox {
 public:
  Code post(ReplicaId, std::span<const std::byte> message) override {
    slot.assign(message.begin(), message.end());
    bell_ = 1;
    return Code::ok;
  }
  size_t message_bytes_max() const override { return 4096; }
  const std::atomic<uint64_t>& bell() const override { return bell_; }
  size_t take(ReplicaId& from, std::span<std::byte> out) override {
    from = kSlotSender;
    const size_t n = std::min(slot.size(), out.size());
    std::copy_n(slot.begin(), n, out.begin());
    slot.clear();
    return n;
  }
  std::vector<std::byte> slot;

 private:
  std::atomic<uint64_t> bell_{0};
};

}  // namespace caisson::fuzz
