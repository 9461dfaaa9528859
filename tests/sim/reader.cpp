// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/reader.hpp"

namespace caisson::simtest {

// Chance of its own: the run is the same day as without it.
Reader::Reader(World& world, const ReaderOptions& options)
    : world_(world), options_(options), random_(world.options().seed * 7 + 3) {
  world_.after(random_.below(options_.pace_ns), [this] { turn(); });
}

void Reader::turn() {
  if (stopped_) return;
  world_.after(options_.pace_ns / 2 + random_.below(options_.pace_ns), [this] { turn(); });
  auto id = static_cast<uint8_t>(1 + random_.below(world_.size()));
  if (random_.permille(options_.leader_permille)) {
    for (const uint8_t each : world_.ids()) {
      const Machine& m = world_.machine(each);
      if (m.turns() && m.replica->status().leader == m.id) id = each;
    }
  }
  auto path = static_cast<ReadPath>(1 + random_.below(3));
  const uint64_t timeout_ns =
      random_.permille(200) ? 0 : random_.below(options_.timeout_ns_max + 1);
  world_.read(id, path, timeout_ns, [this](const replication::ReadPoint& point) {
    if (point.code == Code::ok) ++answered_;
  });
}

}  // namespace caisson::simtest
