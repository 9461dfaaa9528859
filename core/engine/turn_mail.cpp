// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/turn_mail.hpp"

#include <utility>

#include "core/control/batch_format.hpp"

namespace caisson::engine {

void TurnMail::send(ReplicaId to, std::string message, bool seal) {
  if (to.value > kReplicaIdMax) return;
  if (!gathers_) return carry(to, std::move(message), 1, seal ? 1 : 0);
  waiting_[to.value].push_back({std::move(message), seal});
  waiting_to_.add(to);
}

void TurnMail::leave() {
  for_each(std::exchange(waiting_to_, {}),
           [this](ReplicaId to) { leave_to(to, waiting_[to.value]); });
}

void TurnMail::leave_to(ReplicaId to, std::vector<Letter>& letters) {
  const bool together = letters.size() > 1 && carrier_.takes_batches(to);
  control::Batch batch;
  uint64_t seals = 0;  // in the batch
  const auto close = [&] {
    const uint64_t count = batch.messages();
    if (count != 0) carry(to, batch.take(), count, std::exchange(seals, 0));
  };
  for (Letter& letter : letters) {
    bool added = together && batch.add(letter.bytes);
    if (together && !added) {
      close();
      added = batch.add(letter.bytes);
    }
    if (added) {
      seals += letter.seal ? 1 : 0;
    } else {  // too large for any batch, or for a node that reads none
      carry(to, std::move(letter.bytes), 1, letter.seal ? 1 : 0);
    }
  }
  close();
  letters.clear();
}

void TurnMail::carry(ReplicaId to, std::string frame, uint64_t messages, uint64_t seals) {
  messages_.fetch_add(messages, std::memory_order_relaxed);
  frames_.fetch_add(1, std::memory_order_relaxed);
  if (seals != 0) {
    seals_.fetch_add(seals, std::memory_order_relaxed);
    seal_frames_.fetch_add(1, std::memory_order_relaxed);
  }
  carrier_.send(to, std::move(frame));
}

MailCounts TurnMail::counts() const {
  return {messages_.load(std::memory_order_relaxed), frames_.load(std::memory_order_relaxed),
          seals_.load(std::memory_order_relaxed), seal_frames_.load(std::memory_order_relaxed)};
}

}  // namespace caisson::engine
