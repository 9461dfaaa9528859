// SPDX-License-Identifier: BSD-3-Clause
// As initiator: batches of our own ring into the rings of those that let us in.
#include <endian.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/verbs/verbs_endpoint_impl.hpp"

namespace caisson::transport::verbs {

Code VerbsEndpoint::attach(ReplicaId target, const Grant& grant, Offset from) {
  detach(target);
  const auto blob = decode_grant(grant.blob);
  if (!blob) return blob.error().code;
  Peer* const peer = peer_of(target);
  if (peer == nullptr) return Code::not_found;
  if (blob->to_life != life_) return Code::wrong_cluster;
  if (peer->handshake.peer_life() != blob->life) return Code::again;
  if (peer->theirs.ring_bytes != ring_bytes_) return Code::invalid;
  if (blob->method == Method::flush && !device_->limits().flush) return Code::unsupported;
  if (device_->paths().find(peer->theirs.address) != Code::ok) return Code::again;
  Outgoing& out = peer->out;
  const Remote remote{peer->theirs.address, blob->pair};
  // Nothing is ever written to us by this half.
  if (const Code code = out.pair.listen(remote, 0, 0); code != Code::ok) return code;
  out.grant = *blob;
  out.generation = grant.generation;
  out.from = out.named = out.posted = out.done = out.reported = out.allowed = from.value;
  out.flushed = out.reported_persisted = from.value;
  out.first = out.count = out.in_flight = out.loose = 0;
  out.answered = out.number;
  ++out.epoch;
  out.fenced = false;
  for (uint32_t slot = 0; out.awaits_answers() && slot < kBatchesMax; ++slot) {
    if (!await_answer(*peer, slot)) return Code::io;
  }
  if (const Code code = out.pair.speak(blob->psn); code != Code::ok) return code;
  attached_.add(target);
  return Code::ok;
}

void VerbsEndpoint::detach(ReplicaId target) {
  if (!attached_.has(target)) return;
  attached_.remove(target);
  // Our ring may hold other bytes by the time the adapter comes to read what was posted.
  Peer& peer = *peer_of(target);
  peer.out.pair.stop();
  ++peer.out.epoch;
}

void VerbsEndpoint::fence_stores() {
  if (!stored_) return;
  pmem::store_fence();
  stored_ = false;
}

void VerbsEndpoint::fan_out(ReplicaSet, Offset at, const void* source, size_t n) {
  std::byte* const to = own_ring_ + (at.value & (ring_bytes_ - 1));
  kernels_.fan_copy(&to, 1, source, n);
  stored_ = true;
}

void VerbsEndpoint::fan_out_own(ReplicaSet, Offset at, size_t n) {
  kernels_.flush_lines(own_ring_ + (at.value & (ring_bytes_ - 1)), n);
  stored_ = true;
}

// It is posted with what complete_through() says.
void VerbsEndpoint::write(ReplicaId, Offset, size_t) {}

void VerbsEndpoint::complete_through(ReplicaSet targets, bool own, Offset end) {
  fence_stores();  // before an adapter reads it
  if (own) {
    own_handed_ = end.value;
    own_unreported_ = true;
  }
  for_each(targets & attached_, [&](ReplicaId id) {
    Peer& peer = *peer_of(id);
    peer.out.named = std::max(peer.out.named, end.value);
    post(peer);
  });
}

void VerbsEndpoint::post(Peer& peer) {
  Outgoing& out = peer.out;
  while (out.posted < out.named && !out.fenced) {
    const uint64_t end = std::min(out.named, out.posted + options_.batch_bytes_max);
    if (!post_batch(peer, end)) return;
  }
}

// For one more batch, whatever it consists of.
bool VerbsEndpoint::has_room(const Outgoing& out) const {
  return out.count < kBatchesMax &&
         (!out.awaits_answers() || out.number - out.answered < kBatchesMax) &&
         out.in_flight + out.loose + kWorksMax <= options_.queue_depth;
}

// False: the connection is lost.
bool VerbsEndpoint::submit(Peer& peer, std::span<Work> works) {
  const bool flushing = peer.out.grant.method == Method::flush;
  if (flushing ? submit_flushing(peer, works) : submit_plain(peer, works)) return true;
  lose(peer.out, IBV_WC_GENERAL_ERR);
  return false;
}

// The last work request submitted speaks for all before it that no other one speaks for.
void VerbsEndpoint::close_batch(Outgoing& out, uint64_t end) {
  out.ends[out.number % kBatchesMax] = end;
  out.batches[(out.first + out.count++) % kBatchesMax] = {end, out.loose, out.number};
  out.in_flight += out.loose;
  out.loose = 0;
}

// What completes batch `number`: only behind the grant's own word is it counted.
VerbsEndpoint::Work VerbsEndpoint::look_at_grant(Peer& peer, uint32_t number) {
  uint64_t& granted = peer.fetched->granted[number % kBatchesMax];
  granted = 0;
  return {Work::Kind::read,
          false,
          true,
          sizeof granted,
          reinterpret_cast<uint64_t>(&granted),
          peer.own->lkey,
          peer.theirs.told.at + offsetof(Told, granted),
          peer.theirs.told.key,
          work_id(peer.id, peer.out.epoch, number)};
}

// False: no room for it now, or the connection is lost.
bool VerbsEndpoint::post_batch(Peer& peer, uint64_t end) {
  Outgoing& out = peer.out;
  if (!has_room(out)) return false;
  const uint32_t number = out.number + 1;
  const uint64_t id = work_id(peer.id, out.epoch, number);
  std::array<Work, kWorksMax> works;
  size_t count = 0;

  WindowCell window;
  if (end > out.allowed) {
    const uint64_t segment = region_.geometry().segment_bytes;
    out.allowed = (end + segment - 1) / segment * segment;
    const Offset low{out.awaits_answers() ? out.persisted() : out.done};
    window = window_cell(out.generation, low, Offset{out.allowed});
    works[count++] = {Work::Kind::write,
                      true,
                      false,
                      offsetof(WindowCell, reserved),
                      reinterpret_cast<uint64_t>(&window),
                      0,
                      out.grant.slot.at + offsetof(Slot, window),
                      out.grant.slot.key,
                      id};
  }
  const size_t data = count;
  for (uint64_t at = out.posted; at < end;) {
    const uint64_t ring_at = at & (ring_bytes_ - 1);
    const auto bytes = static_cast<uint32_t>(std::min(end - at, ring_bytes_ - ring_at));
    works[count++] = {Work::Kind::write,
                      bytes <= out.pair.inline_bytes(),
                      false,
                      bytes,
                      reinterpret_cast<uint64_t>(own_ring_ + ring_at),
                      peer.ring->lkey,
                      peer.theirs.ring.at + ring_at,
                      peer.theirs.ring.key,
                      id};
    at += bytes;
  }
  if (out.grant.method == Method::flush) {
    for (size_t i = data, pieces = count; i < pieces; ++i) {
      works[count] = works[i];
      works[count].kind = Work::Kind::flush;
      works[count++].inlined = false;
    }
  }
  if (out.awaits_answers()) {
    works[count - 1].kind = Work::Kind::marked_write;
    works[count - 1].mark = mark_of(Offset{end});
  }
  works[count++] = look_at_grant(peer, number);
  if (!submit(peer, {works.data(), count})) return false;
  out.number = number;
  out.loose += static_cast<uint32_t>(count);
  out.posted = end;
  close_batch(out, end);
  ++counts_.batches;
  return true;
}

bool VerbsEndpoint::submit_plain(Peer& peer, std::span<Work> works) {
  Requests& requests = peer.out.requests;
  for (size_t i = 0; i < works.size(); ++i) {
    const Work& work = works[i];
    requests.pieces[i] = {work.local, work.bytes, work.local_key};
    ibv_send_wr& request = requests.each[i];
    request.wr_id = work.id;
    request.opcode = work.kind == Work::Kind::read           ? IBV_WR_RDMA_READ
                     : work.kind == Work::Kind::marked_write ? IBV_WR_RDMA_WRITE_WITH_IMM
                                                             : IBV_WR_RDMA_WRITE;
    request.imm_data = htobe32(work.mark);
    request.send_flags = (work.inlined ? static_cast<unsigned>(IBV_SEND_INLINE) : 0) |
                         (work.signalled ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0);
    request.wr.rdma.remote_addr = work.remote;
    request.wr.rdma.rkey = work.remote_key;
  }
  ibv_send_wr& last = requests.each[works.size() - 1];
  ibv_send_wr* const behind = std::exchange(last.next, nullptr);
  ibv_send_wr* bad = nullptr;
  const bool posted = ::ibv_post_send(peer.out.pair.get(), requests.each.data(), &bad) == 0;
  last.next = behind;
  return posted;
}

bool VerbsEndpoint::submit_flushing([[maybe_unused]] Peer& peer,
                                    [[maybe_unused]] std::span<Work> works) {
#ifdef CAISSON_HAVE_RDMA_FLUSH
  ibv_qp_ex* const pair = ::ibv_qp_to_qp_ex(peer.out.pair.get());
  ::ibv_wr_start(pair);
  for (const Work& work : works) {
    pair->wr_id = work.id;
    // rxe's provider copies what is set inline, and its kernel looks for it only where this says
    // so.
    pair->wr_flags = (work.inlined ? static_cast<unsigned>(IBV_SEND_INLINE) : 0) |
                     (work.signalled ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0);
    switch (work.kind) {
      case Work::Kind::marked_write:  // of another method
      case Work::Kind::write: ::ibv_wr_rdma_write(pair, work.remote_key, work.remote); break;
      case Work::Kind::read: ::ibv_wr_rdma_read(pair, work.remote_key, work.remote); break;
      case Work::Kind::flush:
        ::ibv_wr_flush(pair, work.remote_key, work.remote, work.bytes, IBV_FLUSH_PERSISTENT,
                       IBV_FLUSH_RANGE);
        continue;
    }
    if (work.inlined) {
      ::ibv_wr_set_inline_data(pair, reinterpret_cast<void*>(work.local), work.bytes);
    } else {
      ::ibv_wr_set_sge(pair, work.local_key, work.local, work.bytes);
    }
  }
  return ::ibv_wr_complete(pair) == 0;
#else
  return false;
#endif
}

void VerbsEndpoint::write_commit_cell(ReplicaSet targets, const CommitCell& cell) {
  CommitLine line{};
  transport::write_commit(line, cell);
  for_each(targets & attached_, [&](ReplicaId id) {
    Peer& peer = *peer_of(id);
    Outgoing& out = peer.out;
    // It is told again where it matters: what has no room is dropped.
    if (out.fenced || !has_room(out)) return;
    // Now and then one that is answered, or the queue would fill up with those that are not.
    const bool signalled = out.loose >= options_.queue_depth / 4;
    if (signalled) ++out.number;
    Work work{Work::Kind::write,
              true,
              signalled,
              offsetof(CommitLine, reserved),
              reinterpret_cast<uint64_t>(&line),
              0,
              out.grant.slot.at + offsetof(Slot, commit),
              out.grant.slot.key,
              work_id(id, out.epoch, out.number)};
    if (!submit(peer, {&work, 1})) return;
    ++out.loose;
    if (!signalled) return;
    peer.fetched->granted[out.number % kBatchesMax] = out.generation;
    close_batch(out, out.posted);
  });
}

void VerbsEndpoint::lose(Outgoing& out, ibv_wc_status status) {
  if (out.fenced) return;
  out.fenced = true;
  out.pair.stop();
  switch (status) {
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR: ++counts_.revoked; return;
    case IBV_WC_RETRY_EXC_ERR: ++counts_.unreachable; return;
    default: ++counts_.broken; return;
  }
}

void VerbsEndpoint::reap(Peer& peer, const ibv_wc& wc) {
  Outgoing& out = peer.out;
  if (epoch_of_work(wc.wr_id) != out.epoch) return;
  if (wc.status != IBV_WC_SUCCESS) {
    if (wc.status == IBV_WC_RETRY_EXC_ERR) device_->paths().forget(peer.theirs.address);
    return lose(out, wc.status);
  }
  if (out.fenced) return;
  if ((wc.wr_id & kReceived) != 0) return take_answer(peer, wc);
  // In order: it speaks for all before it.
  const uint32_t number = number_of_work(wc.wr_id);
  while (out.count > 0) {
    const Batch& batch = out.batches[out.first];
    if (static_cast<int32_t>(number - batch.number) < 0) break;
    out.first = (out.first + 1) % kBatchesMax;
    --out.count;
    out.in_flight -= batch.works;
    if (peer.fetched->granted[batch.number % kBatchesMax] != out.generation) {
      return lose(out, IBV_WC_REM_ACCESS_ERR);
    }
    out.done = batch.end;
  }
  out.settle_answers();
}

void VerbsEndpoint::reap() {
  std::array<ibv_wc, 32> done;
  int n = 0;
  do {
    n = ::ibv_poll_cq(sent_.get(), static_cast<int>(done.size()), done.data());
    for (int i = 0; i < n; ++i) {
      const ibv_wc& wc = done[static_cast<size_t>(i)];
      if (Peer* const peer = peer_of(peer_of_work(wc.wr_id))) reap(*peer, wc);
    }
  } while (n == static_cast<int>(done.size()));
  if (n < 0) for_each(attached_, [&](ReplicaId id) { lose(peer_of(id)->out, IBV_WC_FATAL_ERR); });
}

size_t VerbsEndpoint::poll(std::span<Completion> out) {
  fence_stores();
  reap();  // also what detached connections have left, or they would leave no room
  if (!attached_.empty()) reap_reads();
  size_t n = 0;
  for_each(attached_, [&](ReplicaId id) {
    if (n == out.size()) return;
    Outgoing& to = peer_of(id)->out;
    // What had been written to a page that is gone was sent from the zeros that stand for it (R44).
    if (to.fenced || region_.poisoned()) [[unlikely]] {
      out[n++] = {id, Code::fenced, Offset{to.reported}, Offset{to.reported_persisted}};
      detach(id);
      return;
    }
    post(*peer_of(id));
    look_after_answers(*peer_of(id));
    const uint64_t persisted = to.persisted();
    if (to.done == to.reported && persisted == to.reported_persisted) return;
    to.reported = to.done;
    to.reported_persisted = persisted;
    out[n++] = {id, Code::ok, Offset{to.reported}, Offset{persisted}};
  });
  if (own_unreported_ && n < out.size() && !region_.poisoned()) {
    own_unreported_ = false;
    out[n++] = {options_.self, Code::ok, Offset{own_handed_}, Offset{own_handed_}};
  }
  return n;
}

}  // namespace caisson::transport::verbs
