// SPDX-License-Identifier: BSD-3-Clause
// What an engine's logs stand on: the only place that chooses a region and a fabric (R37, R38).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caisson/options.hpp"
#include "caisson/types.hpp"
#include "core/engine/engine_directory.hpp"
#include "core/engine/log_impl.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/region.hpp"
#include "transport/fabric.hpp"

namespace caisson::transport::verbs {
class Device;
}

namespace caisson::engine {

// What all logs of a node share of the fabric; null with shm.
using Adapter = std::shared_ptr<transport::verbs::Device>;

// The region of one log with what lets peers reach it, in the order of destruction: last first.
struct Ground {
  std::unique_ptr<pmem::Region> region;
  std::unique_ptr<transport::Endpoint> endpoint;
  std::unique_ptr<Upkeep> upkeep;
};

// With every default filled in, and the peers in order.
EngineOptions completed(EngineOptions options);

// amnesia, naming the evidence, if a peer's region shows that this replica may have taken part
// before: it could have promised and acknowledged what an empty region does not know (P17).
Result<void> expect_never_ran(const EngineOptions& options, const LogOptions& log);

// The superblock of a peer's region of this log, as it lies there now; nothing, if there is none.
std::optional<log::Superblock> peer_superblock(const EngineOptions& options, const LogOptions& log,
                                               const std::string& path);
// Of every peer whose region of this log is there.
struct PeerRegion {
  ReplicaId id;
  std::string path;
  log::Superblock superblock;
};
std::vector<PeerRegion> peer_regions(const EngineOptions& options, const LogOptions& log);

// Makes the region of one log, and the replica in it, whole or not at all (P17). birth 0: a
// founding member; else one that takes part in nothing until it is admitted.
Result<void> create_ground(const EngineOptions& options, const LogOptions& log, uint64_t birth = 0);
// … and whatever `fill` puts into it.
Result<void> create_ground_with(const EngineOptions& options, const LogOptions& log,
                                const std::function<Result<void>(pmem::Region&)>& fill);
// Without the adapter that its fabric needs: nobody reaches it, and it reaches nobody.
Result<Ground> open_ground(const EngineOptions& options, const LogOptions& log,
                           const Adapter& adapter = nullptr);
// What a creation that was cut short, or failed, has left of a log. exists: a device holds
// something else.
Result<void> remove_ground(const EngineOptions& options, const LogOptions& log);

// What the nodes of a cluster share beside their logs.
struct NodeGround {
  Adapter adapter;
  std::unique_ptr<transport::Heartbeats> heartbeats;
  std::unique_ptr<transport::Postbox> postbox;
  // Looks for peers that were not there before, or were made anew, and after the node's own files:
  // what has become of them is told once. Never on a poller.
  std::function<void()> look_after;
};
// `lock` owns the node's directory; it, and what `tell` refers to, outlive what is made here.
Result<NodeGround> open_node_ground(const EngineOptions& options, const NodeLock& lock,
                                    std::function<void(const Error&)> tell);

// Of the first view: every peer that is no spare.
ReplicaSet voters_of(const EngineOptions& options);
log::QuorumSystem quorum_of(const LogOptions& log);
// As a configuration says it.
std::string quorum_text(log::QuorumSystem quorum);
// invalid: the log, or a peer's replica of it, was created with another quorum system (R17).
Result<void> expect_quorum_as_created(const EngineOptions& options, const LogOptions& log,
                                      const log::Membership& own,
                                      const std::vector<PeerRegion>& peers);
// Everybody but this replica.
ReplicaSet others_of(const EngineOptions& options);

}  // namespace caisson::engine
