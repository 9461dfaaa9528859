// SPDX-License-Identifier: BSD-3-Clause
// Post in one process, for tests of what is made of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <span>
#include <vector>

#include "transport/fabric.hpp"

namespace caisson::tests {

inline constexpr size_t kTestSlotBytes = 512;

// A node's own box, and the boxes it posts to. Anybody may write here.
class TestPostbox final : public transport::Postbox {
 public:
  explicit TestPostbox(ReplicaId self) : self_(self) {}
  void connect(ReplicaId peer, TestPostbox& box) { peers_[peer] = &box; }

  Code post(ReplicaId to, std::span<const std::byte> message) override {
    auto& slot = peers_.at(to)->slots[self_];
    if (!slot.empty()) return Code::again;
    slot.assign(message.begin(), message.end());
    peers_.at(to)->bell_ = 1;
    return Code::ok;
  }
  size_t message_bytes_max() const override { return kTestSlotBytes; }
  const std::atomic<uint64_t>& bell() const override { return bell_; }
  size_t take(ReplicaId& from, std::span<std::byte> out) override {
    bell_ = 0;
    for (auto& [id, slot] : slots) {
      if (slot.empty()) continue;
      from = id;
      const size_t n = std::min(slot.size(), out.size());
      std::copy_n(slot.begin(), n, out.begin());
      slot.clear();
      return n;
    }
    return 0;
  }

  std::map<ReplicaId, std::vector<std::byte>> slots;

 private:
  const ReplicaId self_;
  std::map<ReplicaId, TestPostbox*> peers_;
  std::atomic<uint64_t> bell_{0};
};

}  // namespace caisson::tests
