// SPDX-License-Identifier: BSD-3-Clause
// Reading entries in place, in order. See caisson.hpp for threads and fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "caisson/members.hpp"
#include "caisson/types.hpp"

namespace caisson {

namespace engine {
class SubscriptionImpl;
}  // namespace engine

class Log;

// An entry in the ring, not a copy. See Subscription::next for how long it stays.
struct Entry {
  Position position;
  Term term;
  EntryIdentity identity;
  std::span<const std::byte> payload;
  const Members* members =
      nullptr;            // not null: no entry of a client, but a view (SubscribeOptions)
  bool committed = true;  // false: from a speculative subscription, and may yet be revoked
  constexpr Token token() const { return {term, position}; }
};

struct SubscribeOptions {
  bool views = false;                 // views are delivered, too, in order with the entries (R24)
  std::string name = "subscription";  // whom a refused trim names; at most 47 bytes are kept
  // Not kNoDeadline: its hold on the trim point expires when next() was not called for so long.
  // Then an entry handed out before may be gone, and next() says `trimmed` from then on.
  uint64_t hold_ttl_ns = kNoDeadline;
  // Entries are delivered as soon as this replica holds them, before they are committed (R32).
  bool speculative = false;
};

// Committed entries in order, in place (R6). While it stands it holds the trim point below its next
// entry. Must not outlive its Engine.
class Subscription {
 public:
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // The next committed entry. Its payload points into the ring and stays until the following call
  // of next() or the end of the subscription, step-down included: committed bytes never change.
  // not_yet: nothing new · timed_out · trimmed: the log was trimmed beyond the subscription's start
  // · damaged (a page of the memory that is lost while a payload is looked at reads as zeros: the
  // next call says so, R44) · closed. Entries that caisson writes for itself (views unless asked
  // for, term starts, sessions, checkpoints) are skipped.
  [[nodiscard]] Code next(Entry& out);
  [[nodiscard]] Code next_wait(Entry& out, uint64_t timeout_ns);

  // Of a speculative subscription next() hands out copies, with Entry::committed as it was then,
  // and besides revoked: the entries delivered from out.position on are not in the log; take them
  // back. What is there instead follows.

  // The barrier: ok once everything delivered so far is committed, none of which is revoked then,
  // or ever. revoked: some of it was, and the following next() says from where · timed_out · closed
  // · trimmed. Of a subscription that is not speculative: ok at once.
  [[nodiscard]] Code flush(uint64_t timeout_ns);

 private:
  friend class Log;
  explicit Subscription(std::unique_ptr<engine::SubscriptionImpl> impl);
  std::unique_ptr<engine::SubscriptionImpl> impl_;
};

}  // namespace caisson
