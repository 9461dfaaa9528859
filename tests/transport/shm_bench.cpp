// SPDX-License-Identifier: BSD-3-Clause
#include <array>
#include <cstring>

#include "tests/shm/endpoints.hpp"
#include "tests/transport/fabric_bench.hpp"

namespace caisson::transport::testing {

namespace {

using shm::testing::Replica;

static_assert(kRingBytes == shm::testing::kRing);

class ShmBench final : public FabricBench {
 public:
  ShmBench() {
    shm::testing::create_regions(directory_);
    for (const ReplicaId id : {kA, kB, kC}) open(id);
    for (const ReplicaId id : {kA, kB, kC}) look_around(id);
  }

  Endpoint& endpoint(ReplicaId id) override { return replica(id)->endpoint; }
  std::vector<std::byte> ring(ReplicaId id) override { return replica(id)->ring(); }
  void store_own(ReplicaId id, Offset at, std::span<const std::byte> bytes) override {
    replica(id)->region->store_ring(at, bytes.data(), bytes.size());
    replica(id)->region->persist_ring(at, bytes.size());
  }
  void store_claimed(ReplicaId, std::byte* at, std::span<const std::byte> bytes) override {
    std::memcpy(at, bytes.data(), bytes.size());
  }
  void restart(ReplicaId id) override {
    replica(id).reset();
    open(id);
    look_around(id);
  }
  void pass() override {}
  void settle() override {}

 private:
  std::unique_ptr<Replica>& replica(ReplicaId id) { return replicas_[id.value - 1u]; }
  void open(ReplicaId id) { replica(id) = std::make_unique<Replica>(directory_, id); }
  void look_around(ReplicaId id) {
    for (const ReplicaId other : {kA, kB, kC}) {
      if (other == id) continue;
      const auto warmed = replica(id)->endpoint.warm(other);
      EXPECT_TRUE(warmed) << warmed.error().message;
    }
  }

  shm::testing::ScratchDirectory directory_;
  std::array<std::unique_ptr<Replica>, 3> replicas_;
};

}  // namespace

std::unique_ptr<FabricBench> make_shm_bench() { return std::make_unique<ShmBench>(); }

}  // namespace caisson::transport::testing
