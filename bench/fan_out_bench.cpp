// SPDX-License-Identifier: BSD-3-Clause
// What the shared-memory fabric adds to the floor: one entry placed in three rings, fenced and
// counted. The last line of each pair is the floor for the same bytes.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "bench/floor.hpp"
#include "bench/floor_stores.hpp"
#include "pmem/file_region.hpp"
#include "transport/shm/shm_endpoint.hpp"

namespace caisson::bench {
namespace {

constexpr uint64_t kRingBytes = 64ull << 20;
constexpr uint64_t kSegmentBytes = 256ull << 10;
constexpr uint8_t kReplicas = 3;
const std::filesystem::path kDirectory = "/dev/shm";

// Three regions and their endpoints in one process; replica 1 writes.
class Trio {
 public:
  Trio() {
    const std::vector<std::byte> superblock(64);
    transport::shm::ShmOptions options;
    for (uint8_t id = 1; id <= kReplicas; ++id) {
      options.peers[ReplicaId{id}] =
          (kDirectory / ("fan-out-" + std::to_string(getpid()) + "-" + std::to_string(id)))
              .string();
    }
    for (uint8_t id = 1; id <= kReplicas; ++id) {
      pmem::CreateOptions create;
      create.geometry = {kRingBytes, kSegmentBytes, kSegmentBytes};
      create.superblock = superblock;
      auto region = pmem::FileRegion::create(options.peers[ReplicaId{id}], create);
      if (!region) return;
      regions_.push_back(std::move(*region));
    }
    for (uint8_t id = 1; id <= kReplicas; ++id) {
      options.self = ReplicaId{id};
      transport::shm::ShmOptions own = options;
      own.peers.erase(ReplicaId{id});
      endpoints_.push_back(
          std::make_unique<transport::shm::BasicShmEndpoint<>>(*regions_[id - 1u], own));
    }
    ready_ = open_rings();
  }
  ~Trio() {
    endpoints_.clear();
    for (const auto& region : regions_) std::filesystem::remove(region->path());
  }
  Trio(const Trio&) = delete;
  Trio& operator=(const Trio&) = delete;

  bool ready() const { return ready_; }
  transport::Endpoint& writer() { return *endpoints_[0]; }
  transport::ReplicaSet followers() const {
    transport::ReplicaSet set;
    for (uint8_t id = 2; id <= kReplicas; ++id) set.add(ReplicaId{id});
    return set;
  }

 private:
  bool open_rings() {
    if (writer().revoke_all() != Code::ok) return false;
    for (uint8_t id = 2; id <= kReplicas; ++id) {
      transport::Endpoint& target = *endpoints_[id - 1u];
      if (target.revoke_all() != Code::ok) return false;
      const auto grant = target.grant(ReplicaId{1}, Term{257});
      if (!grant || writer().attach(ReplicaId{id}, *grant, Offset{0}) != Code::ok) return false;
    }
    return true;
  }

  std::vector<std::unique_ptr<pmem::FileRegion>> regions_;
  std::vector<std::unique_ptr<transport::Endpoint>> endpoints_;
  bool ready_ = false;
};

void fan_out(benchmark::State& state) {
  Trio trio;
  if (!trio.ready()) {
    state.SkipWithError("no regions");
    return;
  }
  const auto bytes = static_cast<size_t>(state.range(0));
  alignas(64) static std::array<std::byte, (64 << 10) + 64> source{};
  std::array<transport::Completion, 16> completions;
  uint64_t at = 0;
  for (auto _ : state) {
    trio.writer().fan_out(trio.followers(), Offset{at}, source.data(), bytes);
    at += bytes;
    trio.writer().complete_through(trio.followers(), true, Offset{at});
    size_t counted = 0;
    while (counted < kReplicas) {
      const size_t n = trio.writer().poll(completions);
      if (n == 0) {
        state.SkipWithError("nothing completed");
        return;
      }
      counted += n;
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void floor_of(benchmark::State& state) {
  FloorOptions options;
  options.directory = kDirectory;
  options.regions = kReplicas;
  options.ring_bytes = kRingBytes;
  options.payload_bytes = static_cast<uint64_t>(state.range(0)) - kFloorHeaderBytes;
  options.samples_max = 1;
  const auto floor = Floor::create(options);
  if (!floor) {
    state.SkipWithError(floor.error().message.c_str());
    return;
  }
  constexpr uint64_t kSliceNs = 100'000'000;
  double best = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < (*floor)->variants().size(); ++i) (*floor)->run(i, kSliceNs);
    best = (*floor)->highest_rate().entries_per_s();
    state.SetIterationTime(1 / best);
  }
  state.SetLabel((*floor)->highest_rate().name);
}

BENCHMARK(fan_out)->Arg(128)->Arg(1024 + 64)->Arg(4096 + 64)->Arg(64 << 10);
BENCHMARK(floor_of)
    ->Arg(128)
    ->Arg(1024 + 64)
    ->Arg(4096 + 64)
    ->Arg(64 << 10)
    ->UseManualTime()
    ->Iterations(1);

}  // namespace
}  // namespace caisson::bench

BENCHMARK_MAIN();
