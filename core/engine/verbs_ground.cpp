// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/verbs_ground.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/engine/engine_seam.hpp"
#include "transport/no_postbox.hpp"
#include "transport/verbs/verbs_endpoint.hpp"
#include "transport/verbs/verbs_heartbeats.hpp"

namespace caisson::engine {

namespace {

constexpr uint64_t kBeatPauseMaxNs = 500'000;
constexpr uint64_t kRoundTripsOfARead = 20;  // a piece of the ring is many packets

// An adapter needs no upkeep: connections are made anew as introductions come.
class VerbsUpkeep final : public Upkeep {
 public:
  VerbsUpkeep(pmem::FileRegion& region, transport::verbs::VerbsEndpoint& endpoint)
      : region_(region), endpoint_(endpoint) {}
  bool run() override { return true; }
  void look_at_file() override { region_.look_at_name(); }
  bool file_deleted() const override { return region_.deleted(); }
  // Whoever opens the region next knows nothing of our connections (H9).
  bool release() override {
    if (endpoint_.close() != Code::ok) return false;
    region_.release_lock();
    return true;
  }

 private:
  pmem::FileRegion& region_;
  transport::verbs::VerbsEndpoint& endpoint_;
};

std::optional<transport::verbs::Method> method_of(RemotePersistence way) {
  using transport::verbs::Method;
  switch (way) {
    case RemotePersistence::automatic: break;
    case RemotePersistence::flush: return Method::flush;
    case RemotePersistence::read_after_write: return Method::read_after_write;
    case RemotePersistence::target_flush: return Method::target_flush;
  }
  return std::nullopt;
}

}  // namespace

transport::verbs::DeviceOptions device_options(const VerbsOptions& verbs) {
  transport::verbs::DeviceOptions device;
  device.address = verbs.address;
  device.name = verbs.device;
  device.port = static_cast<uint8_t>(verbs.port);
  device.gid_index = verbs.gid_index;
  device.traffic_class = static_cast<uint8_t>(verbs.traffic_class);
  return device;
}

Result<Ground> verbs_ground(const EngineOptions& options, const Adapter& adapter,
                            std::unique_ptr<pmem::FileRegion> region) {
  transport::verbs::VerbsOptions verbs;
  verbs.self = options.replica;
  verbs.peers = others_of(options);
  verbs.device = adapter;
  verbs.past_caches = options.verbs.past_caches;
  verbs.method = method_of(options.verbs.persists_by);
  verbs.patience = transport::verbs::patience_of(options.round_trip_us * 1000);
  verbs.read_patience_ns = kRoundTripsOfARead * options.round_trip_us * 1000;
  auto endpoint = transport::verbs::VerbsEndpoint::create(*region, verbs);
  if (!endpoint) return tl::unexpected(endpoint.error());
  if ((*endpoint)->method() == transport::verbs::Method::none) {
    return fail(Code::unsupported,
                region->path() +
                    " keeps nothing that is written to it, by whatever way: use a file "
                    "or a device that does");
  }
  Ground ground;
  ground.upkeep = std::make_unique<VerbsUpkeep>(*region, **endpoint);
  ground.region = seam().region(std::move(region), RegionUse::replica);
  ground.endpoint = seam().endpoint(std::move(*endpoint), *ground.region);
  return ground;
}

Result<AdapterSite> verbs_site(const EngineOptions& options, const Topology& topology) {
  const auto device = transport::verbs::Device::open(device_options(options.verbs));
  if (!device) return tl::unexpected(device.error());
  return topology.site_of((*device)->name());
}

Result<NodeGround> verbs_node_ground(const EngineOptions& options, const NodeLock& lock,
                                     std::function<void(const Error&)> tell) {
  auto device = transport::verbs::Device::open(device_options(options.verbs));
  if (!device) return tl::unexpected(device.error());
  transport::verbs::VerbsHeartbeatOptions beats;
  beats.self = options.replica;
  beats.peers = others_of(options);
  beats.device = *device;
  beats.patience = transport::verbs::patience_of(options.round_trip_us * 1000);
  beats.pause_ns = std::min(
      {kBeatPauseMaxNs, options.suspect_after_us * 1000 / 8, options.link_hint_us * 1000 / 8});
  auto heartbeats = transport::verbs::VerbsHeartbeats::open(beats);
  if (!heartbeats) return tl::unexpected(heartbeats.error());
  // That this node has run, for whoever would create it a second time (P17).
  if (const auto marked = make_mark(heartbeat_path(options.directory)); !marked)
    return tl::unexpected(marked.error());
  NodeGround node;
  node.adapter = std::move(*device);
  node.heartbeats = seam().heartbeats(std::move(*heartbeats));
  node.postbox = seam().postbox(std::make_unique<transport::NoPostbox>());
  node.look_after = [&lock, directory = options.directory, tell = std::move(tell),
                     said = false]() mutable {
    const bool gone = !lock.of(directory);
    if (gone && !said) tell(directory_replaced(directory));
    said = gone;
  };
  return node;
}

}  // namespace caisson::engine
