// SPDX-License-Identifier: BSD-3-Clause
#include "core/log/quorum.hpp"

#include <gtest/gtest.h>

namespace caisson::log {
namespace {

constexpr uint32_t kVoters = 7;

ReplicaSet first(uint32_t count) { return {((uint64_t{1} << count) - 1) << 1}; }

template <class Each>
void for_each_system(Each each) {
  each(QuorumSystem{});
  each(QuorumSystem{QuorumSystem::kAll});
  for (uint8_t commit = 1; commit <= kVoters; ++commit) each(QuorumSystem{commit});
}

// R17, by going through all pairs of sets.
TEST(Quorum, WhatCommitsMeetsWhatElects) {
  for_each_system([](QuorumSystem system) {
    for (uint32_t n = 1; n <= kVoters; ++n) {
      const ReplicaSet voters = first(n);
      EXPECT_TRUE(system.commits(voters, voters) && system.elects(voters, voters));
      EXPECT_FALSE(system.commits(voters, {}) || system.elects(voters, {}));
      for (uint64_t a = 0; a <= voters.bits; a += 2) {
        bool meets_elections = true;
        bool meets_commits = true;
        for (uint64_t b = 0; b <= voters.bits; b += 2) {
          const bool meet = (a & b) != 0;
          if (system.elects(voters, {b})) meets_elections = meets_elections && meet;
          if (system.commits(voters, {b})) meets_commits = meets_commits && meet;
        }
        ASSERT_EQ(system.meets_elections(voters, {a}), meets_elections) << n << ' ' << a;
        ASSERT_EQ(system.meets_commits(voters, {a}), meets_commits) << n << ' ' << a;
        if (system.commits(voters, {a})) {
          ASSERT_TRUE(meets_elections) << "commit " << int{system.commit} << " of " << n;
        }
      }
    }
  });
}

TEST(Quorum, MajoritiesAreMoreThanHalf) {
  for (uint32_t n = 1; n <= kVoters; ++n) {
    EXPECT_EQ(QuorumSystem{}.commits(n), n / 2 + 1);
    EXPECT_EQ(QuorumSystem{}.elects(n), n / 2 + 1);
  }
}

TEST(Quorum, FewerVotersThanCopiesAllCommit) {
  EXPECT_EQ(QuorumSystem{3}.commits(2), 2u);
  EXPECT_EQ(QuorumSystem{3}.elects(2), 1u);
  EXPECT_EQ(QuorumSystem{QuorumSystem::kAll}.commits(5), 5u);
  EXPECT_EQ(QuorumSystem{QuorumSystem::kAll}.elects(5), 1u);
}

}  // namespace
}  // namespace caisson::log
