// SPDX-License-Identifier: BSD-3-Clause
// A machine like one of a world's, with nobody to talk to: the real recovery opens whatever is put
// into its memory.
#pragma once

#include <memory>
#include <vector>

#include "core/replication/replica.hpp"
#include "pmem/shadow_region.hpp"
#include "tests/sim/world.hpp"
#include "transport/sim/sim_fabric.hpp"

namespace caisson::simtest {

class Workbench {
 public:
  // `world` outlives it; `m` is one of its machines.
  Workbench(const World& world, const Machine& m);

  pmem::ShadowRegion& region() { return region_; }

  struct Found {
    Code refused = Code::ok;
    replication::ReplicaStatus status;
    log::Cursor tail;
    Position trimmed;
    Term asked;  // that the log holds at the position asked for
  };
  Found open(Position asked = {});

 private:
  const World& world_;
  const ReplicaId id_;
  pmem::ShadowRegion region_;
  std::vector<std::unique_ptr<pmem::ShadowRegion>> others_;
  SimFabric fabric_{{}, 1};
  ReplicaSet peers_;
};

}  // namespace caisson::simtest
