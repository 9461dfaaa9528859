// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/verbs_heartbeats.hpp"

#include <cerrno>
#include <cstring>

#include "transport/cells.hpp"
#include "transport/verbs/clock.hpp"

namespace caisson::transport::verbs {

namespace {

// Of a completion: whose it is, and of which session.
uint64_t work_id(ReplicaId peer, uint32_t session) { return uint64_t{peer.value} << 32 | session; }

}  // namespace

struct VerbsHeartbeats::Own {
  // As peers fetch an endpoint's: a node says no more than its counter.
  alignas(4096) uint64_t counter = 0;
};

struct VerbsHeartbeats::Peer {
  Peer(ReplicaId of, uint64_t life) : id(of), handshake(life) {}

  const ReplicaId id;
  Handshake handshake;
  Introduction theirs;
  alignas(kCacheLineBytes) uint64_t fetched = 0;  // written by the adapter
  Owned<ibv_pd> domain;
  Owned<ibv_mr> told;
  Owned<ibv_mr> own;  // of `fetched`
  QueuePair half;
  bool under_way = false;
  uint64_t looked_ns = 0;

  alignas(kCacheLineBytes) std::atomic<uint64_t> counter{0};
  std::atomic<bool> known{false};
};

VerbsHeartbeats::VerbsHeartbeats(const VerbsHeartbeatOptions& options)
    : options_(options), life_(random_word()), own_(std::make_unique<Own>()) {}

VerbsHeartbeats::~VerbsHeartbeats() = default;

Result<std::unique_ptr<VerbsHeartbeats>> VerbsHeartbeats::open(
    const VerbsHeartbeatOptions& options) {
  std::unique_ptr<VerbsHeartbeats> heartbeats(new VerbsHeartbeats(options));
  if (auto opened = heartbeats->open_all(); !opened) return tl::unexpected(opened.error());
  return heartbeats;
}

Result<void> VerbsHeartbeats::open_all() {
  const Device& device = *options_.device;
  const auto peers = static_cast<int>(options_.peers.count());
  fetched_.reset(::ibv_create_cq(device.context(), peers * static_cast<int>(kReadDepth) + 1,
                                 nullptr, nullptr, 0));
  if (!fetched_) {
    return fail(Code::no_space,
                device.name() + " gives no completion queue: " + std::strerror(errno));
  }
  Result<void> opened;
  for_each(options_.peers - just(options_.self), [&](ReplicaId id) {
    if (!opened) return;
    peers_[id.value] = std::make_unique<Peer>(id, life_);
    opened = open_peer(*peers_[id.value]);
  });
  return opened;
}

Result<void> VerbsHeartbeats::open_peer(Peer& peer) {
  const Device& device = *options_.device;
  peer.domain.reset(::ibv_alloc_pd(device.context()));
  if (!peer.domain) return fail(Code::no_space, device.name() + " gives no protection domain");
  auto told = device.register_memory(peer.domain.get(), own_.get(), sizeof *own_,
                                     IBV_ACCESS_REMOTE_READ, "memory");
  if (!told) return tl::unexpected(told.error());
  peer.told = std::move(*told);
  auto own = device.register_memory(peer.domain.get(), &peer.fetched, sizeof peer.fetched,
                                    IBV_ACCESS_LOCAL_WRITE, "memory");
  if (!own) return tl::unexpected(own.error());
  peer.own = std::move(*own);
  auto half = QueuePair::create(device, peer.domain.get(), fetched_.get(),
                                {kReadDepth, 0, false, options_.patience});
  if (!half) return tl::unexpected(half.error());
  peer.half = std::move(*half);
  return {};
}

void VerbsHeartbeats::beat() { store_word(own_->counter, ++counter_); }

std::vector<std::byte> VerbsHeartbeats::introduction(ReplicaId id, uint64_t now) {
  if (id.value > kReplicaIdMax || peers_[id.value] == nullptr) return {};
  Peer& peer = *peers_[id.value];
  const std::lock_guard lock(mutex_);
  if (!peer.handshake.due(now)) return {};
  Introduction ours;
  ours.acquaintance = peer.handshake.say(now);
  ours.address = options_.device->address();
  ours.read_pair = peer.half.number();
  ours.told = {reinterpret_cast<uint64_t>(&own_->counter), peer.told->rkey};
  return encode(ours);
}

Code VerbsHeartbeats::meet(ReplicaId id, std::span<const std::byte> introduction) {
  if (id.value > kReplicaIdMax || peers_[id.value] == nullptr) return Code::not_found;
  Peer& peer = *peers_[id.value];
  const auto theirs = decode_introduction(introduction);
  if (!theirs) return theirs.error().code;
  if (theirs->ring_bytes != 0) return Code::invalid;  // an endpoint's
  const std::lock_guard lock(mutex_);
  switch (peer.handshake.hear(theirs->acquaintance)) {
    case Handshake::Step::nothing: return Code::ok;
    case Handshake::Step::connect: peer.under_way = false; return connect(peer);
    case Handshake::Step::forget: break;
  }
  peer.theirs = *theirs;
  peer.under_way = false;
  peer.known.store(false, std::memory_order_relaxed);
  return Code::ok;
}

// With mutex_ held.
Code VerbsHeartbeats::connect(Peer& peer) {
  const Code code =
      connect_for_reading(*options_.device, peer.half, peer.handshake, peer.theirs, life_);
  return code == Code::again ? Code::ok : code;
}

// With mutex_ held.
void VerbsHeartbeats::reap() const {
  std::array<ibv_wc, 16> done;
  const int n = ::ibv_poll_cq(fetched_.get(), static_cast<int>(done.size()), done.data());
  for (int i = 0; i < n; ++i) {
    const ibv_wc& wc = done[static_cast<size_t>(i)];
    Peer& peer = *peers_[(wc.wr_id >> 32) & kReplicaIdMax];
    // Of a connection that was made anew since.
    if (wc.wr_id != work_id(peer.id, peer.handshake.session())) continue;
    peer.under_way = false;
    if (wc.status != IBV_WC_SUCCESS) {
      options_.device->paths().forget(peer.theirs.address);
      peer.handshake.failed();
      continue;
    }
    peer.counter.store(load_word(peer.fetched), std::memory_order_relaxed);
    peer.known.store(true, std::memory_order_relaxed);
  }
}

// With mutex_ held.
void VerbsHeartbeats::look_at(Peer& peer) const {
  if (!peer.handshake.is_open() || peer.under_way) return;
  const uint64_t now = now_ns();
  if (now - peer.looked_ns < options_.pause_ns) return;
  peer.looked_ns = now;
  ibv_sge piece{reinterpret_cast<uint64_t>(&peer.fetched), sizeof peer.fetched, peer.own->lkey};
  ibv_send_wr request{};
  request.wr_id = work_id(peer.id, peer.handshake.session());
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_READ;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = peer.theirs.told.at;
  request.wr.rdma.rkey = peer.theirs.told.key;
  ibv_send_wr* bad = nullptr;
  if (::ibv_post_send(peer.half.get(), &request, &bad) != 0) {
    peer.handshake.failed();
    return;
  }
  peer.under_way = true;
}

Beat VerbsHeartbeats::read(ReplicaId id) const {
  if (id.value > kReplicaIdMax || peers_[id.value] == nullptr) return {};
  Peer& peer = *peers_[id.value];
  if (const std::unique_lock lock(mutex_, std::try_to_lock); lock.owns_lock()) {
    reap();
    look_at(peer);
  }
  return {peer.counter.load(std::memory_order_relaxed), false,
          peer.known.load(std::memory_order_relaxed)};
}

}  // namespace caisson::transport::verbs
