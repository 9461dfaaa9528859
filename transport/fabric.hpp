// SPDX-License-Identifier: BSD-3-Clause
// The fabric of one log replica: how its bytes reach its peers' rings, and how its own ring is
// opened and closed to theirs (R37). One Endpoint per log replica; core code sees nothing else.
//
// Words: posted < placed < persisted. `posted` is ours alone; `placed` means the target's memory
// holds the bytes; `persisted` means they survive what the target's Persistence promises.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "caisson/types.hpp"

namespace caisson::transport {

using caisson::ReplicaSet;

// What a target hands to the writer that it lets in. Opaque to the core; carried by the control
// plane.
struct Grant {
  Term term;
  uint64_t generation = 0;      // counts the grants of this target's region; never reused
  std::vector<std::byte> blob;  // fabric private: keys, slot maps, queue pair numbers
};

// What a target publishes about itself for one-sided reading. Every value carries the term and
// incarnation under which it was published, and is believed only if both match (P11).
struct TargetCell {
  Term term;
  Incarnation incarnation;
  Position validated;    // the chain holds up to here
  Offset validated_end;  //   … and ends at this offset
  Position applied;      // durably applied or checkpointed by the application (R8)
  Offset head;           // everything below is trimmed, and that is persisted (P13)
  Position trimmed;
  uint64_t fault = 0;  // non-zero: a break was found below a completed persist (P12)
};

// The idle commit mark (P11): one self-checked line, written by the leader when no entry carries
// it.
struct CommitCell {
  Term term;
  Position committed;
  uint32_t chain = 0;  // chain value of the entry at `committed`
  Position trim_to;    // the leader asks its followers to trim through here
};

// Whom a replica listens to, as its own memory says at the moment of the reading (P19). A region
// that was made anew under the same name is another one: its birth tells.
struct Standing {
  Term promised;       // 0: cannot be read, or nothing is promised; proves nothing
  uint64_t birth = 0;  // of the region that was read
  Offset head;         // what lies below in its ring may have been overwritten
  Position validated;  // its ring held everything up to here
  uint64_t fault = 0;  // as in TargetCell
};

// Heartbeat of a node's poller as its peers see it. `counter` is advanced by the data-plane poller
// itself (fate sharing, R27); `dead` is the kernel's word that the poller's thread is gone.
struct Beat {
  uint64_t counter = 0;
  bool dead = false;
  bool known = false;  // false: the peer's cell cannot be reached
};

struct Completion {
  ReplicaId target;
  // ok, or fenced: this grant is gone, or the memory behind it is; nothing further is counted
  Code code = Code::ok;
  Offset placed_through;     // every byte posted below this is in the target's memory …
  Offset persisted_through;  // … and persisted there (P9: a prefix, never a range with holes)
};

// A part of a fabric that has to hear something of its like at a peer before it can reach it. What
// is told is its own affair. A fabric that needs none of it leaves these as they are.
class Introducible {
 public:
  virtual ~Introducible() = default;
  // To be carried to `peer`'s like, and handed to its meet(); empty: nothing, for now. Asked for
  // again and again, at least every few milliseconds.
  virtual std::vector<std::byte> introduction(ReplicaId /*peer*/, uint64_t /*now_ns*/) {
    return {};
  }
  // Introductions may be lost, late and repeated. invalid: not one of this fabric, or of another
  // version or shape · io, no_space: the peer cannot be connected to now.
  [[nodiscard]] virtual Code meet(ReplicaId /*peer*/, std::span<const std::byte> /*introduction*/) {
    return Code::invalid;
  }
};

class Endpoint : public Introducible {
 public:
  // ---- As target: our ring, opened to others ----

  // Ends every grant given so far, of any term. After the return no byte from any of them can
  // become visible in the ring, whatever the old holder's processor or adapter still has queued
  // (R19): their write, read and atomic rights are gone, and every byte that was placed before is
  // visible. The ring is also made persistent as found, so that what a scan reads now is what a
  // later scan reads (P2). May re-home parts of the ring (P5). Code::io leaves the replica unable
  // to answer a seal. Completions of our own ring that poll() has not reported yet are forgotten.
  [[nodiscard]] virtual Code revoke_all() = 0;

  // Opens the ring to `writer` under `term`. At most one grant is open at a time; the caller has
  // revoked the older ones (P4). not_yet: the fabric has not found that writer yet; ask again.
  virtual Result<Grant> grant(ReplicaId writer, Term term) = 0;

  virtual void publish(const TargetCell& cell) = 0;

  // Publishes the promised term for one-sided leadership proofs (P19). Before any answer to a seal.
  // `birth` is the region's own, always the same.
  virtual void publish_promise(Term promised, uint64_t birth) = 0;

  // What the bytes that come in ask of our own processor, if anything. Every turn of the poller;
  // tells how much there was to do.
  virtual uint32_t attend() { return 0; }

  // The newest commit cell that `writer` wrote to us; a torn one reads as all zero.
  virtual CommitCell commit_cell(ReplicaId writer) const = 0;

  // ---- As initiator: others' rings ----

  // Takes up a grant received from `target`; writes start counting at `from`: completions report
  // prefixes that begin there. Replaces any earlier grant of that target. damaged: its memory is
  // poisoned (R44).
  [[nodiscard]] virtual Code attach(ReplicaId target, const Grant& grant, Offset from) = 0;
  // Forgets the grant; none of its completions is reported any more.
  virtual void detach(ReplicaId target) = 0;

  // Places n bytes at logical offset `at` in our own ring and in the ring of every target in
  // `targets`, reading `source` once. `source` need not stay valid after the return. Successive
  // calls for one target are contiguous and ascending except within [at, next), see `order` below.
  //   order: bytes above a target's posted mark may be placed in any order, but a completion is
  //   reported for a prefix, and only after complete_through() names its end.
  virtual void fan_out(ReplicaSet targets, Offset at, const void* source, size_t n) = 0;

  // As fan_out for bytes that our own ring already holds (claims): persists them here, and places
  // them in the targets' rings.
  virtual void fan_out_own(ReplicaSet targets, Offset at, size_t n) = 0;

  // Places bytes of our own ring, already persistent here, into one target's ring: repair,
  // catch-up.
  virtual void write(ReplicaId target, Offset at, size_t n) = 0;

  // Everything below `end` has been handed over for these targets (and for our own ring, if `own`):
  // start persisting it, and report when it is.
  virtual void complete_through(ReplicaSet targets, bool own, Offset end) = 0;

  // Fetches what has completed. Our own ring completes as target == self.
  virtual size_t poll(std::span<Completion> out) = 0;

  // Copies [at, at + n) of the target's ring as it is now: all that was reported placed there
  // before the call, and maybe torn pieces of more. The caller checks every byte. False: not
  // reachable.
  [[nodiscard]] virtual bool read(ReplicaId target, Offset at, void* destination, size_t n) = 0;

  // What the target last published, possibly stale, never torn. A default value if unknown.
  virtual TargetCell target_cell(ReplicaId target) const = 0;
  // Read from the target's memory after the call began, and after every earlier read() of it: of
  // the same region.
  virtual Standing standing_of(ReplicaId target) const = 0;
  virtual void write_commit_cell(ReplicaSet targets, const CommitCell& cell) = 0;

  // How far ahead of `posted` the target lets us write before anything else happens; 0 = no limit
  // but the ring's. (shm: the published allowance; handled inside fan_out, so this is informative.)
  virtual uint64_t window_bytes() const = 0;

  // ---- Claims: our own ring, lent to the application ----

  // Address at which the application may write [at, at + n) of our own ring, valid until
  // revoke_claims(). Never the address that the poller itself uses (P1).
  virtual std::byte* claim(Offset at, size_t n) = 0;

  // Replaces every address handed out by claim() with private scratch memory: a late store of the
  // application touches nothing that a newer leader fills (P1, H12).
  virtual void revoke_claims() = 0;

  // ---- For people ----

  // By what the bytes that others place in our ring become persistent (R12): "store", the writer's
  // own processor, or a name of the fabric's. Constant. [any thread]
  virtual std::string_view persists_by() const { return "store"; }
  // What has happened so far: names of the fabric's own, and how often. [any thread]
  virtual std::vector<std::pair<std::string_view, uint64_t>> counters() const { return {}; }
};

// Heartbeats of a whole node, shared by all its logs. One per process.
class Heartbeats : public Introducible {
 public:
  virtual void beat() = 0;                      // called by the poller, every turn
  virtual Beat read(ReplicaId peer) const = 0;  // one-sided; needs nothing of the peer's processor
};

// Small messages from a node to a node, placed one-sidedly where the other's poller looks every
// turn: for what cannot wait until threads have woken up. For each ordered pair of nodes there is
// room for one message. It may be lost, and proves nothing about who wrote it. One per process.
class Postbox {
 public:
  virtual ~Postbox() = default;
  // ok: it lies there · again: the last one still does · not_found: no such peer, or not yet ·
  // too_large: above message_bytes_max(). One thread at a time for each peer.
  [[nodiscard]] virtual Code post(ReplicaId to, std::span<const std::byte> message) = 0;
  virtual size_t message_bytes_max() const = 0;
  // Not zero: something may lie in our own box. To be asked for at each look: boxes are replaced.
  virtual const std::atomic<uint64_t>& bell() const = 0;
  // Takes one message out and says whose slot it lay in; 0: none was found. `out` holds
  // message_bytes_max(). One thread at a time.
  virtual size_t take(ReplicaId& from, std::span<std::byte> out) = 0;
};

}  // namespace caisson::transport
