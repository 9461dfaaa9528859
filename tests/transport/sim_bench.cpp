// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <array>

#include "pmem/shadow_region.hpp"
#include "tests/transport/fabric_bench.hpp"
#include "transport/sim/sim_fabric.hpp"

namespace caisson::transport::testing {

namespace {

constexpr uint64_t kMomentNs = 1'000;
constexpr uint64_t kLongNs = 10'000'000;  // nothing is that late

sim::SimOptions nasty(uint64_t seed) {
  sim::Random random(seed);
  sim::SimOptions o;
  o.late_permille = static_cast<uint32_t>(random.below(100));
  o.scatter_permille = static_cast<uint32_t>(random.below(1000));
  o.words_permille = static_cast<uint32_t>(random.below(300));
  o.duplicate_permille = static_cast<uint32_t>(random.below(300));
  o.early_placed_permille = static_cast<uint32_t>(random.below(1000));
  o.live_source_permille = static_cast<uint32_t>(random.below(1000));
  o.stale_cell_permille = static_cast<uint32_t>(random.below(1000));
  return o;
}

class SimBench final : public FabricBench {
 public:
  explicit SimBench(uint64_t seed) : fabric_(nasty(seed), seed) {
    for (const ReplicaId id : {kA, kB, kC}) {
      region(id) = std::make_unique<pmem::ShadowRegion>(pmem::Geometry{kRingBytes, 4096, 16 * 1024},
                                                        Persistence::adr);
      fabric_.add_node(id, *region(id));
    }
    for (const ReplicaId id : {kA, kB, kC}) process(id) = fabric_.open_endpoint(id);
  }

  Endpoint& endpoint(ReplicaId id) override { return *process(id); }
  std::vector<std::byte> ring(ReplicaId id) override {
    return region(id)->ring_bytes_at(Offset{0}, kRingBytes);
  }
  void store_own(ReplicaId id, Offset at, std::span<const std::byte> bytes) override {
    region(id)->store_ring(at, bytes.data(), bytes.size());
    region(id)->persist_ring(at, bytes.size());
  }
  void store_claimed(ReplicaId id, std::byte* at, std::span<const std::byte> bytes) override {
    EXPECT_TRUE(fabric_.application_store(id, at, bytes));
  }
  void restart(ReplicaId id) override {
    fabric_.process_died(id);
    process(id) = fabric_.open_endpoint(id);
  }
  void pass() override { fabric_.run_until(fabric_.now_ns() + kMomentNs); }
  void settle() override { fabric_.run_until(fabric_.now_ns() + kLongNs); }

 private:
  std::unique_ptr<pmem::ShadowRegion>& region(ReplicaId id) { return regions_[id.value - 1u]; }
  std::unique_ptr<Endpoint>& process(ReplicaId id) { return processes_[id.value - 1u]; }

  std::array<std::unique_ptr<pmem::ShadowRegion>, 3> regions_;
  sim::SimFabric fabric_;
  std::array<std::unique_ptr<Endpoint>, 3> processes_;
};

}  // namespace

std::unique_ptr<FabricBench> make_sim_bench(uint64_t seed) {
  return std::make_unique<SimBench>(seed);
}

}  // namespace caisson::transport::testing
