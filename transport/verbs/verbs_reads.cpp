// SPDX-License-Identifier: BSD-3-Clause
// As initiator: what lies in the memory of others, read without their help.
#include <algorithm>
#include <cstring>

#include "transport/verbs/verbs_endpoint_impl.hpp"

namespace caisson::transport::verbs {

namespace {

// A promise that is caught half way is read again: its owner needs nanoseconds to write it.
constexpr int kToldTries = 4;

}  // namespace

bool VerbsEndpoint::reachable(ReplicaId id) const {
  const Peer* const peer = peer_of(id);
  return peer != nullptr && peer->handshake.is_open();
}

// False: it cannot be posted.
bool VerbsEndpoint::start_read(Peer& peer, const RemoteMemory& from, uint64_t at, uint64_t to,
                               size_t n, bool waited) const {
  ibv_sge piece{to, static_cast<uint32_t>(n), peer.own->lkey};
  ibv_send_wr request{};
  request.wr_id = work_id(peer.id, static_cast<uint16_t>(peer.handshake.session()),
                          ++peer.read_number << 1 | (waited ? 1 : 0));
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_READ;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = from.at + at;
  request.wr.rdma.rkey = from.key;
  ibv_send_wr* bad = nullptr;
  if (::ibv_post_send(peer.read.get(), &request, &bad) != 0) {
    peer.handshake.failed();
    return false;
  }
  (waited ? peer.waited_under_way : peer.cell_under_way) = true;
  return true;
}

void VerbsEndpoint::reap_reads() const {
  std::array<ibv_wc, 16> done;
  int n = 0;
  do {
    n = ::ibv_poll_cq(fetched_.get(), static_cast<int>(done.size()), done.data());
    for (int i = 0; i < n; ++i) {
      const ibv_wc& wc = done[static_cast<size_t>(i)];
      Peer* const peer = peer_of(peer_of_work(wc.wr_id));
      // Of the adapter with itself, or of a connection that was made anew since.
      if (peer == nullptr) {
        loop_done(wc);
        continue;
      }
      if (epoch_of_work(wc.wr_id) != static_cast<uint16_t>(peer->handshake.session())) continue;
      const bool waited = (number_of_work(wc.wr_id) & 1) != 0;
      (waited ? peer->waited_under_way : peer->cell_under_way) = false;
      if (wc.status != IBV_WC_SUCCESS) {
        peer->waited_under_way = peer->cell_under_way = false;
        device_->paths().forget(peer->theirs.address);
        peer->handshake.failed();
        continue;
      }
      if (!waited) (void)published(peer->fetched->in_passing, peer->cell);
    }
  } while (n == static_cast<int>(done.size()));
}

// False: it is not reachable, or not in time.
bool VerbsEndpoint::fetch(Peer& peer, const RemoteMemory& from, uint64_t at, const void* to,
                          size_t n) const {
  reap_reads();
  // What somebody gave up waiting for may still arrive, and would arrive in the same place.
  if (!peer.handshake.is_open() || peer.waited_under_way) return false;
  if (!start_read(peer, from, at, reinterpret_cast<uint64_t>(to), n, true)) return false;
  const uint32_t session = peer.handshake.session();
  const uint64_t until_ns = now_ns() + options_.read_patience_ns;
  for (;;) {
    reap_reads();
    if (peer.handshake.session() != session) return false;
    if (!peer.waited_under_way) return true;
    if (now_ns() > until_ns) {
      ++counts_.reads_late;
      return false;
    }
  }
}

bool VerbsEndpoint::read(ReplicaId target, Offset at, void* destination, size_t n) {
  Peer* const peer = peer_of(target);
  if (peer == nullptr) return false;
  const std::byte* const staging = peer->fetched->staging.data();
  auto* to = static_cast<std::byte*>(destination);
  for (uint64_t from = at.value, left = n; left > 0;) {
    const uint64_t ring_at = from & (ring_bytes_ - 1);
    const size_t piece = std::min({left, ring_bytes_ - ring_at, uint64_t{kStagingBytes}});
    if (!fetch(*peer, peer->theirs.ring, ring_at, staging, piece)) return false;
    std::memcpy(to, staging, piece);
    from += piece;
    to += piece;
    left -= piece;
  }
  return true;
}

// Asked for again and again: what is there now is fetched in passing.
TargetCell VerbsEndpoint::target_cell(ReplicaId target) const {
  Peer* const peer = peer_of(target);
  if (peer == nullptr) return {};
  reap_reads();
  if (peer->handshake.is_open() && !peer->cell_under_way) {
    (void)start_read(*peer, peer->theirs.told, 0,
                     reinterpret_cast<uint64_t>(&peer->fetched->in_passing), sizeof(Told), false);
  }
  return peer->cell;
}

Standing VerbsEndpoint::standing_of(ReplicaId target) const {
  Peer* const peer = peer_of(target);
  if (peer == nullptr) return {};
  const Told& told = peer->fetched->waited;
  for (int i = 0; i < kToldTries; ++i) {
    if (!fetch(*peer, peer->theirs.told, 0, &told, sizeof told)) return {};
    Standing standing;
    if (!promised(told, standing.promised, standing.birth)) continue;
    TargetCell cell;
    cell.head = Offset{UINT64_MAX};  // nothing is published: nothing can be told
    (void)published(told, cell);
    standing.head = cell.head;
    standing.validated = cell.validated;
    standing.fault = cell.fault;
    return standing;
  }
  return {};
}

}  // namespace caisson::transport::verbs
