// SPDX-License-Identifier: BSD-3-Clause
// What an engine's logs stand on where RDMA adapters join the nodes.
#pragma once

#include <functional>
#include <memory>

#include "core/engine/engine_parts.hpp"
#include "core/engine/placement.hpp"
#include "pmem/file_region.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::engine {

// A log's region, as `adapter` reaches it and lets others reach it. Codes of
// VerbsEndpoint::create().
Result<Ground> verbs_ground(const EngineOptions& options, const Adapter& adapter,
                            std::unique_ptr<pmem::FileRegion> region);

// As a node with these options opens its adapter.
transport::verbs::DeviceOptions device_options(const VerbsOptions& verbs);

// Where the adapter is that a node would use. Codes of Device::open().
Result<AdapterSite> verbs_site(const EngineOptions& options, const Topology& topology);

// Opens the adapter. Codes of Device::open().
Result<NodeGround> verbs_node_ground(const EngineOptions& options, const NodeLock& lock,
                                     std::function<void(const Error&)> tell);

}  // namespace caisson::engine
