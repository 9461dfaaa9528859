// SPDX-License-Identifier: BSD-3-Clause
// A few replicas of one log in one process or in several, for tests of the shared-memory fabric.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <vector>

#include "tests/pmem/scratch.hpp"
#include "tests/transport/fabric_bench.hpp"
#include "transport/shm/shm_endpoint.hpp"

namespace caisson::transport::shm::testing {

using pmem::testing::exit_status;
using pmem::testing::ScratchDirectory;
using pmem::testing::spawn;
using transport::testing::filled;
using transport::testing::kA;
using transport::testing::kB;
using transport::testing::kC;
using transport::testing::set_of;

inline constexpr uint64_t kSegment = pmem::kSegmentBytesMin;
inline constexpr uint64_t kRing = 32 * kSegment;

inline std::string region_path(const ScratchDirectory& directory, ReplicaId id) {
  return directory / ("replica-" + std::to_string(id.value)).c_str();
}

inline ShmOptions options_for(const ScratchDirectory& directory, ReplicaId self,
                              bool one_thread = false) {
  ShmOptions options;
  options.self = self;
  options.one_thread = one_thread;
  for (const ReplicaId id : {kA, kB, kC}) options.peers[id] = region_path(directory, id);
  return options;
}

inline void create_regions(const ScratchDirectory& directory) {
  for (const ReplicaId id : {kA, kB, kC}) {
    ASSERT_TRUE(
        pmem::FileRegion::create(region_path(directory, id), pmem::testing::small_region(kRing)));
  }
}

// One replica: its region and its endpoint, opened together.
template <class Probe = NoProbe>
struct BasicReplica {
  BasicReplica(const ScratchDirectory& directory, ReplicaId self, Probe probe = {},
               bool one_thread = false)
      : region(*pmem::FileRegion::open(region_path(directory, self),
                                       pmem::PersistenceChoice::emulated)),
        endpoint(*region, options_for(directory, self, one_thread), probe) {}
  std::unique_ptr<pmem::FileRegion> region;
  BasicShmEndpoint<Probe> endpoint;

  std::vector<std::byte> ring() const {
    return {region->ring_data(), region->ring_data() + region->geometry().ring_bytes};
  }
};
using Replica = BasicReplica<>;

// Memory shared with forked children.
template <class T>
class Shared {
 public:
  Shared()
      : value_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                           -1, 0)) T()) {}
  ~Shared() { ::munmap(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

inline void wait_until(const std::function<bool()>& condition) {
  while (!condition()) ::usleep(50);
}

}  // namespace caisson::transport::shm::testing
