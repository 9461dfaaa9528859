// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/placement.hpp"

#include <hwloc.h>
#include <hwloc/linux.h>
#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace caisson::engine {

struct Topology::Handle {
  hwloc_topology_t topology = nullptr;
  ~Handle() {
    if (topology != nullptr) hwloc_topology_destroy(topology);
  }
};

namespace {

// The node nearest to a processor.
int node_of_pu(hwloc_topology_t topology, hwloc_obj_t pu) {
  if (pu->nodeset == nullptr) return -1;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    if (hwloc_bitmap_isset(pu->nodeset, node->os_index) != 0)
      return static_cast<int>(node->os_index);
  }
  return -1;
}

bool allowed(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return true;
  return core >= 0 && core < CPU_SETSIZE && CPU_ISSET(static_cast<size_t>(core), &set);
}

std::string list(const std::vector<PollerSeat>& seats) {
  std::string text;
  for (const PollerSeat& seat : seats) {
    if (!text.empty()) text += ' ';
    text += std::to_string(seat.core);
  }
  return text;
}

}  // namespace

Topology::Topology(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Topology::~Topology() = default;

Result<std::unique_ptr<Topology>> Topology::load() {
  auto handle = std::make_unique<Handle>();
  if (hwloc_topology_init(&handle->topology) != 0) {
    return fail(Code::io, "hwloc cannot start on this machine");
  }
  // Cores and memory suffice: looking for devices and caches takes most of the time.
  hwloc_topology_set_all_types_filter(handle->topology, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(handle->topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (hwloc_topology_load(handle->topology) != 0) {
    return fail(Code::io, "hwloc cannot read this machine's topology; is /sys mounted?");
  }
  return std::unique_ptr<Topology>(new Topology(std::move(handle)));
}

// Two pollers on one core would take turns.
std::vector<PollerSeat> Topology::cores(int first_node) const {
  std::vector<PollerSeat> seats;
  std::vector<hwloc_obj_t> seen;
  hwloc_obj_t pu = nullptr;
  while ((pu = hwloc_get_next_obj_by_type(handle_->topology, HWLOC_OBJ_PU, pu)) != nullptr) {
    const int core = static_cast<int>(pu->os_index);
    if (!allowed(core)) continue;
    hwloc_obj_t owner = hwloc_get_ancestor_obj_by_type(handle_->topology, HWLOC_OBJ_CORE, pu);
    if (owner == nullptr) owner = pu;
    if (std::find(seen.begin(), seen.end(), owner) != seen.end()) continue;
    seen.push_back(owner);
    seats.push_back({core, node_of_pu(handle_->topology, pu)});
  }
  std::stable_partition(seats.begin(), seats.end(),
                        [&](const PollerSeat& seat) { return seat.numa_node == first_node; });
  return seats;
}

Result<Placement> Topology::place_named(const EngineOptions& options, const AdapterSite& adapter,
                                        Placement placement) const {
  for (const int core : options.poller_cores) {
    if (core < 0) {
      placement.seats.push_back({});
      continue;
    }
    hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(handle_->topology, static_cast<unsigned>(core));
    if (pu == nullptr || !allowed(core)) {
      return fail(Code::invalid,
                  "poller core " + std::to_string(core) +
                      " is not available to this process; it may use: " + list(cores(-1)));
    }
    const int node = node_of_pu(handle_->topology, pu);
    if (node >= 0 && adapter.numa_node >= 0 && node != adapter.numa_node && !options.cross_numa) {
      return fail(Code::invalid,
                  "poller core " + std::to_string(core) + " is on NUMA node " +
                      std::to_string(node) + ", the adapter " + adapter.name + " on node " +
                      std::to_string(adapter.numa_node) +
                      ": name cores of that node (poller.cores), leave them out, or say "
                      "poller.cross_numa = true");
    }
    placement.seats.push_back({core, node});
  }
  return placement;
}

Result<Placement> Topology::place(const EngineOptions& options, const AdapterSite& adapter) const {
  Placement placement;
  const std::vector<PollerSeat> free = cores(adapter.numa_node);
  placement.cores_allowed = static_cast<uint32_t>(free.size());
  placement.numa_nodes = static_cast<uint32_t>(
      std::max(1, hwloc_get_nbobjs_by_type(handle_->topology, HWLOC_OBJ_NUMANODE)));
  if (options.inline_poller) {
    placement.seats.resize(1);  // the application's own thread, wherever it runs
    return placement;
  }
  if (!options.poller_cores.empty()) return place_named(options, adapter, std::move(placement));
  // Chosen here. On shared memory all replicas run on this machine, and each of them chooses alike.
  const bool alone = options.fabric == FabricKind::verbs;
  const auto replicas = alone ? 1 : std::max<size_t>(1, options.peers.size());
  const size_t pollers =
      std::clamp<size_t>(free.size() / replicas, 1, std::max<size_t>(1, options.logs.size()));
  if (replicas * pollers > free.size()) {
    placement.seats.resize(1);
    placement.warning =
        std::to_string(replicas) + " replicas share " + std::to_string(free.size()) +
        " cores of this machine: pollers are not pinned, and take turns; latency will "
        "suffer. Give each replica a core of its own, or name cores (poller.cores)";
    return placement;
  }
  const auto self =
      std::find_if(options.peers.begin(), options.peers.end(),
                   [&](const PeerOptions& peer) { return peer.id == options.replica; });
  const size_t first = static_cast<size_t>(self - options.peers.begin()) % replicas * pollers;
  placement.seats.assign(free.begin() + static_cast<std::ptrdiff_t>(first),
                         free.begin() + static_cast<std::ptrdiff_t>(first + pollers));
  for (const PollerSeat& seat : placement.seats) {
    if (adapter.numa_node < 0 || seat.numa_node < 0 || seat.numa_node == adapter.numa_node)
      continue;
    placement.warning = "no core of NUMA node " + std::to_string(adapter.numa_node) +
                        ", on which the adapter " + adapter.name + " is, is free for poller core " +
                        std::to_string(seat.core) +
                        "; latency will suffer. Let this process use cores of that node";
  }
  return placement;
}

// The node that the kernel says a device is near to; a device on a bus of its own, such as
// virtio's, is where what carries it is.
int Topology::node_of_device(const std::string& device) const {
  std::error_code error;
  std::filesystem::path at = std::filesystem::canonical(device, error);
  for (; !error && at.has_relative_path(); at = at.parent_path()) {
    if (std::filesystem::exists(at / "local_cpus", error)) {
      return node_of_processors((at / "local_cpus").string());
    }
  }
  return -1;
}

// `path`: a file of the kernel's with a mask of processors.
int Topology::node_of_processors(const std::string& path) const {
  hwloc_bitmap_t processors = hwloc_bitmap_alloc();
  hwloc_bitmap_t nodes = hwloc_bitmap_alloc();
  int node = -1;
  if (processors != nullptr && nodes != nullptr &&
      hwloc_linux_read_path_as_cpumask(path.c_str(), processors) == 0) {
    hwloc_cpuset_to_nodeset(handle_->topology, processors, nodes);
    // Near to several: near to none.
    if (hwloc_bitmap_weight(nodes) == 1) node = hwloc_bitmap_first(nodes);
  }
  hwloc_bitmap_free(processors);
  hwloc_bitmap_free(nodes);
  return node;
}

AdapterSite Topology::site_of(const std::string& adapter) const {
  const std::string device = "/sys/class/infiniband/" + adapter;
  int node = node_of_device(device + "/device");
  std::string interface;
  if (std::ifstream parent(device + "/parent"); node < 0 && std::getline(parent, interface)) {
    node = node_of_device("/sys/class/net/" + interface + "/device");
  }
  return {adapter, node};
}

int Topology::node_of(const void* memory, size_t bytes) const {
  hwloc_nodeset_t nodes = hwloc_bitmap_alloc();
  if (nodes == nullptr) return -1;
  int node = -1;
  if (hwloc_get_area_memlocation(handle_->topology, memory, bytes, nodes,
                                 HWLOC_MEMBIND_BYNODESET) == 0) {
    if (hwloc_bitmap_weight(nodes) == 1) node = hwloc_bitmap_first(nodes);
  }
  hwloc_bitmap_free(nodes);
  return node;
}

void Topology::prefer_node(int node) const {
  if (node < 0) {
    (void)hwloc_set_membind(handle_->topology,
                            hwloc_topology_get_allowed_nodeset(handle_->topology),
                            HWLOC_MEMBIND_DEFAULT, HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
    return;
  }
  hwloc_nodeset_t nodes = hwloc_bitmap_alloc();
  if (nodes == nullptr) return;
  hwloc_bitmap_only(nodes, static_cast<unsigned>(node));
  (void)hwloc_set_membind(handle_->topology, nodes, HWLOC_MEMBIND_BIND,
                          HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
  hwloc_bitmap_free(nodes);
}

}  // namespace caisson::engine
