// SPDX-License-Identifier: BSD-3-Clause
// What the parts of one replica share.
#pragma once

#include <cstdint>

#include "core/control/failure_detector.hpp"
#include "core/control/messages.hpp"
#include "core/log/log_state.hpp"
#include "core/replication/durable_state.hpp"
#include "core/replication/replica.hpp"
#include "pmem/region.hpp"
#include "transport/fabric.hpp"

namespace caisson::replication {

// Deterministic from its seed; nonces and jitter only.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

 private:
  uint64_t state_;
};

struct Context {
  const ReplicaOptions options;
  pmem::Region& region;
  transport::Endpoint& endpoint;
  control::FailureDetector& detector;
  control::Outbox& outbox;
  DurableState durable;
  log::LogState state;
  SplitMix random;
  Position applied;      // as told by the application, or delivered; not yet durable
  Position installed{};  // up to here the application holds a state that it got from elsewhere
  Position reader_hold{UINT64_MAX};  // nothing above it is trimmed

  const log::Membership& membership() const { return state.membership(); }
  // This replica takes part in decisions: it has a voice under the birth it was admitted with.
  bool elector() const { return is_elector(membership()); }
  bool is_elector(const log::Membership& view) const {
    return view.electors().has(options.self) &&
           view.births[options.self.value] == durable.superblock().birth;
  }
};

// term = round * 256 + candidate: no two replicas ever choose the same one (P3).
constexpr ReplicaId owner(Term term) { return ReplicaId{static_cast<uint8_t>(term.value & 0xff)}; }
constexpr Term term_above(Term seen, ReplicaId self) {
  return Term{((seen.value >> 8) + 1) << 8 | self.value};
}

}  // namespace caisson::replication
