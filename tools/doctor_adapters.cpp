// SPDX-License-Identifier: BSD-3-Clause
// What the fabric `verbs` would find: adapters, their ports, and what writes to this machine's
// memory would be worth.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

#include "core/engine/placement.hpp"
#include "tools/doctor.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::tools {

namespace {

using Level = Finding::Level;
using transport::verbs::Device;

// Of the root ports of Skylake-SP and Cascade Lake-SP. Others have no such register.
constexpr std::streamoff kPerfCtrlSts = 0x180;
constexpr uint8_t kUseAllocatingFlowWr = 0x80;
constexpr uint16_t kIntel = 0x8086;
constexpr uint16_t kRootPortFirst = 0x2030;
constexpr uint16_t kRootPortLast = 0x2033;

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

// Nothing: it is no PCI device.
std::optional<RootPort> root_port_above(const std::string& adapter) {
  std::error_code error;
  const auto device =
      std::filesystem::canonical("/sys/class/infiniband/" + adapter + "/device", error);
  if (error) return std::nullopt;
  // /sys/devices/pci0000:16/0000:16:00.0/0000:17:00.0: the root port is below its bridge.
  std::filesystem::path at;
  bool bridge = false;
  for (const auto& part : device) {
    at /= part;
    if (bridge) break;
    bridge = part.string().starts_with("pci");
  }
  if (!bridge || at == device) return std::nullopt;
  RootPort port;
  port.address = at.filename().string();
  const auto number = [&](const char* file) {
    std::ifstream in(at / file);
    uint32_t value = 0;
    in >> std::hex >> value;
    return static_cast<uint16_t>(value);
  };
  port.vendor = number("vendor");
  port.device = number("device");
  std::ifstream config(at / "config", std::ios::binary);
  config.seekg(kPerfCtrlSts);
  if (char byte = 0; config.get(byte)) port.control = static_cast<uint8_t>(byte);
  return port;
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
       std::string(!found.ethernet()  ? "InfiniBand"
                   : found.routable() ? "RoCE v2"
                                      : "RoCE v1") +
           ", port " + std::to_string(found.port()) + node_text(topology, name) + ", GID " +
           std::to_string(found.gid_index()) + " (" + transport::verbs::gid_text(found.address()) +
           "), path MTU " + std::to_string(mtu) + ", " +
           std::to_string(found.limits().queue_depth) + " work requests a queue",
       small ? "large entries go faster with path MTU 4096: ip link set dev NETDEV mtu 4200 on "
               "every node and switch"
             : ""});
  if (!found.routable()) {
    findings.push_back({"GID of " + name, Level::warn, "RoCE v1: it passes no router",
                        "give its network interface an IP address, or choose another one of "
                        "/sys/class/infiniband/" +
                            name + "/ports/1/gid_attrs/types by verbs.gid_index"});
  }
  findings.push_back(ddio_finding(name, root_port_above(name)));
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

Finding ddio_finding(const std::string& adapter, const std::optional<RootPort>& port) {
  Finding finding{"DDIO of " + adapter, Level::note, "", ""};
  if (!port) {
    finding.found = "no PCI adapter: what it writes goes through a processor's caches";
    finding.cure = "leave verbs.past_caches out";
    return finding;
  }
  const bool known =
      port->vendor == kIntel && port->device >= kRootPortFirst && port->device <= kRootPortLast;
  if (!known) {
    finding.found = "not to be read on this platform (root port " + port->address + ")";
    finding.cure =
        "unless its maker says that adapters write past the caches here, leave "
        "verbs.past_caches out: a follower's poller then flushes (hw-setup.md)";
  } else if (!port->control) {
    finding.found = "not readable by this user (root port " + port->address + ")";
    finding.cure = "ask again as root";
  } else if ((*port->control & kUseAllocatingFlowWr) != 0) {
    finding.found = "on: what it writes lands in the caches (root port " + port->address + ")";
    finding.cure =
        "with ADR a follower's poller flushes what comes in; to spare it that, turn DDIO off for "
        "this root port, and set verbs.past_caches = true (hw-setup.md)";
  } else {
    finding.level = Level::ok;
    finding.found = "off: it writes past the caches (root port " + port->address + ")";
  }
  return finding;
}

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
