// SPDX-License-Identifier: BSD-3-Clause
// What the parts of VerbsEndpoint share.
#pragma once

#include <algorithm>
#include <array>

#include "transport/verbs/clock.hpp"
#include "transport/verbs/verbs_endpoint.hpp"

namespace caisson::transport::verbs {

inline constexpr size_t kStagingBytes = 64 * 1024;
inline constexpr uint32_t kBatchesMax = 64;  // under way to one target

// Read and written by peers.
struct VerbsEndpoint::Private {
  alignas(4096) Told told{};
  alignas(4096) std::array<Slot, kReplicaIdMax + 1> slots{};
};

// Window, two pieces across the wrap, as many flushes, the read.
inline constexpr size_t kWorksMax = 8;

// What is posted, filled in as far as it is always the same.
struct Requests {
  Requests() {
    for (size_t i = 0; i < kWorksMax; ++i) {
      each[i].sg_list = &pieces[i];
      each[i].num_sge = 1;
      each[i].next = i + 1 < kWorksMax ? &each[i + 1] : nullptr;
    }
  }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  std::array<ibv_send_wr, kWorksMax> each{};
  std::array<ibv_sge, kWorksMax> pieces{};
};

// Posted together; the completion of the last one speaks for all.
struct Batch {
  uint64_t end = 0;
  uint32_t works = 0;
  uint32_t number = 0;
};

struct VerbsEndpoint::Outgoing {
  QueuePair pair;
  VerbsGrant grant;
  uint64_t generation = 0;
  uint64_t from = 0;     // where the grant was taken up
  uint64_t named = 0;    // complete_through() said so
  uint64_t posted = 0;   // handed to the adapter
  uint64_t done = 0;     // … and reported by it
  uint64_t flushed = 0;  // … by the target's poller, where that is the method
  uint64_t reported = 0;
  uint64_t reported_persisted = 0;
  uint64_t allowed = 0;  // the window told to the target ends there
  Requests requests;
  std::array<Batch, kBatchesMax> batches;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t in_flight = 0;  // work requests of these batches
  uint32_t loose = 0;      // … and behind them, waiting for a completion that speaks for them
  uint32_t number = 0;     // of the newest batch
  uint32_t answered = 0;   // of the newest batch that the target's poller has answered for
  uint64_t waits_since_ns = 0;             // for an answer only; 0: it does not
  std::array<uint64_t, kBatchesMax> ends;  // by batch
  uint16_t epoch = 0;  // counts the connections: completions of earlier ones are nobody's
  bool fenced = false;

  bool awaits_answers() const { return grant.method == Method::target_flush; }
  // What asks for no answer, such as commit cells, is answered for with what came before.
  void settle_answers() {
    while (answered != number && ends[(answered + 1) % kBatchesMax] <= flushed) ++answered;
  }
  // Everything below is persistent at the target, as far as its method tells.
  uint64_t persisted() const {
    switch (grant.method) {
      case Method::none: return from;
      case Method::target_flush: return std::min(done, flushed);
      default: return done;
    }
  }
};

// One work request, before it becomes one.
struct VerbsEndpoint::Work {
  enum class Kind : uint8_t { write, marked_write, read, flush } kind = Kind::write;
  bool inlined = false;
  bool signalled = false;
  uint32_t bytes = 0;
  uint64_t local = 0;
  uint32_t local_key = 0;
  uint64_t remote = 0;
  uint32_t remote_key = 0;
  uint64_t id = 0;
  uint32_t mark = 0;  // of a marked write
};

struct VerbsEndpoint::Peer {
  explicit Peer(ReplicaId of, uint64_t life) : id(of), handshake(life) {}

  const ReplicaId id;
  Handshake handshake;
  Introduction theirs;

  // What the adapter writes to for us.
  struct Fetched {
    alignas(4096) std::array<std::byte, kStagingBytes> staging;
    alignas(kCacheLineBytes) Told waited;
    alignas(kCacheLineBytes) Told in_passing;
    std::array<uint64_t, kBatchesMax> granted;  // by batch
    std::array<Flushed, kBatchesMax> answers;   // of its poller
  };
  std::unique_ptr<Fetched> fetched = std::make_unique<Fetched>();

  Owned<ibv_pd> domain;
  Owned<ibv_mr> ring;
  Owned<ibv_mr> told;
  Owned<ibv_mr> slot;
  Owned<ibv_mr> own;  // of `fetched`
  Outgoing out;
  QueuePair in;  // while our grant to it is open
  QueuePair read;

  // Reads, numbered. Those of earlier sessions are nobody's.
  uint32_t read_number = 0;
  bool waited_under_way = false;  // … also of one that was given up
  bool cell_under_way = false;
  TargetCell cell;
};

// Of a completion: whose it is, of which connection, and which.
inline uint64_t work_id(ReplicaId peer, uint16_t epoch, uint32_t number) {
  return uint64_t{peer.value} << 48 | uint64_t{epoch} << 32 | number;
}
inline ReplicaId peer_of_work(uint64_t id) { return ReplicaId{static_cast<uint8_t>(id >> 48)}; }
inline uint16_t epoch_of_work(uint64_t id) { return static_cast<uint16_t>(id >> 32); }
inline uint32_t number_of_work(uint64_t id) { return static_cast<uint32_t>(id); }
// … of a message that was received.
inline constexpr uint64_t kReceived = uint64_t{1} << 63;

}  // namespace caisson::transport::verbs
