// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "pmem/region_format.hpp"
#include "tests/pmem/scratch.hpp"
#include "tests/transport/fabric_bench.hpp"
#include "transport/verbs/verbs_endpoint.hpp"

namespace caisson::transport::testing {

namespace {

constexpr std::array kAll{kA, kB, kC};

// The device that the environment names; else the first one.
verbs::DeviceOptions device_options() {
  verbs::DeviceOptions options;
  if (const char* const name = std::getenv("CAISSON_VERBS_DEVICE")) options.name = name;
  return options;
}

std::shared_ptr<verbs::Device> open_device() {
  auto device = verbs::Device::open(device_options());
  if (!device) throw std::runtime_error(device.error().message);
  return *device;
}

std::vector<std::string> devices() {
  const char* const names = std::getenv("CAISSON_TEST_DEVICES");
  std::istringstream in(names != nullptr ? names : "");
  return {std::istream_iterator<std::string>(in), {}};
}

// Three endpoints of one process on one adapter. What they have to tell each other is carried as
// the control plane would.
class VerbsBench final : public FabricBench {
 public:
  explicit VerbsBench(Making making) : making_(making), device_(open_device()) {
    for (const ReplicaId id : kAll) create(id);
    for (const ReplicaId id : kAll) open(id);
    get_acquainted();
  }

  Endpoint& endpoint(ReplicaId id) override { return *replica(id).endpoint; }
  std::vector<std::byte> ring(ReplicaId id) override {
    const std::byte* const at = replica(id).region->ring_data();
    return {at, at + kRingBytes};
  }
  void store_own(ReplicaId id, Offset at, std::span<const std::byte> bytes) override {
    replica(id).region->store_ring(at, bytes.data(), bytes.size());
    replica(id).region->persist_ring(at, bytes.size());
  }
  void store_claimed(ReplicaId, std::byte* at, std::span<const std::byte> bytes) override {
    std::memcpy(at, bytes.data(), bytes.size());
  }
  void restart(ReplicaId id) override {
    replica(id).endpoint.reset();
    replica(id).region.reset();
    open(id);
    get_acquainted();
  }
  void pass() override {
    carry();
    attend();
    ::usleep(50);
  }
  void settle() override {
    for (int i = 0; i < 10; ++i) {
      ::usleep(10'000);
      attend();
    }
  }

 private:
  struct Replica {
    std::unique_ptr<pmem::FileRegion> region;
    std::unique_ptr<verbs::VerbsEndpoint> endpoint;
  };
  void create(ReplicaId id) const {
    auto options = pmem::testing::small_region(kRingBytes);
    if (making_ == Making::by_flush) {
      const auto gone =
          pmem::FileRegion::erase(path(id), [](std::span<const std::byte>) { return true; });
      if (!gone) throw std::runtime_error(gone.error().message);
      options.geometry.segment_bytes = pmem::kDeviceAlignBytes;
      options.spare_slots = 0;
      options.persistence = pmem::PersistenceChoice::real;
    }
    const auto made = pmem::FileRegion::create(path(id), options);
    if (!made) throw std::runtime_error(made.error().message);
  }
  std::string path(ReplicaId id) const {
    if (making_ == Making::by_flush) return devices().at(id.value - 1u);
    return directory_ / ("replica-" + std::to_string(id.value)).c_str();
  }
  Replica& replica(ReplicaId id) { return replicas_[id.value - 1u]; }
  void open(ReplicaId id) {
    Replica& r = replica(id);
    auto region = pmem::FileRegion::open(path(id), making_ == Making::by_flush
                                                       ? pmem::PersistenceChoice::real
                                                       : pmem::PersistenceChoice::emulated);
    if (!region) throw std::runtime_error(region.error().message);
    r.region = std::move(*region);
    verbs::VerbsOptions options;
    options.self = id;
    options.peers = set_of({kA, kB, kC});
    options.device = device_;
    if (making_ == Making::by_target) options.method = verbs::Method::target_flush;
    auto endpoint = verbs::VerbsEndpoint::create(*r.region, options);
    if (!endpoint) throw std::runtime_error(endpoint.error().message);
    r.endpoint = std::move(*endpoint);
    constexpr std::array kMethods{verbs::Method::read_after_write, verbs::Method::target_flush,
                                  verbs::Method::flush};
    EXPECT_EQ(r.endpoint->method(), kMethods.at(static_cast<size_t>(making_)));
  }
  void attend() {
    for (const ReplicaId id : kAll) (void)replica(id).endpoint->attend();
  }
  // Everything that somebody has to say, once.
  void carry() {
    now_ns_ += 1'000'000;
    for (const ReplicaId from : kAll) {
      for (const ReplicaId to : kAll) {
        if (from == to) continue;
        const auto said = replica(from).endpoint->introduction(to, now_ns_);
        if (!said.empty()) (void)replica(to).endpoint->meet(from, said);
      }
    }
  }
  bool acquainted() {
    for (const ReplicaId from : kAll) {
      for (const ReplicaId to : kAll) {
        if (from != to && !replica(from).endpoint->reachable(to)) return false;
      }
    }
    return true;
  }
  void get_acquainted() {
    for (int i = 0; i < 1000 && !acquainted(); ++i) carry();
    EXPECT_TRUE(acquainted()) << "the endpoints do not get to know each other";
  }

  pmem::testing::ScratchDirectory directory_;
  const Making making_;
  std::shared_ptr<verbs::Device> device_;
  std::array<Replica, 3> replicas_;
  uint64_t now_ns_ = 0;
};

}  // namespace

std::unique_ptr<FabricBench> make_verbs_bench(Making making) {
  return std::make_unique<VerbsBench>(making);
}

const char* why_no_verbs() {
  static const std::string why = [] {
    const auto device = verbs::Device::open(device_options());
    return device ? "" : device.error().message;
  }();
  return why.empty() ? nullptr : why.c_str();
}

const char* why_no_flush() {
  if (const char* const why = why_no_verbs()) return why;
  if (devices().size() < kAll.size()) {
    return "needs three devdax devices that may be overwritten: CAISSON_TEST_DEVICES";
  }
  return open_device()->limits().flush ? nullptr : "the adapter, or the library, has no RDMA FLUSH";
}

}  // namespace caisson::transport::testing
