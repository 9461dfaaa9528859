// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/workbench.hpp"

namespace caisson::simtest {

namespace {

class Silence final : public control::Outbox {
 public:
  void send(ReplicaId, const control::Message&) override {}
};

}  // namespace

Workbench::Workbench(const World& world, const Machine& m)
    : world_(world), id_(m.id), region_(m.region->geometry(), m.region->persistence()) {
  fabric_.add_node(id_, region_);
  for (uint8_t peer = 1; peer <= world.size(); ++peer) {
    if (ReplicaId{peer} == id_) continue;
    peers_.add(ReplicaId{peer});
    others_.push_back(std::make_unique<pmem::ShadowRegion>(m.region->geometry()));
    fabric_.add_node(ReplicaId{peer}, *others_.back());
  }
}

Workbench::Found Workbench::open(Position asked) {
  Found found;
  Silence outbox;
  auto endpoint = fabric_.open_endpoint(id_);
  auto heartbeats = fabric_.open_heartbeats(id_);
  control::FailureDetector detector({}, *heartbeats, peers_);
  auto replica = replication::Replica::open(world_.replica_options(id_), region_, *endpoint,
                                            detector, outbox, world_.now());
  if (replica) {
    found.status = (*replica)->status();
    const log::LogState& log = (*replica)->log();
    found.tail = log.batch_tail();
    found.trimmed = log.trimmed();
    found.asked = log.term_at(asked);
  } else {
    found.refused = replica.error().code;
  }
  fabric_.process_died(id_);
  return found;
}

}  // namespace caisson::simtest
