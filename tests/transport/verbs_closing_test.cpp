// SPDX-License-Identifier: BSD-3-Clause
// What an endpoint of the verbs fabric promises beyond every fabric's.
#include <gtest/gtest.h>

#include <array>

#include "tests/transport/fabric_bench.hpp"
#include "transport/verbs/verbs_endpoint.hpp"

namespace caisson::transport::testing {
namespace {

// Its region's next owner, in another process, knows nothing of its connections (H9).
TEST(VerbsClosing, AClosedEndpointIsNotWrittenToAnyMore) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench();
  auto& target = dynamic_cast<verbs::VerbsEndpoint&>(bench->endpoint(kB));
  Endpoint& leader = bench->endpoint(kA);
  target.publish_promise(Term{5}, 7);
  EXPECT_EQ(leader.standing_of(kB).promised, Term{5});
  const auto grant = target.grant(kA, Term{1});
  ASSERT_TRUE(grant) << grant.error().message;
  ASSERT_EQ(leader.attach(kB, *grant, Offset{0}), Code::ok);
  const auto post = [&](uint64_t at, uint64_t seed) {
    const auto bytes = filled(4096, seed);
    leader.fan_out(set_of({kB}), Offset{at}, bytes.data(), bytes.size());
    leader.complete_through(set_of({kB}), true, Offset{at + bytes.size()});
  };
  post(0, 1);
  bench->settle();

  ASSERT_EQ(target.close(), Code::ok);
  const auto held = bench->ring(kB);
  post(4096, 2);
  bool fenced = false;
  for (int i = 0; i < 100'000 && !fenced; ++i) {
    std::array<Completion, 4> out;
    const size_t n = leader.poll(out);
    for (size_t k = 0; k < n; ++k) {
      if (out[k].target != kB) continue;
      fenced = fenced || out[k].code == Code::fenced;
      EXPECT_LE(out[k].persisted_through, Offset{4096}) << "of an endpoint that is closed";
    }
    bench->pass();
  }
  EXPECT_TRUE(fenced) << "the writer is not told";
  EXPECT_TRUE(bench->ring(kB) == held);
  EXPECT_EQ(leader.standing_of(kB).promised, Term{}) << "its word is its successor's now";
}

}  // namespace
}  // namespace caisson::transport::testing
