// SPDX-License-Identifier: BSD-3-Clause
// Which poller runs on which core, and on which NUMA node that core and a ring's memory lie (R36).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caisson/options.hpp"
#include "caisson/types.hpp"

namespace caisson::engine {

struct PollerSeat {
  int core = -1;       // operating system's number; -1: not pinned
  int numa_node = -1;  // of that core; -1: not pinned, or unknown
};

// Where an adapter is plugged in.
struct AdapterSite {
  std::string name;    // empty: there is none
  int numa_node = -1;  // -1: not known
};

struct Placement {
  std::vector<PollerSeat> seats;  // one per poller
  uint32_t cores_allowed = 0;     // to this process
  uint32_t numa_nodes = 1;
  std::string warning;  // empty, or what is not as it should be, and the cure
};

class Topology {
 public:
  // Code::io if hwloc cannot read this machine.
  static Result<std::unique_ptr<Topology>> load();
  ~Topology();
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;

  // Seats for the pollers of options: on the cores it names, or chosen, the adapter's node first,
  // so that the pollers of all replicas of this machine have a core each. Where there are too few,
  // none is pinned, and `warning` says so. Code::invalid: a named core is not there, not allowed to
  // this process, or on another node than the adapter (unless EngineOptions::cross_numa).
  Result<Placement> place(const EngineOptions& options, const AdapterSite& adapter = {}) const;

  // The first processor of each physical core that this process may use; those of `first_node` in
  // front.
  std::vector<PollerSeat> cores(int first_node) const;

  // Where the adapter of that name is plugged in, or the network interface that a software adapter
  // stands on.
  AdapterSite site_of(const std::string& adapter) const;

  // The node that holds these bytes; -1: not known, not resident, or several do.
  int node_of(const void* memory, size_t bytes) const;
  // New pages that this thread is the first to touch come from `node`, where they can (-1: from
  // anywhere again).
  void prefer_node(int node) const;

 private:
  struct Handle;
  explicit Topology(std::unique_ptr<Handle> handle);
  Result<Placement> place_named(const EngineOptions& options, const AdapterSite& adapter,
                                Placement placement) const;
  int node_of_device(const std::string& device) const;
  int node_of_processors(const std::string& path) const;
  std::unique_ptr<Handle> handle_;
};

}  // namespace caisson::engine
