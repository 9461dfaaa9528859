// SPDX-License-Identifier: BSD-3-Clause
// One port of one RDMA adapter, and what it can do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "caisson/types.hpp"
#include "transport/verbs/handles.hpp"
#include "transport/verbs/paths.hpp"

namespace caisson::transport::verbs {

struct DeviceOptions {
  // This node's address on the RDMA network: librdmacm says which port it belongs to.
  std::string address;
  // Instead of an address: as `ibv_devices` lists it, with its port.
  std::string name;
  uint8_t port = 1;
  uint8_t traffic_class = 0;
  int gid_index = -1;  // -1: of the address as RoCE v2; else the first one that is routable
};

// How a peer's adapter reaches this port.
struct Address {
  ibv_gid gid{};
  uint16_t lid = 0;  // 0 on Ethernet
  ibv_mtu mtu = IBV_MTU_1024;
  uint8_t reads = 0;  // RDMA reads that it takes at once, of one queue pair
};

uint32_t bytes_of(ibv_mtu mtu);
std::string gid_text(const Address& address);

struct Limits {
  uint32_t queue_depth = 0;       // work requests of one queue pair
  uint8_t reads_outstanding = 0;  // RDMA reads in flight, one queue pair, both directions
  uint32_t message_bytes = 0;
  bool flush = false;  // RDMA FLUSH, in the adapter and in the library that this was built with
};

class Device {
 public:
  // not_found: no such device, port or address · denied: /dev/infiniband may not be opened ·
  // unsupported: the port is down, or has no usable GID · io.
  static Result<std::shared_ptr<Device>> open(const DeviceOptions& options);

  ibv_context* context() const { return context_.get(); }
  const std::string& name() const { return name_; }
  uint8_t port() const { return port_; }
  uint8_t gid_index() const { return gid_index_; }
  const Address& address() const { return address_; }
  // RoCE v1 does not leave its own network.
  bool routable() const { return !ethernet_ || roce_v2_; }
  uint8_t traffic_class() const { return traffic_class_; }
  const Limits& limits() const { return limits_; }
  bool ethernet() const { return ethernet_; }
  Paths& paths() const { return *paths_; }

  // `what` names the memory in an error. no_space: it cannot be pinned · unsupported: its file
  // system does not allow it.
  Result<Owned<ibv_mr>> register_memory(ibv_pd* domain, void* at, size_t bytes, unsigned access,
                                        const std::string& what) const;

 private:
  Device() = default;
  Result<void> look_at(const DeviceOptions& options);
  Result<void> choose_gid(int wanted, const ibv_gid* of_address);

  Owned<ibv_context> context_;
  std::string name_;
  uint8_t port_ = 0;
  uint8_t gid_index_ = 0;
  uint8_t traffic_class_ = 0;
  bool ethernet_ = false;
  bool roce_v2_ = false;
  Address address_;
  Limits limits_;
  std::unique_ptr<Paths> paths_;
};

}  // namespace caisson::transport::verbs
