// SPDX-License-Identifier: BSD-3-Clause
// Carries what the parts of a fabric have to tell their like at the peers: the endpoints of one
// log, or the heartbeats of the node (log 0). Thread: the poller's that owns the part.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "caisson/types.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

class Introductions {
 public:
  using Carry = std::function<void(ReplicaId to, std::string frame)>;
  // `part` outlives it. `carry` does not block.
  Introductions(transport::Introducible& part, const LogIdentity& identity, ReplicaId self,
                ReplicaSet peers, Carry carry);

  const LogIdentity& identity() const { return identity_; }

  // Sends whatever there is to tell.
  void tell(uint64_t now_ns);
  // What a peer's part has told. True: it is taken otherwise than the last time, and `code` says
  // how.
  bool hear(ReplicaId from, std::span<const std::byte> introduction, Code& code);

 private:
  transport::Introducible& part_;
  const LogIdentity identity_;
  const ReplicaId self_;
  const ReplicaSet peers_;
  const Carry carry_;
  std::array<Code, kReplicaIdMax + 1> taken_{};
};

}  // namespace caisson::engine
