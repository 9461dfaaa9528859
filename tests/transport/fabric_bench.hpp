// SPDX-License-Identifier: BSD-3-Clause
// Three replicas of one log on a fabric, for what every fabric has to promise
// (transport/fabric.hpp). A fabric takes part by a bench of its own, named in conformance_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "transport/fabric.hpp"

namespace caisson::transport::testing {

inline constexpr ReplicaId kA{1}, kB{2}, kC{3};
inline constexpr uint64_t kRingBytes = 2 << 20;  // a page of a device, at least

inline ReplicaSet set_of(std::initializer_list<ReplicaId> ids) {
  ReplicaSet set;
  for (const ReplicaId id : ids) set.add(id);
  return set;
}

inline std::vector<std::byte> filled(size_t n, uint64_t seed) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    bytes[i] = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

class FabricBench {
 public:
  virtual ~FabricBench() = default;
  virtual Endpoint& endpoint(ReplicaId id) = 0;
  // What the replica's own processor finds in its ring.
  virtual std::vector<std::byte> ring(ReplicaId id) = 0;
  // The owner stores and persists, as recovery does.
  virtual void store_own(ReplicaId id, Offset at, std::span<const std::byte> bytes) = 0;
  // An application stores at an address that claim() gave it, in time or too late.
  virtual void store_claimed(ReplicaId id, std::byte* at, std::span<const std::byte> bytes) = 0;
  // The replica's process dies, and another one opens what it left.
  virtual void restart(ReplicaId id) = 0;
  // A moment goes by: whatever is on its way may go on.
  virtual void pass() = 0;
  // … and everything that is on its way has arrived.
  virtual void settle() = 0;
};

std::unique_ptr<FabricBench> make_shm_bench();
// Another seed is another order of events.
std::unique_ptr<FabricBench> make_sim_bench(uint64_t seed);
// Who makes persistent what is written over RDMA: whatever gets a read back (regions are emulated),
// the target's processor, or RDMA FLUSH (regions are persistent memory).
enum class Making { by_adapter, by_target, by_flush };
// Needs an RDMA device, and by_flush three devdax devices that may be overwritten, which
// CAISSON_TEST_DEVICES names; why there is none, or null.
std::unique_ptr<FabricBench> make_verbs_bench(Making making);
const char* why_no_verbs();
const char* why_no_flush();

}  // namespace caisson::transport::testing
