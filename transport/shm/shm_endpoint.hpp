// SPDX-License-Identifier: BSD-3-Clause
// The shared-memory fabric: plain stores into the mapped region files of processes on the same
// machine. Truly one-sided: a target's processor has no part in an append.
//
// A process cannot be stopped from storing into what it has mapped. So a revocation moves away what
// may still be stored to (P5): each writer first publishes in the target's control cells which
// segment of the ring it is about to store to; the target closes the grant, has all writers'
// processors fenced (asymmetric_fence.hpp), and re-homes the published segments. What a late writer
// stores then, it stores into an orphan; and it counts nothing, because it reads the closed grant
// first (P6, H7). A writer whose storing thread has ended, by the kernel's word, needs neither.
//
// Thread: the poller's, for everything. Allocation, system calls and waiting happen only in the
// constructor, warm(), maintain(), attach(), revoke_all(), grant(), revoke_claims(), in the first
// claim() after those, and in a read() that finds the target's map changed.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "pmem/file_region.hpp"
#include "pmem/peer_mapping.hpp"
#include "pmem/process_watch.hpp"
#include "transport/claims.hpp"
#include "transport/fabric.hpp"
#include "transport/shm/control_format.hpp"

namespace caisson::transport::shm {

// Where a test may hold up a writer. Production passes NoProbe, which compiles to nothing.
enum class ProbePoint : uint8_t {
  before_allowance,  // an allowance is about to be published
  after_allowance,   // … is published, the grant not yet looked at
  before_store,      // bytes are about to be stored
  before_fence,      // stored, not fenced
  before_mark,       // fenced, the grant not yet looked at
  before_count,      // the grant was found open, nothing counted yet
};
struct NoProbe {
  static constexpr void at(ProbePoint) {}
};

struct ShmOptions {
  ReplicaId self;
  std::map<ReplicaId, std::string> peers;  // their region files
  // The thread that first stores to a peer is the only one that ever does: its end, of which the
  // kernel tells long before that of its process, then spares the peer's revocation the copy.
  bool one_thread = false;
};

template <class Probe = NoProbe>
class BasicShmEndpoint final : public Endpoint {
 public:
  // `region` outlives the endpoint. Leaves a grant that an earlier process has given open: it stays
  // valid until revoke_all(), which comes before any answer to a seal (H9).
  BasicShmEndpoint(pmem::FileRegion& region, const ShmOptions& options, Probe probe = {});
  ~BasicShmEndpoint() override;
  BasicShmEndpoint(const BasicShmEndpoint&) = delete;
  BasicShmEndpoint& operator=(const BasicShmEndpoint&) = delete;

  // Maps a peer's region, or follows what it has re-homed, and gets ready for what it may re-home
  // next, so that a failover maps nothing. At start-up, and again until it succeeds: the peer may
  // start later.
  Result<void> warm(ReplicaId target);

  // Housekeeping, when there is nothing better to do and after every revocation: takes back
  // orphaned segments, prepares fresh ones, follows the peers. Code::no_space: the next revocation
  // may fail.
  [[nodiscard]] Code maintain();

  Code revoke_all() override;
  Result<Grant> grant(ReplicaId writer, Term term) override;
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
  uint64_t window_bytes() const override { return segment_bytes_; }

  std::byte* claim(Offset at, size_t n) override;
  void revoke_claims() override;

 private:
  // What an append touches of a target: one cache line.
  struct alignas(64) Target {
    std::byte* ring = nullptr;
    const uint64_t* grant_word = nullptr;
    uint64_t generation = 0;
    uint64_t low = 0;  // stores within [low, high) need no new allowance
    uint64_t high = 0;
    uint64_t handed = 0;
    uint64_t reported = 0;
    WriterLine* line = nullptr;
  };
  static_assert(sizeof(Target) == 64);

  struct Peer {
    std::string path;
    std::unique_ptr<pmem::PeerMapping> mapping;
    TargetCell last_cell;  // what target_cell() last saw whole
  };

  static Control& control_of(std::span<std::byte> bytes) {
    return *reinterpret_cast<Control*>(bytes.data());
  }
  Control& own_control() const { return control_of(region_.control()); }
  Peer* mapped_peer(ReplicaId target) const;
  Result<void> open_peer(Peer& peer);
  [[nodiscard]] Code follow(ReplicaId target);

  // Places [at, at + n) in every target's ring, and in our own if `own`.
  void place(ReplicaSet targets, bool own, uint64_t at, const std::byte* from, size_t n);
  // The same, allowances first, segment by segment. Targets that turn out fenced are left out.
  void place_with_allowances(ReplicaSet targets, bool own, uint64_t at, const std::byte* from,
                             size_t n);
  bool publish_allowance(Target& target, uint64_t at);
  uint64_t storing_thread();
  void fence_stores();

  // The kernel's word that whoever stored as `writer` stores no more.
  bool writer_gone(size_t writer, const pmem::ProcessIdentity& process) const;
  bool granted_writer_gone() const;
  [[nodiscard]] Code rehome_allowances();
  void watch_writer(size_t writer);

  pmem::FileRegion& region_;
  const ReplicaId self_;
  const pmem::Kernels kernels_;
  std::byte* const own_ring_;
  const uint64_t ring_mask_;
  const uint64_t segment_bytes_;
  [[no_unique_address]] Probe probe_;

  ReplicaSet attached_;        // poll() reports on these
  ReplicaSet live_;            // of them, those not known to be fenced
  bool stored_ = false;        // since the last fence
  bool light_fences_ = false;  // every attached target's revocations fence this process
  bool registered_ = false;
  bool revoked_once_ = false;  // by this process
  ReplicaId granted_to_;       // by this process, most lately; 0: nobody so far
  const bool one_thread_;
  uint64_t storing_thread_ = 0;
  uint64_t own_handed_ = 0;
  bool own_unreported_ = false;  // not told by the offset: a later term may hand over an equal one
  std::array<Target, kWriters> targets_{};

  pmem::ProcessIdentity process_;
  mutable std::array<Peer, kWriters> peers_;
  std::array<pmem::ProcessWatch, kWriters> watches_;
  Claims claims_;
};

using ShmEndpoint = BasicShmEndpoint<NoProbe>;
extern template class BasicShmEndpoint<NoProbe>;

}  // namespace caisson::transport::shm
