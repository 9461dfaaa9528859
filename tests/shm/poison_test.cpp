// SPDX-License-Identifier: BSD-3-Clause
// R44 on the shared-memory fabric: whoever stores into a peer's ring meets the pages that are gone
// there, in its own process.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/shm/endpoints.hpp"

namespace caisson::transport::shm {
namespace {

using namespace testing;  // NOLINT

class ShmPoison : public ::testing::Test {
 protected:
  void SetUp() override {
    create_regions(directory_);
    a_ = std::make_unique<Replica>(directory_, kA);
    b_ = std::make_unique<Replica>(directory_, kB);
    c_ = std::make_unique<Replica>(directory_, kC);
    for (const auto& [id, target] : {std::pair{kB, b_.get()}, std::pair{kC, c_.get()}}) {
      ASSERT_EQ(target->endpoint.revoke_all(), Code::ok);
      const auto grant = target->endpoint.grant(kA, Term{1});
      ASSERT_TRUE(grant) << grant.error().message;
      ASSERT_EQ(a_->endpoint.attach(id, *grant, Offset{0}), Code::ok);
    }
  }
  void cut(ReplicaId id) {
    std::filesystem::resize_file(region_path(directory_, id),
                                 pmem::RegionLayout(a_->region->geometry()).slots_at);
  }
  std::vector<Completion> append() {
    const auto bytes = filled(64, 1);
    a_->endpoint.fan_out(set_of({kB, kC}), Offset{0}, bytes.data(), 64);
    a_->endpoint.complete_through(set_of({kB, kC}), true, Offset{64});
    std::vector<Completion> out(8);
    out.resize(a_->endpoint.poll(out));
    return out;
  }

  ScratchDirectory directory_;
  std::unique_ptr<Replica> a_, b_, c_;
};

TEST_F(ShmPoison, WhatWasStoredToAPeersLostPageIsNotCounted) {
  cut(kB);
  const auto completions = append();
  ASSERT_EQ(completions.size(), 3u);
  for (const Completion& done : completions) {
    const bool lost = done.target == kB;
    EXPECT_EQ(done.code, lost ? Code::fenced : Code::ok) << int{done.target.value};
    EXPECT_EQ(done.persisted_through, Offset{lost ? 0u : 64u}) << int{done.target.value};
  }
  EXPECT_FALSE(a_->region->poisoned()) << "our own memory is well";
  std::byte bytes[64];
  EXPECT_FALSE(a_->endpoint.read(kB, Offset{0}, bytes, sizeof bytes));
  EXPECT_TRUE(a_->endpoint.read(kC, Offset{0}, bytes, sizeof bytes));
  EXPECT_EQ(a_->endpoint.standing_of(kB).promised, Term{}) << "it proves nothing";
  (void)b_->endpoint.revoke_all();
  EXPECT_TRUE(b_->region->poisoned()) << "its own process meets it, too";
}

TEST_F(ShmPoison, APeerWhosePageIsLostIsNotTakenUpAgain) {
  cut(kB);
  (void)append();
  // As if its owner had not met the page yet.
  const Grant before{Term{2}, 9, {}};
  const GrantBlob blob{kControlMagic, b_->region->uuid(), b_->region->manifest_generation(), kRing,
                       kSegment};
  Grant grant = before;
  const auto bytes = std::as_bytes(std::span(&blob, 1));
  grant.blob.assign(bytes.begin(), bytes.end());
  EXPECT_EQ(a_->endpoint.attach(kB, grant, Offset{0}), Code::damaged);
}

TEST_F(ShmPoison, WhatWasStoredToOurOwnLostPageIsNotCounted) {
  cut(kA);
  const auto completions = append();
  ASSERT_EQ(completions.size(), 2u);
  EXPECT_TRUE(a_->region->poisoned());
  for (const Completion& done : completions) {
    EXPECT_NE(done.target, kA);
    EXPECT_EQ(done.code, Code::ok);
  }
}

}  // namespace
}  // namespace caisson::transport::shm
