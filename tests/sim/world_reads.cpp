// SPDX-License-Identifier: BSD-3-Clause
// Linearizable reads of a simulated cluster, as its judge sees them.
#include "tests/sim/world.hpp"

namespace caisson::simtest {

void World::read(uint8_t id, ReadPath path, uint64_t timeout_ns, OnReadPoint done) {
  Machine& m = machine(id);
  if (!m.turns()) return done({0, Code::closed, {}});
  const uint64_t tag = ++reads_;
  record({.what = What::ask,
          .replica = id,
          .life = m.life,
          .kind = static_cast<uint64_t>(path),
          .group = tag});
  reading_[tag] = std::move(done);
  replication::ReadPoint point{tag, Code::not_yet, {}};
  if (!inside(m, [&] { point = m.replica->read_point(path, tag, timeout_ns, local_now(m)); })) {
    return;
  }
  if (point.code != Code::not_yet) answer(m, point);
}

void World::observe_reads(Machine& m) {
  std::array<replication::ReadPoint, 16> points;
  while (m.up()) {
    const size_t n = m.replica->take_read_points(points);
    for (size_t i = 0; i < n; ++i) answer(m, points[i]);
    if (n < points.size()) return;
  }
}

void World::answer(Machine& m, const replication::ReadPoint& point) {
  const auto found = reading_.find(point.tag);
  if (found == reading_.end()) {
    return breach("I7", "read " + std::to_string(point.tag) + " is answered twice");
  }
  const OnReadPoint done = std::move(found->second);
  reading_.erase(found);
  if (point.code == Code::ok) {
    if (point.position > m.replica->log().committed()) {
      breach("I7", "a read is answered with a position that is not committed there");
    }
    record({.what = What::read,
            .replica = m.id.value,
            .life = m.life,
            .position = point.position.value,
            .group = point.tag});
  }
  done(point);
}

}  // namespace caisson::simtest
