// SPDX-License-Identifier: BSD-3-Clause
// The fabric of RDMA adapters: one-sided writes from our own ring into the rings of the peers, over
// reliable connections whose halves are told over the control plane.
//
// Toward each peer there are three halves. By one of them both sides read: it lets nobody write.
// By another we write to the peer, where its grant says so. The third listens to the peer's writes
// while our grant to it is open, and is closed by a revocation: first its rights, so that the
// writer is told at once, then the half itself, and after that nothing of the old connection
// can reach the ring, whatever the writer or its adapter still has queued (R19). All that a peer
// can use stands in a protection domain of its own, so that no other key or connection of ours
// is of use to it (R41).
//
// Thread: the poller's, for everything. Allocation, system calls and waiting happen only in
// create(), introduction(), meet(), attach(), detach(), revoke_all(), grant(), revoke_claims(), the
// first claim() after that, read() and standing_of(); where the provider enters the kernel to post,
// in every post.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string_view>

#include "pmem/file_region.hpp"
#include "transport/claims.hpp"
#include "transport/fabric.hpp"
#include "transport/verbs/device.hpp"
#include "transport/verbs/method.hpp"
#include "transport/verbs/verbs_format.hpp"

namespace caisson::transport::verbs {

struct VerbsOptions {
  ReplicaId self;
  ReplicaSet peers;
  std::shared_ptr<Device> device;
  uint32_t queue_depth = 256;  // work requests toward one target
  uint64_t batch_bytes_max = uint64_t{1} << 20;
  Patience patience;
  // How long a one-sided read may keep the poller waiting. While a read has not come back, no other
  // one waits for the same peer.
  uint64_t read_patience_ns = 20'000'000;
  // Adapters write to memory past the caches (DDIO is off), so that what left the adapter is in the
  // persistence domain. Said by whoever set the machine up: it cannot be found out.
  bool past_caches = false;
  // How what is written here becomes persistent. Not said: the first way that is possible.
  std::optional<Method> method;
};

// What has happened. Counted by the poller, looked at by anybody.
struct VerbsCounts {
  class Count {
   public:
    void operator++() { value_.store(*this + 1, std::memory_order_relaxed); }
    operator uint64_t() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_{0};
  };
  Count batches;      // of our writes
  Count revoked;      // a target refused us: its grant is over
  Count unreachable;  // it did not answer
  Count broken;       // any other end of a connection for writing
  Count reads_late;
  Count sessions;  // times that a connection for reading was made
  Count flushes;   // for a writer that cannot make persistent itself what it writes
};

class VerbsEndpoint final : public Endpoint {
 public:
  // no_space: memory cannot be pinned, or the adapter has no room · unsupported: its file system
  // does not allow the region to be registered · invalid: see the message.
  static Result<std::unique_ptr<VerbsEndpoint>> create(pmem::FileRegion& region,
                                                       const VerbsOptions& options);
  ~VerbsEndpoint() override;

  // Ends every connection: nobody reaches this replica by it any more, whatever is still on its
  // way, and it reaches nobody. Nothing else may be asked of it then. io: a connection could not be
  // closed, and a peer may still write. Thread: any, once the poller's has ended.
  [[nodiscard]] Code close();

  VerbsEndpoint(const VerbsEndpoint&) = delete;
  VerbsEndpoint& operator=(const VerbsEndpoint&) = delete;

  std::vector<std::byte> introduction(ReplicaId peer, uint64_t now_ns) override;
  Code meet(ReplicaId peer, std::span<const std::byte> introduction) override;

  Code revoke_all() override;
  Result<Grant> grant(ReplicaId writer, Term term) override;
  uint32_t attend() override;
  void publish(const TargetCell& cell) override;
  void publish_promise(Term promised, uint64_t birth) override;
  CommitCell commit_cell(ReplicaId writer) const override;

  Code attach(ReplicaId target, const Grant& grant, Offset from) override;
  void detach(ReplicaId target) override;
  void fan_out(ReplicaSet targets, Offset at, const void* source, size_t n) override;
  void fan_out_own(ReplicaSet targets, Offset at, size_t n) override;
  void write(ReplicaId target, Offset at, size_t n) override;
  void complete_through(ReplicaSet targets, bool own, Offset end) override;
  size_t poll(std::span<Completion> out) override;
  bool read(ReplicaId target, Offset at, void* destination, size_t n) override;
  TargetCell target_cell(ReplicaId target) const override;
  Standing standing_of(ReplicaId target) const override;
  void write_commit_cell(ReplicaSet targets, const CommitCell& cell) override;
  uint64_t window_bytes() const override { return 0; }

  std::byte* claim(Offset at, size_t n) override {
    return n > ring_bytes_ ? nullptr : claims_.lend(at);
  }
  void revoke_claims() override { claims_.revoke(); }

  Method method() const { return method_; }
  std::string_view persists_by() const override { return verbs::name(method_); }
  std::vector<std::pair<std::string_view, uint64_t>> counters() const override;
  const VerbsCounts& counts() const { return counts_; }
  // Both halves for reading are connected.
  bool reachable(ReplicaId peer) const;

 private:
  struct Private;
  struct Peer;
  struct Outgoing;
  struct Work;
  struct Loop;
  // Toward the writer that our grant is given to, if our poller flushes for it.
  struct Service {
    bool needed = false;
    bool begun = false;
    Offset flushed;  // for it; once begun
    bool owed = false;
    uint32_t answers = 0;  // under way
  };

  VerbsEndpoint(pmem::FileRegion& region, const VerbsOptions& options);
  Result<void> open();
  void set_method(Method method);
  bool registers() const;
  Result<void> open_queues();
  Result<void> open_loop();
  Result<void> open_peer(Peer& peer);
  Peer* peer_of(ReplicaId id) const {
    return id.value <= kReplicaIdMax ? peers_[id.value].get() : nullptr;
  }
  [[nodiscard]] Code connect(Peer& peer);

  // Writing.
  void post(Peer& peer);
  bool post_batch(Peer& peer, uint64_t end);
  void fence_stores();
  bool has_room(const Outgoing& out) const;
  [[nodiscard]] bool submit(Peer& peer, std::span<Work> works);
  [[nodiscard]] bool submit_plain(Peer& peer, std::span<Work> works);
  [[nodiscard]] bool submit_flushing(Peer& peer, std::span<Work> works);
  static void close_batch(Outgoing& out, uint64_t end);
  void reap();
  void reap(Peer& peer, const ibv_wc& wc);
  static Work look_at_grant(Peer& peer, uint32_t number);
  void look_after_answers(Peer& peer);
  [[nodiscard]] bool await_answer(Peer& peer, uint32_t slot);
  void take_answer(Peer& peer, const ibv_wc& wc);
  void lose(Outgoing& out, ibv_wc_status status);

  // Reading.
  bool start_read(Peer& peer, const RemoteMemory& from, uint64_t at, uint64_t to, size_t n,
                  bool waited) const;
  bool fetch(Peer& peer, const RemoteMemory& from, uint64_t at, const void* to, size_t n) const;
  void reap_reads() const;
  void loop_done(const ibv_wc& wc) const;

  // Being written to.
  [[nodiscard]] Code close_grant();
  [[nodiscard]] Code flush_adapter();
  [[nodiscard]] Code read_back();
  void persist_what_was_written();
  [[nodiscard]] bool await_batch(QueuePair& in) const;
  bool flush_through(uint32_t mark);
  void end_service();
  [[nodiscard]] bool answer(QueuePair& in);

  pmem::FileRegion& region_;
  const VerbsOptions options_;
  const std::shared_ptr<Device> device_;
  const pmem::Kernels kernels_;
  std::byte* const own_ring_;
  const uint64_t ring_bytes_;
  const uint64_t life_;
  Method method_ = Method::none;
  unsigned ring_access_ = 0;
  unsigned writer_access_ = 0;

  // Our own completions.
  bool stored_ = false;
  uint64_t own_handed_ = 0;
  bool own_unreported_ = false;

  ReplicaSet attached_;
  Owned<ibv_cq> sent_;
  Owned<ibv_cq> fetched_;
  Owned<ibv_cq> served_;  // of the half that our grant's writer is connected to
  std::unique_ptr<Private> memory_;
  std::array<std::unique_ptr<Peer>, kReplicaIdMax + 1> peers_;
  std::unique_ptr<Loop> loop_;  // of the adapter with itself
  uint32_t loop_number_ = 0;    // of its newest read

  ReplicaId writer_;  // whose grant is open; 0: nobody's
  uint64_t generation_;
  Service service_;
  bool revoked_once_ = false;
  Claims claims_;
  mutable VerbsCounts counts_;
};

}  // namespace caisson::transport::verbs
