// SPDX-License-Identifier: BSD-3-Clause
// Definitions of BasicShmEndpoint: for shm_endpoint.cpp, and for tests that bring a probe of their
// own.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>
#include <vector>

#include "transport/shm/asymmetric_fence.hpp"
#include "transport/shm/cells.hpp"
#include "transport/shm/endpoint_support.hpp"
#include "transport/shm/shm_endpoint.hpp"

namespace caisson::transport::shm {

template <class Probe>
BasicShmEndpoint<Probe>::BasicShmEndpoint(pmem::FileRegion& region, const ShmOptions& options,
                                          Probe probe)
    : region_(region),
      self_(options.self),
      kernels_(region.kernels()),
      own_ring_(region.ring_data()),
      ring_mask_(region.geometry().ring_bytes - 1),
      segment_bytes_(region.geometry().segment_bytes),
      probe_(probe),
      registered_(register_light_half()),
      one_thread_(options.one_thread),
      process_(pmem::this_process()),
      claims_(region) {
  prepare_control(own_control());
  for (const auto& [id, path] : options.peers) {
    if (id != self_) peers_[id.value].path = path;
  }
}

template <class Probe>
BasicShmEndpoint<Probe>::~BasicShmEndpoint() {
  fence_stores();
  revoke_claims();
}

// ---- Initiator: the steady state ----------------------------------------------------------------

template <class Probe>
void BasicShmEndpoint<Probe>::place(ReplicaSet targets, bool own, uint64_t at,
                                    const std::byte* from, size_t n) {
  const uint64_t ring_at = at & ring_mask_;
  std::byte* to[kWriters];
  to[0] = own_ring_ + ring_at;
  size_t count = own ? 1 : 0;
  bool allowed = true;
  for (uint64_t bits = targets.bits & live_.bits; bits != 0; bits &= bits - 1) {
    const Target& target = targets_[static_cast<size_t>(__builtin_ctzll(bits))];
    allowed = allowed && at >= target.low && at + n <= target.high;
    to[count++] = target.ring + ring_at;
  }
  if (!allowed) [[unlikely]]
    return place_with_allowances(targets, own, at, from, n);
  probe_.at(ProbePoint::before_store);
  kernels_.fan_copy(to, count, from, n);
  stored_ = true;
}

template <class Probe>
void BasicShmEndpoint<Probe>::place_with_allowances(ReplicaSet targets, bool own, uint64_t at,
                                                    const std::byte* from, size_t n) {
  while (n > 0) {
    const uint64_t segment_left = segment_bytes_ - at % segment_bytes_;
    const size_t piece = std::min<uint64_t>(n, segment_left);
    for (uint64_t bits = targets.bits & live_.bits; bits != 0; bits &= bits - 1) {
      const auto id = static_cast<uint8_t>(__builtin_ctzll(bits));
      Target& target = targets_[id];
      if (at >= target.low && at + piece <= target.high) continue;
      if (!publish_allowance(target, at)) live_.remove(ReplicaId{id});
    }
    place(targets, own, at, from, piece);
    at += piece;
    from += piece;
    n -= piece;
  }
}

template <class Probe>
bool BasicShmEndpoint<Probe>::publish_allowance(Target& target, uint64_t at) {
  if (load_word(*target.grant_word) != target.generation) return false;
  // What was stored under the old allowance must be in memory before that allowance is given up:
  // nobody would move it away any more.
  fence_stores();
  probe_.at(ProbePoint::before_allowance);
  const Allowance allowance{static_cast<uint32_t>((at & ring_mask_) / segment_bytes_), 1};
  // First the thread: whoever finds the allowance finds who made it, or a later one.
  store_word(target.line->thread, storing_thread());
  store_word(target.line->allowance, allowance.pack());
  if (light_fences_) {
    pmem::light_fence();
  } else {
    pmem::full_fence();
  }
  probe_.at(ProbePoint::after_allowance);
  if (load_word(*target.grant_word) != target.generation) return false;
  target.low = at - at % segment_bytes_;
  target.high = target.low + segment_bytes_;
  return true;
}

template <class Probe>
uint64_t BasicShmEndpoint<Probe>::storing_thread() {
  if (one_thread_ && storing_thread_ == 0) {
    storing_thread_ =
        StoringThread{static_cast<uint32_t>(::getpid()), static_cast<uint32_t>(::gettid())}.pack();
  }
  return storing_thread_;
}

// Orders every store so far before what this process loads or counts next, as a revoker sees it
// (H7).
template <class Probe>
void BasicShmEndpoint<Probe>::fence_stores() {
  if (!stored_) return;
  probe_.at(ProbePoint::before_fence);
  pmem::store_fence();
  if (light_fences_) {
    pmem::light_fence();
  } else {
    pmem::full_fence();
  }
  stored_ = false;
}

template <class Probe>
void BasicShmEndpoint<Probe>::fan_out(ReplicaSet targets, Offset at, const void* source, size_t n) {
  place(targets, true, at.value, static_cast<const std::byte*>(source), n);
}

template <class Probe>
void BasicShmEndpoint<Probe>::fan_out_own(ReplicaSet targets, Offset at, size_t n) {
  const std::byte* own = own_ring_ + (at.value & ring_mask_);
  kernels_.flush_lines(own, n);
  place(targets, false, at.value, own, n);
}

template <class Probe>
void BasicShmEndpoint<Probe>::write(ReplicaId target, Offset at, size_t n) {
  ReplicaSet one;
  one.add(target);
  place(one, false, at.value, own_ring_ + (at.value & ring_mask_), n);
}

template <class Probe>
void BasicShmEndpoint<Probe>::complete_through(ReplicaSet targets, bool own, Offset end) {
  if (own) {
    own_handed_ = end.value;
    own_unreported_ = true;
  }
  for (uint64_t bits = targets.bits & live_.bits; bits != 0; bits &= bits - 1) {
    targets_[static_cast<size_t>(__builtin_ctzll(bits))].handed = end.value;
  }
}

template <class Probe>
size_t BasicShmEndpoint<Probe>::poll(std::span<Completion> out) {
  fence_stores();
  probe_.at(ProbePoint::before_mark);
  size_t n = 0;
  for (uint64_t bits = attached_.bits; bits != 0 && n < out.size(); bits &= bits - 1) {
    const ReplicaId id{static_cast<uint8_t>(__builtin_ctzll(bits))};
    Target& target = targets_[id.value];
    // What was stored to a page that is gone lies in this process alone (R44).
    if (load_word(*target.grant_word) != target.generation || peers_[id.value].mapping->poisoned())
        [[unlikely]] {
      out[n++] = {id, Code::fenced, Offset{target.reported}, Offset{target.reported}};
      detach(id);
      continue;
    }
    if (target.handed == target.reported) continue;
    probe_.at(ProbePoint::before_count);
    target.reported = target.handed;
    out[n++] = {id, Code::ok, Offset{target.reported}, Offset{target.reported}};
  }
  if (own_unreported_ && n < out.size() && !region_.poisoned()) {
    own_unreported_ = false;
    out[n++] = {self_, Code::ok, Offset{own_handed_}, Offset{own_handed_}};
  }
  return n;
}

// ---- Initiator: everything else -----------------------------------------------------------------

template <class Probe>
auto BasicShmEndpoint<Probe>::mapped_peer(ReplicaId target) const -> Peer* {
  if (target.value > kReplicaIdMax || !peers_[target.value].mapping) return nullptr;
  return &peers_[target.value];
}

template <class Probe>
Result<void> BasicShmEndpoint<Probe>::open_peer(Peer& peer) {
  auto mapping = pmem::PeerMapping::open(peer.path, region_.persistence());
  if (!mapping) return tl::unexpected(mapping.error());
  const pmem::Geometry& theirs = (*mapping)->geometry();
  const pmem::Geometry& ours = region_.geometry();
  if (theirs.ring_bytes != ours.ring_bytes || theirs.segment_bytes != ours.segment_bytes) {
    return fail(Code::invalid, "region " + peer.path +
                                   " has another ring or segment size than this replica's: "
                                   "replicas of one log need equal geometries");
  }
  peer.mapping = std::move(*mapping);
  WriterLine& line = control_of(peer.mapping->control()).writers[self_.value].line;
  store_word(line.thread, 0);  // our predecessor's; before our name stands beside it
  write_process(line.process, process_);
  // Before we look at any grant: whoever ends one knows us, or we see it ended (writer_gone).
  pmem::full_fence();
  store_word(line.drained_through, peer.mapping->manifest_generation());
  return {};
}

// Follows what a peer has re-homed, and says so: what had been stored to the orphans is in memory,
// and nothing more will be.
template <class Probe>
Code BasicShmEndpoint<Probe>::follow(ReplicaId target) {
  Peer& peer = peers_[target.value];
  fence_stores();
  // The allowance was for the segments as mapped so far: before the next store it is published, and
  // the grant looked at, again. A revoked writer must not store to what a new one was let into.
  targets_[target.value].low = targets_[target.value].high = 0;
  if (const Code code = peer.mapping->refresh(); code != Code::ok) {
    live_.remove(target);
    return code;
  }
  WriterLine& line = control_of(peer.mapping->control()).writers[self_.value].line;
  store_word(line.drained_through, peer.mapping->manifest_generation());
  return Code::ok;
}

template <class Probe>
Result<void> BasicShmEndpoint<Probe>::warm(ReplicaId target) {
  if (target.value > kReplicaIdMax || peers_[target.value].path.empty()) {
    return fail(Code::not_found, "replica " + std::to_string(target.value) +
                                     " has no region path: add it to the configuration");
  }
  Peer& peer = peers_[target.value];
  if (!peer.mapping) {
    if (auto opened = open_peer(peer); !opened) return opened;
  }
  Code code = follow(target);
  if (code == Code::ok) code = peer.mapping->warm();
  if (code == Code::ok || code == Code::again) return {};
  return fail(code, "cannot follow the region " + peer.path + " of replica " +
                        std::to_string(target.value) + ": free memory, or raise vm.max_map_count");
}

template <class Probe>
Code BasicShmEndpoint<Probe>::attach(ReplicaId target, const Grant& grant, Offset from) {
  detach(target);
  const auto blob = decode_grant_blob(grant.blob);
  if (!blob) return blob.error().code;
  if (target.value > kReplicaIdMax || peers_[target.value].path.empty()) return Code::not_found;
  Peer& peer = peers_[target.value];
  // Another number: the file was made anew under the old name.
  if (peer.mapping && peer.mapping->uuid() != blob->uuid) peer.mapping.reset();
  if (!peer.mapping) {
    if (auto opened = open_peer(peer); !opened) return opened.error().code;
  }
  if (peer.mapping->uuid() != blob->uuid) return Code::wrong_cluster;
  if (peer.mapping->poisoned()) return Code::damaged;
  Control& control = control_of(peer.mapping->control());
  if (load_word(control.header.magic) != kControlMagic) return Code::unsupported;
  if (const Code code = follow(target); code != Code::ok) return code;
  if (peer.mapping->manifest_generation() < blob->manifest_generation) return Code::again;

  Target& slot = targets_[target.value];
  slot = Target{};
  slot.ring = peer.mapping->ring_data();
  slot.grant_word = &control.grant.open;
  slot.generation = grant.generation;
  slot.handed = slot.reported = from.value;
  slot.line = &control.writers[self_.value].line;
  light_fences_ = registered_ && load_word(control.header.revoker_fences) != 0 &&
                  (attached_.bits == 0 || light_fences_);
  attached_.add(target);
  live_.add(target);
  return Code::ok;
}

template <class Probe>
void BasicShmEndpoint<Probe>::detach(ReplicaId target) {
  attached_.remove(target);
  live_.remove(target);
}

template <class Probe>
bool BasicShmEndpoint<Probe>::read(ReplicaId target, Offset at, void* destination, size_t n) {
  Peer* peer = mapped_peer(target);
  if (peer == nullptr) return false;
  if (peer->mapping->owner_generation() != peer->mapping->manifest_generation() &&
      follow(target) != Code::ok) {
    return false;
  }
  std::memcpy(destination, peer->mapping->ring_data() + (at.value & ring_mask_), n);
  return !peer->mapping->poisoned();
}

template <class Probe>
TargetCell BasicShmEndpoint<Probe>::target_cell(ReplicaId target) const {
  Peer* peer = mapped_peer(target);
  if (peer == nullptr) return {};
  peer->last_cell = read_cell(control_of(peer->mapping->control()).published, peer->last_cell);
  return peer->mapping->poisoned() ? TargetCell{} : peer->last_cell;
}

template <class Probe>
Standing BasicShmEndpoint<Probe>::standing_of(ReplicaId target) const {
  const Peer* peer = mapped_peer(target);
  if (peer == nullptr) return {};
  // What was copied out of the ring before stays before.
  std::atomic_thread_fence(std::memory_order_acquire);
  const Control& control = control_of(peer->mapping->control());
  const Term promised{load_word(control.promise.promised)};
  TargetCell never;
  never.head = Offset{UINT64_MAX};  // nothing is published: nothing can be told
  const uint64_t birth = load_word(control.promise.birth);
  const TargetCell cell = read_cell(control.published, never);
  const Standing standing{promised, birth, cell.head, cell.validated, cell.fault};
  return peer->mapping->poisoned() ? Standing{} : standing;
}

template <class Probe>
void BasicShmEndpoint<Probe>::write_commit_cell(ReplicaSet targets, const CommitCell& cell) {
  for (uint64_t bits = targets.bits & live_.bits; bits != 0; bits &= bits - 1) {
    const auto id = static_cast<uint8_t>(__builtin_ctzll(bits));
    if (load_word(*targets_[id].grant_word) != targets_[id].generation) continue;
    write_commit(control_of(peers_[id].mapping->control()).writers[self_.value].commit, cell);
  }
}

// ---- Target -------------------------------------------------------------------------------------

template <class Probe>
Code BasicShmEndpoint<Probe>::revoke_all() {
  // A seal binds the sealed node, too (P1).
  fence_stores();
  attached_ = live_ = ReplicaSet{};
  own_unreported_ = false;  // of a term that is over: nobody may count it in a later one
  revoke_claims();
  if (claims_.stuck()) return Code::io;

  Control& control = own_control();
  store_word(control.grant.open, 0);
  pmem::full_fence();
  // Writers that were told to rely on our half have no fence of their own.
  if (!granted_writer_gone() && !heavy_half() && load_word(control.header.revoker_fences) != 0)
    return Code::io;
  if (const Code code = rehome_allowances(); code != Code::ok) return code;
  if (!revoked_once_) {
    // Whoever ran this replica before us may have died between a store and its write-back.
    region_.persist_ring(Offset{0}, region_.geometry().ring_bytes);
    revoked_once_ = true;
  }
  for (auto& writer : control.writers) store_word(writer.line.allowance, 0);
  return Code::ok;
}

template <class Probe>
bool BasicShmEndpoint<Probe>::writer_gone(size_t writer,
                                          const pmem::ProcessIdentity& process) const {
  const auto thread = StoringThread::unpack(load_word(own_control().writers[writer].line.thread));
  const bool told = thread.process == process.pid;  // else of another process in the same line
  return (told && pmem::thread_gone(process, thread.number, process_)) ||
         watches_[writer].dead(process);
}

// Holders of earlier grants were fenced when those were revoked.
template <class Probe>
bool BasicShmEndpoint<Probe>::granted_writer_gone() const {
  const size_t writer = granted_to_.value;
  return writer != 0 &&
         writer_gone(writer, read_process(own_control().writers[writer].line.process));
}

template <class Probe>
Code BasicShmEndpoint<Probe>::rehome_allowances() {
  SegmentSet segments(region_.geometry());
  std::vector<pmem::ProcessIdentity> writers;
  for (size_t id = 0; id < kWriters; ++id) {
    const WriterLine& line = own_control().writers[id].line;
    const auto allowance = Allowance::unpack(load_word(line.allowance));
    if (allowance.count == 0) continue;
    // Read after the allowance: whoever published that had published its identity before.
    const pmem::ProcessIdentity writer = read_process(line.process);
    if (writer_gone(id, writer)) {
      region_.persist_ring(Offset{allowance.first * segment_bytes_},
                           std::min(allowance.count * segment_bytes_, ring_mask_ + 1));
      continue;
    }
    segments.add(allowance);
    writers.push_back(writer);
  }
  return region_.rehome(segments.list(), writers);
}

template <class Probe>
Result<Grant> BasicShmEndpoint<Probe>::grant(ReplicaId writer, Term term) {
  Control& control = own_control();
  if (writer.value > kReplicaIdMax || writer == self_) {
    return fail(Code::invalid, "a grant needs another replica to write");
  }
  if (load_word(control.grant.open) != 0) {
    return fail(Code::internal, "a grant is open; it has to be revoked first (P4)");
  }
  watch_writer(writer.value);
  Grant grant;
  grant.term = term;
  grant.generation = load_word(control.grant.last) + 1;
  const GrantBlob blob{kControlMagic, region_.uuid(), region_.manifest_generation(),
                       region_.geometry().ring_bytes, segment_bytes_};
  const auto bytes = std::as_bytes(std::span(&blob, 1));
  grant.blob.assign(bytes.begin(), bytes.end());
  granted_to_ = writer;
  store_word(control.grant.last, grant.generation);
  store_word(control.grant.open, grant.generation);
  return grant;
}

template <class Probe>
void BasicShmEndpoint<Probe>::publish(const TargetCell& cell) {
  publish_cell(own_control().published, cell);
}

template <class Probe>
void BasicShmEndpoint<Probe>::publish_promise(Term promised, uint64_t birth) {
  store_word(own_control().promise.birth, birth);
  store_word(own_control().promise.promised, promised.value);
  pmem::full_fence();  // before whatever answers the seal, as a one-sided reader sees it (P19)
}

template <class Probe>
CommitCell BasicShmEndpoint<Probe>::commit_cell(ReplicaId writer) const {
  if (writer.value > kReplicaIdMax) return {};
  return read_commit(own_control().writers[writer.value].commit);
}

template <class Probe>
void BasicShmEndpoint<Probe>::watch_writer(size_t writer) {
  watches_[writer].watch(read_process(own_control().writers[writer].line.process));
}

template <class Probe>
Code BasicShmEndpoint<Probe>::maintain() {
  std::vector<pmem::Drained> drained;
  for (size_t id = 0; id < kWriters; ++id) {
    const WriterLine& line = own_control().writers[id].line;
    const uint64_t through = load_word(line.drained_through);
    const pmem::ProcessIdentity writer = read_process(line.process);
    if (writer.known()) drained.push_back({writer, through});
    watch_writer(id);
  }
  const Code code = region_.maintain(drained);
  for (uint8_t id = 0; id <= kReplicaIdMax; ++id) {
    // A peer that is not there yet is no fault of this replica's.
    if (!peers_[id].path.empty()) (void)warm(ReplicaId{id});
  }
  return code;
}

// ---- Claims -------------------------------------------------------------------------------------

template <class Probe>
std::byte* BasicShmEndpoint<Probe>::claim(Offset at, size_t n) {
  assert(n <= ring_mask_ + 1);
  (void)n;
  return claims_.lend(at);
}

template <class Probe>
void BasicShmEndpoint<Probe>::revoke_claims() {
  claims_.revoke();
}

}  // namespace caisson::transport::shm
