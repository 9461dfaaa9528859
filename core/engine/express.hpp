// SPDX-License-Identifier: BSD-3-Clause
// Control messages from poller to poller, past the links' threads: what a failover waits for is
// otherwise mostly threads that wake each other. Each message is sealed (AES-256-GCM) under a key
// that only the two ends of the TLS link between the nodes can derive, so the postbox it travels in
// need not be trusted: being able to write there proves nothing (R41). Messages overtake those of
// the link, and may be lost; the exchanges they belong to allow for both. Without TLS there is no
// key, and everything goes by the link.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/types.hpp"
#include "core/engine/link_key.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

class AeadContext;

class Express {
 public:
  explicit Express(transport::Postbox& box);
  ~Express();
  Express(const Express&) = delete;
  Express& operator=(const Express&) = delete;

  // ---- [any thread] ----
  // The key of one half of the link to `peer`; null: that half is gone.
  void set_key(ReplicaId peer, LinkHalf half, const LinkKey* key);
  // False: not taken; send it by the link. Never waits.
  [[nodiscard]] bool send(ReplicaId to, std::string_view frame);
  uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  uint64_t received() const { return received_.load(std::memory_order_relaxed); }
  // Dropped: of an earlier link, or written by somebody who has no key.
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

  // ---- One thread ----
  bool pending() const { return box_.bell().load(std::memory_order_relaxed) != 0; }
  // The next frame that is authentic; false: none was found, for now. Looks at a bounded number.
  bool receive(ReplicaId& from, std::string& frame);

 private:
  // One half of a link.
  struct Half {
    std::mutex mutex;
    // Guarded by mutex.
    std::unique_ptr<AeadContext> aead;  // null: no key
    uint64_t counter = 0;               // of the last message; each is used, and accepted, once
    std::vector<std::byte> buffer;
  };
  bool open(Half& half, std::string_view sealed, std::string& frame);

  transport::Postbox& box_;
  std::array<Half, kReplicaIdMax + 1> sending_;
  std::array<Half, kReplicaIdMax + 1> receiving_;
  std::vector<std::byte> taken_;
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> refused_{0};
};

}  // namespace caisson::engine
