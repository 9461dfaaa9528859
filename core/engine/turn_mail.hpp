// SPDX-License-Identifier: BSD-3-Clause
// What the logs of one poller have to say to other nodes. Within a turn it is gathered, and leaves
// at the end of it: one frame for each node, however many logs speak (R46). Outside of a turn, and
// where a poller has one log only, every message leaves at once. One thread, but for the counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::engine {

// Of one poller, since it started.
struct MailCounts {
  uint64_t messages = 0;
  uint64_t frames = 0;       // that carried them
  uint64_t seals = 0;        // of the messages, those that ask for a seal …
  uint64_t seal_frames = 0;  // … and the frames that carried any
};

class TurnMail {
 public:
  struct Carrier {
    std::function<void(ReplicaId to, std::string frame)> send;
    std::function<bool(ReplicaId to)> takes_batches;  // the node there reads them
  };

  // Before the first turn.
  void set_carrier(Carrier carrier) { carrier_ = std::move(carrier); }

  void begin() { gathers_ = true; }
  void end() {
    gathers_ = false;
    if (!waiting_to_.empty()) leave();
  }
  void send(ReplicaId to, std::string message, bool seal);

  MailCounts counts() const;  // [any thread]

 private:
  struct Letter {
    std::string bytes;
    bool seal = false;
  };
  void leave();
  void leave_to(ReplicaId to, std::vector<Letter>& letters);
  void carry(ReplicaId to, std::string frame, uint64_t messages, uint64_t seals);

  Carrier carrier_;
  bool gathers_ = false;
  ReplicaSet waiting_to_;
  std::array<std::vector<Letter>, kReplicaIdMax + 1> waiting_;
  std::atomic<uint64_t> messages_{0};
  std::atomic<uint64_t> frames_{0};
  std::atomic<uint64_t> seals_{0};
  std::atomic<uint64_t> seal_frames_{0};
};

}  // namespace caisson::engine
