// SPDX-License-Identifier: BSD-3-Clause
// What the fabric `verbs` would find: adapters, their ports, and what writes to this machine's
// memory would be worth.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "core/engine/placement.hpp"
#include "tools/doctor.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::tools {

namespace {

using Level = Finding::Level;
using transport::verbs::Device;

std::vector<std::string> adapters() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/infiniband", error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string node_text(const engine::Topology* topology, const std::string& name) {
  const int node = topology != nullptr ? topology->site_of(name).numa_node : -1;
  return node < 0 ? "" : ", NUMA node " + std::to_string(node);
}

void examine_adapter(std::vector<Finding>& findings, const engine::Topology* topology,
                     const std::string& name) {
  transport::verbs::DeviceOptions options;
  options.name = name;
  const auto device = Device::open(options);
  if (!device) {
    findings.push_back({"RDMA adapter " + name, Level::warn,
                        "cannot be used: " + std::string(caisson::name(device.error().code)),
                        device.error().message});
    return;
  }
  const Device& found = **device;
  const uint32_t mtu = transport::verbs::bytes_of(found.address().mtu);
  const bool small = found.ethernet() && mtu < 4096;
  findings.push_back(
      {"RDMA adapter " + name, small ? Level::note : Level::ok,
       std::string(found.ethernet() ? "RoCE" : "InfiniBand") + ", port " +
           std::to_string(found.port()) + node_text(topology, name) + ", GID " +
           std::to_string(found.gid_index()) + ", path MTU " + std::to_string(mtu) + ", " +
           std::to_string(found.limits().queue_depth) + " work requests a queue",
       small ? "large entries go faster with path MTU 4096: ip link set dev NETDEV mtu 4200 on "
               "every node and switch"
             : ""});
  const bool flush = found.limits().flush;
  findings.push_back(
      {"RDMA FLUSH of " + name, flush ? Level::ok : Level::note,
       flush ? "offered: writes of others are made persistent by it"
             : "not offered by the adapter, or by the library that this was built with",
       flush ? ""
             : "with persistence = \"real\" and no eADR, a follower's poller has to flush what "
               "comes in, unless DDIO is turned off and verbs.past_caches = true (hw-setup.md)"});
}

}  // namespace

void examine_adapters(std::vector<Finding>& findings) {
  const auto names = adapters();
  if (names.empty()) {
    findings.push_back({"fabric verbs (RDMA)", Level::note, "no RDMA adapter",
                        "not needed on one machine; else hw-setup.md"});
    return;
  }
  const auto topology = engine::Topology::load();
  for (const std::string& name : names) {
    examine_adapter(findings, topology ? topology->get() : nullptr, name);
  }
  struct rlimit limit {};
  const bool pins = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
  findings.push_back({"memory that adapters may reach", pins ? Level::ok : Level::warn,
                      pins ? "not limited" : std::to_string(limit.rlim_cur >> 10) + " KiB",
                      pins ? ""
                           : "rings are pinned for adapters: ulimit -l unlimited, or "
                             "LimitMEMLOCK=infinity of the systemd unit"});
}

}  // namespace caisson::tools
