// SPDX-License-Identifier: BSD-3-Clause
// What an engine is opened with. A configuration file (docs/configuration.md) fills the same
// struct.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caisson/members.hpp"
#include "caisson/state_transfer.hpp"
#include "caisson/types.hpp"

namespace caisson {

// How a poller behaves when it finds nothing to do.
enum class Idle : uint8_t {
  busy,      // never gives its core away: lowest latency, one core per poller
  yield,     // gives way to other runnable threads after `spin_us`
  adaptive,  // as yield, and naps (tens of microseconds) once it has been idle for a while; where
             // pollers share cores it naps instead of giving way (default)
};

// How bytes reach the peers.
enum class FabricKind : uint8_t {
  shm,    // shared memory of one machine
  verbs,  // RDMA adapters: InfiniBand, RoCE, SoftRoCE
};

// How what other nodes write into a ring over RDMA becomes persistent (R12). What is not possible
// on a machine is refused when a node starts.
enum class RemotePersistence : uint8_t {
  automatic,         // the first of these that is
  flush,             // RDMA FLUSH behind each batch: an adapter and a library that have it
  read_after_write,  // a read behind each batch: eADR, or VerbsOptions::past_caches
  target_flush,  // this node's own poller flushes its caches, and answers: anywhere, at the cost of
                 // its processor and of a second way through the network
};

// Which RDMA adapter, and what is known of the platform. One of address and device.
struct VerbsOptions {
  std::string address;  // IP address of this node on the RDMA network
  std::string device;   // … or the adapter's name, as ibv_devices lists it, with its port
  uint32_t port = 1;    // of `device`
  int gid_index = -1;   // -1: the port's first that is routable, as RoCE v2 where there is one
  // Of the packets that this node sends, as switches and adapters sort them: the DSCP in the upper
  // six bits. 104, which is DSCP 26, where RoCE has a lossless priority of its own.
  uint32_t traffic_class = 0;
  // Adapters of this machine write past the processors' caches (DDIO off for inbound writes): what
  // has left an adapter survives a loss of power. It cannot be found out.
  bool past_caches = false;
  RemotePersistence persists_by = RemotePersistence::automatic;
};

// What the leader does about a voter that is alive, and so slow that appends have to wait (R9). It
// is reported either way.
enum class SlowPolicy : uint8_t {
  back_pressure,  // appends wait for it (default)
  demote,         // it becomes a learner; Log::change_members makes it a voter again
};

// How many of the voters' copies commit an entry, and so how many votes make a leader: every set
// that commits meets every set that elects (R17). Agreed on when the log is created.
enum class Quorums : uint8_t {
  majority,  // more than half for either; 2f+1 voters go on without f of them (default)
  all,       // every voter commits, one elects: f+1 voters lose nothing with f of them, but appends
             // wait for all
  flexible,  // `commit_quorum` of n voters commit, n + 1 - commit_quorum elect
};

// What becomes of an append that would leave a standby farther behind than it may be (R14).
enum class StandbyPolicy : uint8_t {
  stall,  // it waits, as for a full ring; its own deadline applies (default)
  error,  // it is refused, Code::held
};

// "emulated" survives the death of every process, not the loss of power; it is never guessed (P22).
enum class PersistenceMode : uint8_t { unset, emulated, real };

struct PeerOptions {
  ReplicaId id;
  std::string host;  // control link address
  uint16_t port = 0;
  std::string directory;  // shm: the peer's data directory on this machine
  // Votes in nothing when the cluster is made; may be admitted later (Log::change_members).
  bool spare = false;
};

struct TlsOptions {
  bool enabled = true;  // off only where the configuration says so in so many words
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
};

struct LogOptions {
  std::string name;                   // [a-z0-9_-]{1,64}
  uint64_t id = 0;                    // the same on every replica; 1 …
  uint64_t ring_bytes = 64ull << 20;  // a power of two, 1 MiB … 1 TiB
  // Unit of re-homing; a power of two, >= 64 KiB, <= ring / 4. 0: an 8192nd of the ring, at least
  // 64 KiB. A failover copies one or two of them.
  uint64_t segment_bytes = 0;
  uint64_t salvage_bytes = 0;           // 0: as large as the ring
  uint32_t entry_bytes_max = 0;         // 0: min(1 MiB, ring / 8)
  uint32_t outstanding_max = 1u << 16;  // unresolved appends per replica; a power of two
  bool auto_apply = true;               // false: the application calls Log::mark_applied
  // Where its region lies instead of in EngineOptions::directory: a devdax device (/dev/dax0.0),
  // all of it. Its own for each log and each node. segment_bytes is then at least 2 MiB.
  std::string device;
  // How the application's state comes to a replica whose entries are trimmed elsewhere (R26); with
  // auto_apply = false only. Null: the application sees to it before that replica is opened.
  std::shared_ptr<StateHook> state = nullptr;
  Quorums quorum = Quorums::majority;
  uint32_t commit_quorum = 0;  // of Quorums::flexible: 2 … the number of voters
  SlowPolicy slow = SlowPolicy::back_pressure;
  uint64_t slow_patience_ms = 1'000;  // demote: how long appends wait for it first
  // demote: never below so many voters. 0: a majority of the founding ones.
  uint32_t voters_min = 0;
  // At which replicas that were away are caught up, all together; faster only where appends are.
  uint64_t catch_up_bytes_per_s = 1'000'000'000;
  // At which entries at rest are read again and verified, and repaired from a peer where they do
  // not hold (R44); in turns that have nothing else to do, mostly. 0: never.
  uint64_t scrub_bytes_per_s = 16'000'000;
  // How far a standby may be behind, and what happens then. bytes 0: a quarter of the ring.
  StandbyBounds standby_lag;
  StandbyPolicy standby_policy = StandbyPolicy::stall;
};

struct EngineOptions {
  std::array<uint8_t, 16> cluster{};  // identity of the cluster, the same on every replica
  ReplicaId replica;
  std::string directory;  // this replica's data: regions, heartbeat, locks
  std::string listen_host = "127.0.0.1";
  uint16_t listen_port = 0;
  std::vector<PeerOptions> peers;  // everybody who may ever take part, this replica included
  TlsOptions tls;
  FabricKind fabric = FabricKind::shm;
  VerbsOptions verbs;  // of FabricKind::verbs
  PersistenceMode persistence = PersistenceMode::unset;
  std::vector<LogOptions> logs;

  // Pollers. Inline: no poller thread; the application drives the engine by Engine::poll() and by
  // its own synchronous calls, all from one thread.
  bool inline_poller = false;
  // One poller for each entry, at most as many as logs; -1: not pinned. Empty: chosen through
  // hwloc, and not pinned where the replicas of this machine have no core each.
  std::vector<int> poller_cores;
  // Cores may be named on another NUMA node than the ring's memory or the adapter: otherwise the
  // engine does not start (R36).
  bool cross_numa = false;
  Idle idle = Idle::adaptive;
  uint64_t spin_us = 20;
  // Real-time priority of poller threads (SCHED_FIFO), 1 to 99; 0: none. With it a failover does
  // not wait for whatever else runs on the core. Needs the right to (RLIMIT_RTPRIO). Not inline,
  // and not with Idle::busy or Idle::yield where anything else needs the core.
  uint32_t poller_priority = 0;

  // Failure detection (R27).
  uint64_t suspect_after_us = 50'000;  // silence of a peer's poller
  uint64_t link_hint_us = 5'000;       // silence that suffices once its control link has dropped
  // What a control message and its answer take at most between two nodes that are well, the
  // processing included. Every patience of an election and of a leader is a multiple of it.
  uint64_t round_trip_us = 1'000;

  // The most that carrying applications' states may take of the control links (LogOptions::state).
  uint64_t state_bytes_per_s = 64ull << 20;

  std::string log_level = "info";  // trace debug info warn error off
  std::string log_file;            // empty: standard error
};

}  // namespace caisson
