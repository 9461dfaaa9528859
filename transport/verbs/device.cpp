// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/device.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <rdma/rdma_cma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

namespace caisson::transport::verbs {

namespace {

struct Freed {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
  void operator()(rdma_event_channel* channel) const { ::rdma_destroy_event_channel(channel); }
  void operator()(rdma_cm_id* id) const { (void)::rdma_destroy_id(id); }
  void operator()(ibv_device** list) const { ::ibv_free_device_list(list); }
};
template <class T>
using Until = std::unique_ptr<T, Freed>;

Error system_error(const std::string& what) {
  const Code code = errno == EACCES || errno == EPERM ? Code::denied : Code::io;
  return {code, what + ": " + std::strerror(errno)};
}

ibv_gid gid_of(const sockaddr& address) {
  ibv_gid gid{};
  if (address.sa_family == AF_INET6) {
    std::memcpy(gid.raw, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  } else {  // an IPv4 address, mapped
    gid.raw[10] = gid.raw[11] = 0xff;
    std::memcpy(gid.raw + 12, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  }
  return gid;
}

struct Found {
  std::string device;
  uint8_t port = 0;
  ibv_gid gid{};
};

Result<Found> device_of(const std::string& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* list = nullptr;
  if (::getaddrinfo(address.c_str(), nullptr, &hints, &list) != 0) {
    return fail(Code::invalid, "verbs.address = \"" + address + "\" is no IP address");
  }
  const Until<addrinfo> freed(list);
  const Until<rdma_event_channel> channel(::rdma_create_event_channel());
  if (!channel) {
    return tl::unexpected(
        system_error("librdmacm cannot be used (is rdma_ucm loaded, and "
                     "/dev/infiniband/rdma_cm open to this user?)"));
  }
  rdma_cm_id* made = nullptr;
  if (::rdma_create_id(channel.get(), &made, nullptr, RDMA_PS_TCP) != 0) {
    return tl::unexpected(system_error("rdma_create_id"));
  }
  const Until<rdma_cm_id> id(made);
  if (::rdma_bind_addr(id.get(), list->ai_addr) != 0 || id->verbs == nullptr) {
    return fail(Code::not_found, "no RDMA device has the address " + address +
                                     ": give it to the network interface of the adapter, or name "
                                     "the device (verbs.device)");
  }
  return Found{::ibv_get_device_name(id->verbs->device), id->port_num, gid_of(*list->ai_addr)};
}

Result<Owned<ibv_context>> open_named(const std::string& name) {
  int count = 0;
  const Until<ibv_device*> list(::ibv_get_device_list(&count));
  if (!list || count == 0) {
    return fail(Code::not_found,
                "this machine has no RDMA device: load the driver of its adapter, or make one "
                "(rdma link add rxe0 type rxe netdev eth0)");
  }
  std::string known;
  for (int i = 0; i < count; ++i) {
    const std::string each = ::ibv_get_device_name(list.get()[i]);
    known += (known.empty() ? "" : ", ") + each;
    if (!name.empty() && each != name) continue;
    Owned<ibv_context> context(::ibv_open_device(list.get()[i]));
    if (!context) return tl::unexpected(system_error("cannot open the RDMA device " + each));
    return context;
  }
  return fail(Code::not_found, "there is no RDMA device " + name + "; there are: " + known);
}

}  // namespace

std::string gid_text(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return ::inet_ntop(AF_INET6, address.gid.raw, text.data(), text.size()) != nullptr ? text.data()
                                                                                     : "";
}

uint32_t bytes_of(ibv_mtu mtu) { return 128u << static_cast<unsigned>(mtu); }

Result<std::shared_ptr<Device>> Device::open(const DeviceOptions& options) {
  // A child of this process must not move pinned pages away from under the adapter. Nothing to do
  // on Linux 5.12 and later, which copies such pages for the child.
  if (::ibv_is_fork_initialized() != IBV_FORK_UNNEEDED && ::ibv_fork_init() != 0) {
    return fail(Code::unsupported,
                "ibv_fork_init fails: this kernel cannot keep pinned memory in place where the "
                "process forks (Linux 5.12 needs no such thing)");
  }
  std::shared_ptr<Device> device(new Device);
  if (auto there = device->look_at(options); !there) return tl::unexpected(there.error());
  device->paths_ = std::make_unique<Paths>(*device);
  return device;
}

Result<void> Device::look_at(const DeviceOptions& options) {
  std::optional<Found> found;
  if (options.name.empty() && !options.address.empty()) {
    auto of_address = device_of(options.address);
    if (!of_address) return tl::unexpected(of_address.error());
    found = *of_address;
  }
  auto context = open_named(found ? found->device : options.name);
  if (!context) return tl::unexpected(context.error());
  context_ = std::move(*context);
  name_ = ::ibv_get_device_name(context_->device);
  port_ = found ? found->port : options.port;
  traffic_class_ = options.traffic_class;

  ibv_device_attr_ex device{};
  ibv_port_attr port{};
  if (::ibv_query_device_ex(context_.get(), nullptr, &device) != 0) {
    return tl::unexpected(system_error("cannot ask the RDMA device " + name_));
  }
  const std::string where = name_ + " port " + std::to_string(port_);
  if (::ibv_query_port(context_.get(), port_, &port) != 0) {
    return fail(Code::not_found, where + " does not exist");
  }
  if (port.state != IBV_PORT_ACTIVE) {
    return fail(Code::unsupported, where +
                                       " is not active: look after its cable, its switch port, "
                                       "its network interface or the subnet manager");
  }
  ethernet_ = port.link_layer == IBV_LINK_LAYER_ETHERNET;
  address_.lid = port.lid;
  address_.mtu = port.active_mtu;
  limits_.queue_depth = static_cast<uint32_t>(device.orig_attr.max_qp_wr);
  limits_.reads_outstanding = static_cast<uint8_t>(
      std::min({device.orig_attr.max_qp_rd_atom, device.orig_attr.max_qp_init_rd_atom, 16}));
  address_.reads = limits_.reads_outstanding;
  limits_.message_bytes = port.max_msg_sz;
#ifdef CAISSON_HAVE_RDMA_FLUSH
  limits_.flush = (device.device_cap_flags_ex & IB_UVERBS_DEVICE_FLUSH_PERSISTENT) != 0;
#endif
  return choose_gid(options.gid_index, found ? &found->gid : nullptr);
}

Result<void> Device::choose_gid(int wanted, const ibv_gid* of_address) {
  std::array<ibv_gid_entry, 256> entries;
  const ssize_t count = ::ibv_query_gid_table(context_.get(), entries.data(), entries.size(), 0);
  const ibv_gid_entry* best = nullptr;
  int best_score = -1;
  for (ssize_t i = 0; i < count; ++i) {
    const ibv_gid_entry& entry = entries[static_cast<size_t>(i)];
    if (entry.port_num != port_) continue;
    if (wanted >= 0 && entry.gid_index != static_cast<uint32_t>(wanted)) continue;
    const bool same = of_address != nullptr && std::memcmp(entry.gid.raw, of_address->raw, 16) == 0;
    // An address that is valid on its own link only is the last resort.
    const bool link_local = entry.gid.raw[0] == 0xfe && entry.gid.raw[1] == 0x80;
    const int score = 4 * same + 2 * (entry.gid_type == IBV_GID_TYPE_ROCE_V2) + !link_local;
    if (score > best_score) {
      best_score = score;
      best = &entry;
    }
  }
  if (best == nullptr || best->gid_index > 255) {
    return fail(Code::unsupported,
                name_ + " port " + std::to_string(port_) +
                    (wanted >= 0 ? " has no GID with the index " + std::to_string(wanted)
                                 : std::string(" has no GID: give its network interface an IP "
                                               "address, or start a subnet manager")));
  }
  gid_index_ = static_cast<uint8_t>(best->gid_index);
  address_.gid = best->gid;
  roce_v2_ = best->gid_type == IBV_GID_TYPE_ROCE_V2;
  return {};
}

Result<Owned<ibv_mr>> Device::register_memory(ibv_pd* domain, void* at, size_t bytes,
                                              unsigned access, const std::string& what) const {
  Owned<ibv_mr> memory(::ibv_reg_mr(domain, at, bytes, access));
  if (memory) return memory;
  const int error = errno;
  std::string message = name_ + " cannot register " + std::to_string(bytes) + " bytes of " + what +
                        ": " + std::strerror(error);
  if (error == ENOMEM || error == EAGAIN) {
    return fail(Code::no_space, message +
                                    "; raise the limit of locked memory (ulimit -l unlimited, "
                                    "or LimitMEMLOCK=infinity of the unit)");
  }
  return fail(Code::unsupported,
              message +
                  "; a region for this fabric lies on devdax, hugetlbfs or tmpfs "
                  "(files of other file systems cannot be pinned)");
}

}  // namespace caisson::transport::verbs
