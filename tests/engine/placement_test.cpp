// SPDX-License-Identifier: BSD-3-Clause
// Where pollers run: a core each for all replicas of the machine, or none of them is pinned.
#include "core/engine/placement.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <set>

#include "caisson/options.hpp"

namespace caisson::engine {
namespace {

EngineOptions replica_of(uint8_t replicas, uint8_t self) {
  EngineOptions options;
  options.replica = ReplicaId{self};
  for (uint8_t id = 1; id <= replicas; ++id) {
    options.peers.push_back({ReplicaId{id}, "127.0.0.1", id, "/data"});
  }
  options.logs.resize(2);
  return options;
}

bool may_use(int core) {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return core >= 0 && CPU_ISSET(static_cast<size_t>(core), &set);
}

TEST(Placement, ReplicasThatFitOntoTheMachineHaveCoresOfTheirOwn) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology) << topology.error().message;
  const auto alone = (*topology)->place(replica_of(1, 1));
  ASSERT_TRUE(alone);
  for (uint8_t replicas = 1; replicas <= std::min(alone->cores_allowed, 7u); ++replicas) {
    std::set<int> taken;
    for (uint8_t self = 1; self <= replicas; ++self) {
      const auto placement = (*topology)->place(replica_of(replicas, self));
      ASSERT_TRUE(placement) << placement.error().message;
      // Cores share what they run on with their hyperthreads: there may be fewer that are free.
      if (!placement->warning.empty()) continue;
      ASSERT_FALSE(placement->seats.empty());
      for (const PollerSeat& seat : placement->seats) {
        EXPECT_TRUE(may_use(seat.core)) << seat.core;
        EXPECT_TRUE(taken.insert(seat.core).second) << seat.core << " is given twice";
      }
    }
  }
}

TEST(Placement, TooManyForTheMachineAreNotPinnedAndItIsSaid) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology);
  EngineOptions crowd = replica_of(63, 1);
  while (crowd.peers.size() < 5000) crowd.peers.push_back(crowd.peers.back());
  const auto placement = (*topology)->place(crowd);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->seats.size(), 1u);
  EXPECT_EQ(placement->seats[0].core, -1);
  EXPECT_NE(placement->warning.find("poller.cores"), std::string::npos);
}

TEST(Placement, NamedCoresAreTakenOrRefused) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology);
  int first = 0;
  while (!may_use(first)) ++first;
  EngineOptions options = replica_of(3, 2);
  options.poller_cores = {first, -1};
  const auto placement = (*topology)->place(options);
  ASSERT_TRUE(placement) << placement.error().message;
  ASSERT_EQ(placement->seats.size(), 2u);
  EXPECT_EQ(placement->seats[0].core, first);
  EXPECT_EQ(placement->seats[1].core, -1);
  options.poller_cores = {4095};
  const auto refused = (*topology)->place(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid);
}

// R36: who names a core on another NUMA node than the adapter's is asked whether they mean it.
TEST(Placement, ACoreFarFromTheAdapterIsRefusedUnlessItIsMeant) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology);
  EngineOptions options = replica_of(1, 1);
  const auto chosen = (*topology)->place(options);
  ASSERT_TRUE(chosen);
  const PollerSeat seat = chosen->seats.front();
  ASSERT_GE(seat.numa_node, 0);
  options.poller_cores = {seat.core};
  const AdapterSite near{"mlx5_0", seat.numa_node};
  const AdapterSite far{"mlx5_1", seat.numa_node + 40};
  EXPECT_TRUE((*topology)->place(options, near));
  EXPECT_TRUE((*topology)->place(options, {"rxe0", -1})) << "nobody knows where it is";
  const auto refused = (*topology)->place(options, far);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_NE(refused.error().message.find("mlx5_1"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("poller.cross_numa"), std::string::npos);
  options.cross_numa = true;
  EXPECT_TRUE((*topology)->place(options, far));
}

TEST(Placement, OnMachinesOfTheirOwnReplicasDoNotShareCores) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology);
  EngineOptions crowd = replica_of(63, 5);
  while (crowd.peers.size() < 5000) crowd.peers.push_back(crowd.peers.back());
  crowd.fabric = FabricKind::verbs;
  const auto placement = (*topology)->place(crowd);
  ASSERT_TRUE(placement);
  EXPECT_GE(placement->seats.front().core, 0);
  EXPECT_EQ(placement->warning, "");
  const auto far = (*topology)->place(crowd, {"mlx5_1", placement->seats.front().numa_node + 40});
  ASSERT_TRUE(far);
  EXPECT_NE(far->warning.find("mlx5_1"), std::string::npos) << far->warning;
}

}  // namespace
}  // namespace caisson::engine
