// SPDX-License-Identifier: BSD-3-Clause
// A fabric in virtual time, as nasty as hardware: what is posted lands line by line, in any order,
// at any time, until the target revokes; what is reported placed may still be lost with the power;
// cells arrive late and out of order; the adapter of a dead process goes on. One object is the
// whole fabric: every replica's adapter, the memory it reaches, and the links between them.
//
// The promises of transport/fabric.hpp are kept to the letter, and nothing more: completions name
// prefixes that really are there, and no byte of a revoked grant ever becomes visible.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "pmem/shadow_region.hpp"
#include "transport/fabric.hpp"
#include "transport/sim/sim_random.hpp"

namespace caisson::transport::sim {

// How nasty; drawn per seed. Times are virtual.
struct SimOptions {
  uint64_t land_ns_max = 2'000;         // posted to visible
  uint64_t persist_ns_max = 2'000;      // handed over to persistent at the target
  uint64_t own_persist_ns_max = 1'000;  // … in our own ring
  uint64_t report_ns_max = 2'000;       // persistent to reported
  uint64_t cell_ns_max = 3'000;         // published to seen
  uint64_t late_ns_max = 200'000;       // instead of the above, for what is late
  uint32_t late_permille = 5;
  uint32_t scatter_permille = 300;       // chunks whose lines land one by one
  uint32_t words_permille = 30;          // scattered lines that land as eight words
  uint32_t duplicate_permille = 20;      // lines that land twice before they are persistent
  uint32_t early_placed_permille = 300;  // placed is reported while lines are still on their way
  uint32_t live_source_permille =
      300;  // the adapter reads our ring when the line leaves, not when posted
  uint32_t stale_cell_permille = 200;  // cells that arrive as they were when they were sent
  uint32_t flip_permille = 0;          // lines that arrive with a flipped bit (S17)
  bool death_notices = true;           // the kernel tells of a dead peer
  bool dead_memory_readable = true;    // what a dead process said last can still be read
};

struct SimCounters {
  uint64_t lines_landed = 0;
  uint64_t lines_refused = 0;    // came under a grant that is over
  uint64_t lines_dropped = 0;    // lost in flight at a revocation, a detach or a power cut
  uint64_t lines_from_dead = 0;  // landed after their writer's process had died or let go
  uint64_t bits_flipped = 0;
  uint64_t lines_scattered = 0;  // travelled alone: they may land in any order
  uint64_t lines_again = 0;      // landed twice
  uint64_t late = 0;             // whatever took long
  uint64_t events = 0;
};

class SimEndpoint;
class SimHeartbeats;

class SimFabric {
 public:
  SimFabric(const SimOptions& options, uint64_t seed);
  ~SimFabric();
  SimFabric(const SimFabric&) = delete;
  SimFabric& operator=(const SimFabric&) = delete;

  // The region outlives the fabric, or is replaced.
  void add_node(ReplicaId id, pmem::ShadowRegion& region);
  void replace_region(ReplicaId id, pmem::ShadowRegion& region);

  // A process starts on the node. What an earlier process was granted, or granted, is still there
  // (H9).
  std::unique_ptr<Endpoint> open_endpoint(ReplicaId id);
  std::unique_ptr<Heartbeats> open_heartbeats(ReplicaId id);

  // ---- Faults -----------------------------------------------------------------------------------
  void process_died(ReplicaId id);
  // Lines on their way land, or are lost; then grants, cells and everything queued are gone. The
  // caller cuts the power of the region next.
  void power_lost(ReplicaId id);
  // Nothing passes; posted writes fail after a while, and with them the attachment.
  void set_cut(ReplicaId from, ReplicaId to, bool cut);
  // What is posted at or behind `at` waits on its way; everything else passes.
  void hold(ReplicaId from, ReplicaId to, Offset at = Offset{0}) { link(from, to).hold = at; }
  void release(ReplicaId from, ReplicaId to) { link(from, to).hold = kNothingHeld; }
  // Lands what is on its way from `from` to `to` and satisfies `pick`, held or not.
  void land_now(ReplicaId from, ReplicaId to, const std::function<bool(Offset at)>& pick);
  // The first byte that `from` has posted and that is not there yet; all ones: there is none.
  Offset on_its_way(ReplicaId from) const;
  // Everything this node's memory takes part in becomes this many times slower.
  void set_slowness(ReplicaId id, uint64_t factor);
  void fail_next_revocation(ReplicaId id) { node(id).fail_revocation = true; }

  // ---- Time -------------------------------------------------------------------------------------
  uint64_t now_ns() const { return now_ns_; }
  uint64_t next_ns() const;
  void run_until(uint64_t now_ns);

  // An application stores at an address got from claim(): into the ring while the claim stands,
  // into scratch memory afterwards. False: the address was never handed out by this process.
  bool application_store(ReplicaId id, const std::byte* address, std::span<const std::byte> bytes);

  // Called before every endpoint call that changes something; may throw to kill the caller there.
  using Hook = std::function<void(ReplicaId, std::string_view call)>;
  void set_hook(Hook hook) { hook_ = std::move(hook); }

  const SimCounters& counters() const { return counters_; }
  uint64_t trace() const { return trace_; }
  SimOptions& options() { return options_; }

 private:
  friend class SimEndpoint;
  friend class SimHeartbeats;

  struct Event {
    uint64_t at_ns;
    uint64_t order;
    std::function<void()> run;
    bool operator>(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  struct Line {
    uint64_t attachment = 0;  // 0: free
    uint32_t stamp = 0;       // tells events of an earlier use apart
    uint8_t bytes = 0;
    bool landed = false;
    bool live = false;
    uint8_t tries = 0;
    Offset at;
    std::array<std::byte, kCacheLineBytes> data;
  };
  // One writer's queue to one target under one grant.
  struct Attachment {
    ReplicaId from;
    ReplicaId to;
    uint64_t generation = 0;
    bool held = true;  // its owner still listens
    Offset pipe;  // reported placed up to here: must become visible, whatever happens but power
    Offset persisted;
    std::vector<uint32_t> lines;
  };
  struct ClaimedBytes {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes = 0;
    Offset at;
    bool live = true;
  };
  // Nothing is published: nothing of the ring can be believed.
  static constexpr Standing kSilent{Term{}, 0, Offset{UINT64_MAX}, Position{}, 0};
  struct Node {
    ReplicaId id;
    pmem::ShadowRegion* region = nullptr;
    bool powered = true;
    bool alive = false;
    uint64_t process = 0;  // which one, counted from the first
    uint64_t slowness = 1;
    bool fail_revocation = false;
    // As target.
    uint64_t generations = 0;
    std::set<uint64_t> open_generations;
    TargetCell cell;
    Standing standing = kSilent;
    Standing last_words;           // before the power went
    std::vector<Standing> buried;  // what the regions that it has lost said last
    uint64_t regions = 0;          // how many those are
    std::array<CommitCell, kReplicaIdMax + 1> commit_cells{};
    std::array<uint64_t, kReplicaIdMax + 1> commit_turns{};  // which write of the writer that is
    uint64_t beats = 0;
    // As initiator.
    std::array<uint64_t, kReplicaIdMax + 1> attached{};
    std::array<uint64_t, kReplicaIdMax + 1> mapped{};  // which region of the peer
    std::array<TargetCell, kReplicaIdMax + 1> seen{};
    std::array<Beat, kReplicaIdMax + 1> heard{};
    uint64_t own_low = UINT64_MAX;  // our own bytes from here on are not yet persisted
    uint64_t own_turn = 0;  // counts revocations; what was handed over before is not reported
    std::vector<Completion> completions;
    std::vector<ClaimedBytes> claims;
  };

  Node& node(ReplicaId id) { return nodes_[id.value]; }
  static constexpr Offset kNothingHeld{UINT64_MAX};
  struct Link {
    bool cut = false;
    Offset hold = kNothingHeld;
  };
  Link& link(ReplicaId from, ReplicaId to) { return links_[from.value][to.value]; }
  bool passes(ReplicaId from, ReplicaId to) { return !link(from, to).cut; }
  bool lets_in(const Node& target, uint64_t generation) const {
    return target.open_generations.contains(generation);
  }
  void hook(ReplicaId id, std::string_view call) {
    if (hook_) hook_(id, call);
  }
  void trace(uint64_t word);
  uint64_t delay(uint64_t max_ns, ReplicaId at);
  void schedule(uint64_t after_ns, std::function<void()> run);

  // sim_lines.cpp
  uint64_t attach(Node& from, ReplicaId to, uint64_t generation, Offset start);
  void post(Attachment& attachment, uint64_t id, Offset at, const std::byte* source, size_t n,
            bool in_own_ring);
  void post_line(Attachment& attachment, uint64_t id, Offset at, const std::byte* source, size_t n,
                 bool live, uint64_t after_ns);
  void line_due(uint32_t index, uint32_t stamp);
  void store_line(Attachment& attachment, Line& line);
  void free_line(uint32_t index);
  void land_below(Attachment& attachment, Offset end);
  void drop_lines(Attachment& attachment, uint32_t land_permille);
  void let_go(uint64_t attachment);
  void refuse(uint64_t attachment);
  void complete(uint64_t attachment, Offset end);
  void persist_due(uint64_t attachment, Offset end, uint32_t tries);
  void report(uint64_t attachment, Offset placed, Offset persisted, uint32_t tries);
  void end_grants(Node& target, bool power);

  // sim_fabric.cpp
  void show_cell(ReplicaId target, ReplicaId observer, const TargetCell& cell);
  void refresh_cells(ReplicaId target, ReplicaId observer);
  void commit_cell_due(ReplicaId from, ReplicaId to, const CommitCell& cell, uint64_t turn);

  SimOptions options_;
  Random random_;
  uint64_t now_ns_ = 0;
  uint64_t order_ = 0;
  uint64_t trace_ = 0xcbf29ce484222325u;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::array<Node, kReplicaIdMax + 1> nodes_{};
  std::array<std::array<Link, kReplicaIdMax + 1>, kReplicaIdMax + 1> links_{};
  std::map<uint64_t, Attachment> attachments_;
  uint64_t attachment_ids_ = 0;
  std::vector<Line> lines_;
  std::vector<uint32_t> free_lines_;
  SimCounters counters_;
  Hook hook_;
};

}  // namespace caisson::transport::sim
