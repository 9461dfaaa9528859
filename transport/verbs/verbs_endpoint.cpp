// SPDX-License-Identifier: BSD-3-Clause
// Making an endpoint, getting acquainted, and everything as target.
#include "transport/verbs/verbs_endpoint.hpp"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/verbs/reading.hpp"
#include "transport/verbs/verbs_endpoint_impl.hpp"

namespace caisson::transport::verbs {

namespace {

constexpr uint32_t kInlineBytes = 64;  // cells
constexpr uint32_t kInlineMost = 256;  // a small entry alone; more costs room in the send queue
constexpr uint64_t kLoopPatience_ns = 1'000'000'000;

}  // namespace

// Two halves that are each other's other one.
struct VerbsEndpoint::Loop {
  Owned<ibv_pd> domain;
  Owned<ibv_mr> ring;
  Owned<ibv_mr> own;
  uint64_t word = 0;
  QueuePair from;
  QueuePair to;
  bool done = false;
  bool failed = false;
};

VerbsEndpoint::VerbsEndpoint(pmem::FileRegion& region, const VerbsOptions& options)
    : region_(region),
      options_(options),
      device_(options.device),
      kernels_(region.kernels()),
      own_ring_(region.ring_data()),
      ring_bytes_(region.geometry().ring_bytes),
      life_(random_word()),
      memory_(std::make_unique<Private>()),
      // Never one that an earlier life has given: random above, counted below.
      generation_(random_word() >> 1 & ~uint64_t{0xffffffff}),
      claims_(region) {}

VerbsEndpoint::~VerbsEndpoint() {
  (void)close();
  claims_.revoke();
}

Code VerbsEndpoint::close() {
  Code result = close_grant();
  if (result == Code::ok) writer_ = ReplicaId{};
  for (const auto& peer : peers_) {
    if (peer == nullptr) continue;
    attached_.remove(peer->id);
    for (QueuePair* const half : {&peer->read, &peer->out.pair}) {
      if (half->get() == nullptr) continue;
      if (half->close() != Code::ok) result = Code::io;
      *half = QueuePair{};
    }
  }
  return result;
}

Result<std::unique_ptr<VerbsEndpoint>> VerbsEndpoint::create(pmem::FileRegion& region,
                                                             const VerbsOptions& options) {
  std::unique_ptr<VerbsEndpoint> endpoint(new VerbsEndpoint(region, options));
  if (auto opened = endpoint->open(); !opened) return tl::unexpected(opened.error());
  return endpoint;
}

Result<void> VerbsEndpoint::open() {
  const Limits& limits = device_->limits();
  if (limits.queue_depth < options_.queue_depth ||
      limits.message_bytes < options_.batch_bytes_max) {
    return fail(Code::invalid, device_->name() + " takes " + std::to_string(limits.queue_depth) +
                                   " work requests of " + std::to_string(limits.message_bytes) +
                                   " bytes: lower verbs.queue_depth or verbs.batch_bytes");
  }
  const Ground ground{limits.flush, region_.persistence(), options_.past_caches};
  const auto method = choose_method(ground, options_.method, device_->name(), region_.path());
  if (!method) return tl::unexpected(method.error());
  set_method(*method);
  if (method_ == Method::flush && !options_.method && !registers()) {
    set_method(without_flush(ground));
  }
  if (auto queues = open_queues(); !queues) return queues;
  if (auto loop = open_loop(); !loop) return loop;
  Result<void> opened;
  for_each(options_.peers - just(options_.self), [&](ReplicaId id) {
    if (!opened) return;
    peers_[id.value] = std::make_unique<Peer>(id, life_);
    opened = open_peer(*peers_[id.value]);
  });
  return opened;
}

void VerbsEndpoint::set_method(Method method) {
  method_ = method;
  writer_access_ = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
#ifdef CAISSON_HAVE_RDMA_FLUSH
  if (method_ == Method::flush) {
    writer_access_ |= IBV_ACCESS_FLUSH_PERSISTENT | IBV_ACCESS_FLUSH_GLOBAL;
  }
#endif
  ring_access_ = writer_access_ | unsigned{IBV_ACCESS_LOCAL_WRITE};
}

// The ring, for what the method asks: it may lie on what only the adapter's driver can tell.
bool VerbsEndpoint::registers() const {
  const Owned<ibv_pd> domain(::ibv_alloc_pd(device_->context()));
  return domain && device_->register_memory(domain.get(), own_ring_, ring_bytes_, ring_access_,
                                            region_.path());
}

Result<void> VerbsEndpoint::open_queues() {
  const auto peers = static_cast<uint32_t>(options_.peers.count()) + 1;
  const auto queue = [&](uint32_t entries) {
    return Owned<ibv_cq>(
        ::ibv_create_cq(device_->context(), static_cast<int>(entries), nullptr, nullptr, 0));
  };
  // Every work request, where all of them fail.
  sent_ = queue(peers * (options_.queue_depth + kBatchesMax));
  fetched_ = queue(2 * peers * kReadDepth);
  served_ = queue(2 * kBatchesMax);
  if (sent_ && fetched_ && served_) return {};
  return fail(Code::no_space,
              device_->name() + " gives no completion queues: " + std::strerror(errno));
}

Result<void> VerbsEndpoint::open_loop() {
  loop_.reset();  // the adapter may have room for one only
  auto made = std::make_unique<Loop>();
  Loop& loop = *made;
  loop.domain.reset(::ibv_alloc_pd(device_->context()));
  if (!loop.domain) return fail(Code::no_space, device_->name() + " gives no protection domain");
  auto ring =
      device_->register_memory(loop.domain.get(), own_ring_, ring_bytes_,
                               IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ, region_.path());
  if (!ring) return tl::unexpected(ring.error());
  loop.ring = std::move(*ring);
  auto own = device_->register_memory(loop.domain.get(), &loop.word, sizeof loop.word,
                                      IBV_ACCESS_LOCAL_WRITE, "memory");
  if (!own) return tl::unexpected(own.error());
  loop.own = std::move(*own);
  const QueuePair::Options each{kReadDepth, 0, false, options_.patience};
  for (QueuePair* half : {&loop.from, &loop.to}) {
    auto pair = QueuePair::create(*device_, loop.domain.get(), fetched_.get(), each);
    if (!pair) return tl::unexpected(pair.error());
    *half = std::move(*pair);
  }
  const auto tied = [&](QueuePair& half, const QueuePair& other, unsigned access) {
    const Code code = half.listen({device_->address(), other.number()}, 0, access);
    return code == Code::ok ? half.speak(0) : code;
  };
  if (tied(loop.to, loop.from, IBV_ACCESS_REMOTE_READ) != Code::ok ||
      tied(loop.from, loop.to, 0) != Code::ok) {
    return fail(Code::io, device_->name() + " cannot be connected with itself");
  }
  loop_ = std::move(made);
  if (read_back() != Code::ok) {
    return fail(Code::io, device_->name() +
                              " does not reach itself: look after the address of its "
                              "network interface, and the firewall (UDP port 4791)");
  }
  return {};
}

Result<void> VerbsEndpoint::open_peer(Peer& peer) {
  peer.domain.reset(::ibv_alloc_pd(device_->context()));
  if (!peer.domain) return fail(Code::no_space, device_->name() + " gives no protection domain");
  ibv_pd* const domain = peer.domain.get();
  auto ring =
      device_->register_memory(domain, own_ring_, ring_bytes_, ring_access_, region_.path());
  if (!ring) return tl::unexpected(ring.error());
  peer.ring = std::move(*ring);
  auto told = device_->register_memory(domain, &memory_->told, sizeof(Told), IBV_ACCESS_REMOTE_READ,
                                       "memory");
  if (!told) return tl::unexpected(told.error());
  peer.told = std::move(*told);
  auto slot = device_->register_memory(domain, &memory_->slots[peer.id.value], sizeof(Slot),
                                       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, "memory");
  if (!slot) return tl::unexpected(slot.error());
  peer.slot = std::move(*slot);
  auto own = device_->register_memory(domain, peer.fetched.get(), sizeof *peer.fetched,
                                      IBV_ACCESS_LOCAL_WRITE, "memory");
  if (!own) return tl::unexpected(own.error());
  peer.own = std::move(*own);

  const bool flushes = device_->limits().flush;
  auto out = QueuePair::create(
      *device_, domain, sent_.get(),
      {options_.queue_depth, kInlineBytes, flushes, options_.patience, kBatchesMax, kInlineMost});
  if (!out) return tl::unexpected(out.error());
  peer.out.pair = std::move(*out);
  auto read = QueuePair::create(*device_, domain, fetched_.get(),
                                {kReadDepth, 0, false, options_.patience});
  if (!read) return tl::unexpected(read.error());
  peer.read = std::move(*read);
  return {};
}

// ---- Getting acquainted -------------------------------------------------------------------------

std::vector<std::byte> VerbsEndpoint::introduction(ReplicaId id, uint64_t now) {
  Peer* const peer = peer_of(id);
  if (peer == nullptr || !peer->handshake.due(now)) return {};
  Introduction ours;
  ours.acquaintance = peer->handshake.say(now);
  ours.address = device_->address();
  ours.read_pair = peer->read.number();
  ours.write_pair = peer->out.pair.number();
  ours.ring = {reinterpret_cast<uint64_t>(own_ring_), peer->ring->rkey};
  ours.ring_bytes = ring_bytes_;
  ours.told = {reinterpret_cast<uint64_t>(&memory_->told), peer->told->rkey};
  ours.flushes = device_->limits().flush;
  return encode(ours);
}

Code VerbsEndpoint::meet(ReplicaId id, std::span<const std::byte> introduction) {
  Peer* const peer = peer_of(id);
  if (peer == nullptr) return Code::not_found;
  const auto theirs = decode_introduction(introduction);
  if (!theirs) return theirs.error().code;
  if (theirs->ring_bytes != ring_bytes_) return Code::invalid;
  switch (peer->handshake.hear(theirs->acquaintance)) {
    case Handshake::Step::nothing: return Code::ok;
    case Handshake::Step::connect: return connect(*peer);
    case Handshake::Step::forget: break;
  }
  // What an endpoint says of itself stays the same for its life.
  peer->theirs = *theirs;
  peer->cell = {};
  peer->waited_under_way = peer->cell_under_way = false;
  return Code::ok;
}

Code VerbsEndpoint::connect(Peer& peer) {
  const Code code = connect_for_reading(*device_, peer.read, peer.handshake, peer.theirs, life_);
  if (code == Code::again) return Code::ok;
  if (code != Code::ok) return code;
  // What was under way is gone with the connection.
  peer.waited_under_way = peer.cell_under_way = false;
  ++counts_.sessions;
  return Code::ok;
}

// ---- As target ----------------------------------------------------------------------------------

// What came in before is in memory when it returns. A loop that failed once, because its port was
// down or this process stood still, is made anew.
Code VerbsEndpoint::flush_adapter() {
  if (loop_ != nullptr && !loop_->failed) return read_back();
  const auto opened = open_loop();
  return opened ? Code::ok : Code::io;
}

// A read is not overtaken by what came in before it.
Code VerbsEndpoint::read_back() {
  Loop& loop = *loop_;
  ibv_sge piece{reinterpret_cast<uint64_t>(&loop.word), sizeof loop.word, loop.own->lkey};
  ibv_send_wr request{};
  request.wr_id = work_id(options_.self, 0, ++loop_number_);
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_READ;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(own_ring_);
  request.wr.rdma.rkey = loop.ring->rkey;
  ibv_send_wr* bad = nullptr;
  loop.done = false;
  loop.failed = ::ibv_post_send(loop.from.get(), &request, &bad) != 0;
  const uint64_t until_ns = now_ns() + kLoopPatience_ns;
  while (!loop.done && !loop.failed) {
    const bool late = now_ns() > until_ns;  // asked before the last look
    reap_reads();
    loop.failed = loop.failed || (late && !loop.done);
  }
  return loop.failed ? Code::io : Code::ok;
}

void VerbsEndpoint::loop_done(const ibv_wc& wc) const {
  // Of a loop that was made anew since.
  if (loop_ == nullptr || number_of_work(wc.wr_id) != loop_number_) return;
  (wc.status == IBV_WC_SUCCESS ? loop_->done : loop_->failed) = true;
}

Code VerbsEndpoint::close_grant() {
  store_word(memory_->told.granted, 0);
  if (writer_ == ReplicaId{}) return Code::ok;
  QueuePair& in = peer_of(writer_)->in;
  if (in.get() == nullptr) return Code::ok;  // what came behind this failed
  // First its rights: whoever is writing is told so at once. That this fails is no harm, the half
  // itself is closed next.
  (void)in.refuse();
  if (const Code code = in.close(); code != Code::ok) return code;
  in = QueuePair{};
  end_service();
  return Code::ok;
}

// What may not be persistent yet lies in the window that the writer told.
void VerbsEndpoint::persist_what_was_written() {
  uint64_t generation = 0;
  Offset low, high;
  const WindowCell& cell = memory_->slots[writer_.value].window;
  const bool all =
      !revoked_once_ || !window(cell, generation, low, high) || high - low >= ring_bytes_;
  if (all) {
    region_.persist_ring(Offset{0}, ring_bytes_);
    revoked_once_ = true;
  } else if (generation == generation_) {
    region_.persist_ring(low, high - low);
  }
}

Code VerbsEndpoint::revoke_all() {
  // A seal binds the sealed node, too (P1).
  for_each(attached_, [&](ReplicaId id) { detach(id); });
  fence_stores();
  own_unreported_ = false;  // of a term that is over: nobody may count it in a later one
  claims_.revoke();
  if (claims_.stuck()) return Code::io;

  if (const Code code = close_grant(); code != Code::ok) return code;
  if (const Code code = flush_adapter(); code != Code::ok) return code;
  if (writer_ != ReplicaId{} || !revoked_once_) persist_what_was_written();
  writer_ = ReplicaId{};
  return Code::ok;
}

Result<Grant> VerbsEndpoint::grant(ReplicaId writer, Term term) {
  Peer* const peer = peer_of(writer);
  if (peer == nullptr) return fail(Code::invalid, "a grant needs another replica to write");
  if (writer_ != ReplicaId{}) {
    return fail(Code::internal, "a grant is open; it has to be revoked first (P4)");
  }
  if (!peer->handshake.is_connected()) {
    return fail(Code::not_yet,
                "replica " + std::to_string(writer.value) +
                    " and this one have not introduced themselves to each other yet");
  }
  if (device_->paths().find(peer->theirs.address) != Code::ok) {
    return fail(Code::not_yet, "the adapter of replica " + std::to_string(writer.value) +
                                   " has to be looked for first");
  }
  ++generation_;
  // A half of its own for each grant: what is still on the wire for an earlier one meets nobody.
  auto in =
      QueuePair::create(*device_, peer->domain.get(), served_.get(),
                        {kBatchesMax, sizeof(Flushed), false, options_.patience, kBatchesMax});
  if (!in) return tl::unexpected(in.error());
  const Method method = method_toward(method_, peer->theirs.flushes, options_.past_caches);
  const auto psn = static_cast<uint32_t>(random_word()) & kPsnMask;
  const Remote remote{peer->theirs.address, peer->theirs.write_pair};
  Code code = in->listen(remote, psn, writer_access_);
  const bool serves = method == Method::target_flush;
  for (uint32_t i = 0; serves && code == Code::ok && i < kBatchesMax; ++i) {
    if (!await_batch(*in)) code = Code::io;
  }
  if (code == Code::ok) code = in->speak(0);  // only so can its rights be taken back alone
  if (code != Code::ok) {
    return fail(code,
                device_->name() + " cannot listen to replica " + std::to_string(writer.value));
  }
  peer->in = std::move(*in);
  // It has written nothing until it says where.
  memory_->slots[writer.value] = {{}, window_cell(generation_, Offset{0}, Offset{0})};
  VerbsGrant blob;
  blob.life = life_;
  blob.to_life = peer->handshake.peer_life();
  blob.pair = peer->in.number();
  blob.psn = psn;
  blob.slot = {reinterpret_cast<uint64_t>(&memory_->slots[writer.value]), peer->slot->rkey};
  blob.method = method;
  Grant grant;
  grant.term = term;
  grant.generation = generation_;
  grant.blob = encode(blob);
  writer_ = writer;
  service_ = {};
  service_.needed = serves;
  store_word(memory_->told.granted, grant.generation);
  return grant;
}

void VerbsEndpoint::publish(const TargetCell& cell) { verbs::publish(memory_->told, cell); }

void VerbsEndpoint::publish_promise(Term promised, uint64_t birth) {
  verbs::publish(memory_->told, promised, birth);
  pmem::full_fence();  // before whatever answers the seal, as a one-sided reader sees it (P19)
}

CommitCell VerbsEndpoint::commit_cell(ReplicaId writer) const {
  if (writer.value > kReplicaIdMax) return {};
  return read_commit(memory_->slots[writer.value].commit);
}

}  // namespace caisson::transport::verbs
