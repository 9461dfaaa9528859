// SPDX-License-Identifier: BSD-3-Clause
// What an endpoint of the verbs fabric promises beyond every fabric's.
#include "transport/verbs/verbs_endpoint.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "tests/transport/fabric_bench.hpp"
#include "transport/verbs/device.hpp"

namespace caisson::transport::testing {
namespace {

// A writes to B, from there on.
void take_up(FabricBench& bench, Offset from) {
  const auto grant = bench.endpoint(kB).grant(kA, Term{1});
  ASSERT_TRUE(grant) << grant.error().message;
  ASSERT_EQ(bench.endpoint(kA).attach(kB, *grant, from), Code::ok);
}

// Its region's next owner, in another process, knows nothing of its connections (H9).
TEST(VerbsEndpoint, AClosedEndpointIsNotWrittenToAnyMore) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_adapter);
  auto& target = dynamic_cast<verbs::VerbsEndpoint&>(bench->endpoint(kB));
  Endpoint& leader = bench->endpoint(kA);
  target.publish_promise(Term{5}, 7);
  EXPECT_EQ(leader.standing_of(kB).promised, Term{5});
  ASSERT_NO_FATAL_FAILURE(take_up(*bench, Offset{0}));
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

// Method::target_flush: what lies in the target's caches is not persistent, however sure the
// writer's adapter is that it arrived.
TEST(VerbsEndpoint, OnlyTheTargetsAnswerMakesItPersistent) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_target);
  auto& target = dynamic_cast<verbs::VerbsEndpoint&>(bench->endpoint(kB));
  Endpoint& leader = bench->endpoint(kA);
  ASSERT_NO_FATAL_FAILURE(take_up(*bench, Offset{128}));
  const auto bytes = filled(64 * 1024, 1);
  leader.fan_out(set_of({kB}), Offset{128}, bytes.data(), bytes.size());
  const Offset end{128 + bytes.size()};
  leader.complete_through(set_of({kB}), true, end);

  Completion last{kB, Code::ok, Offset{128}, Offset{128}};
  const auto look = [&] {
    std::array<Completion, 4> out;
    for (size_t i = 0, n = leader.poll(out); i < n; ++i) {
      if (out[i].target == kB) last = out[i];
    }
  };
  for (int i = 0; i < 1'000'000 && last.placed_through < end; ++i) look();
  EXPECT_EQ(last.placed_through, end);
  EXPECT_EQ(last.persisted_through, Offset{128}) << "nobody has flushed it";
  EXPECT_EQ(target.counts().flushes, 0u);
  for (int i = 0; i < 1'000'000 && last.persisted_through < end; ++i) {
    (void)target.attend();
    look();
  }
  EXPECT_EQ(last.code, Code::ok);
  EXPECT_EQ(last.persisted_through, end);
  EXPECT_EQ(target.counts().flushes, 1u);
}

// A writer never has more marks unanswered than there are buffers; what has no mark is no such.
TEST(VerbsEndpoint, CommitCellsUseUpNoMarks) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_target);
  Endpoint& leader = bench->endpoint(kA);
  ASSERT_NO_FATAL_FAILURE(take_up(*bench, Offset{0}));
  Offset persisted;
  const auto look = [&] {
    std::array<Completion, 4> out;
    for (size_t i = 0, n = leader.poll(out); i < n; ++i) {
      EXPECT_EQ(out[i].code, Code::ok);
      if (out[i].target == kB) persisted = out[i].persisted_through;
    }
  };
  for (uint64_t i = 1; i <= 10'000; ++i) {
    leader.write_commit_cell(set_of({kB}), {Term{1}, Position{i}, 0, Position{}});
    look();
  }
  const auto bytes = filled(4096, 2);
  leader.fan_out(set_of({kB}), Offset{0}, bytes.data(), bytes.size());
  leader.complete_through(set_of({kB}), true, Offset{4096});
  for (int i = 0; i < 20'000 && persisted < Offset{4096}; ++i) {
    bench->pass();
    look();
  }
  EXPECT_EQ(persisted, Offset{4096});
}

// Everything of it is acknowledged by then, and nothing else is posted.
TEST(VerbsEndpoint, WhoWaitsForAnAnswerNoticesThatTheTargetIsGone) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_target);
  auto& target = dynamic_cast<verbs::VerbsEndpoint&>(bench->endpoint(kB));
  Endpoint& leader = bench->endpoint(kA);
  ASSERT_NO_FATAL_FAILURE(take_up(*bench, Offset{0}));
  const auto bytes = filled(4096, 3);
  leader.fan_out(set_of({kB}), Offset{0}, bytes.data(), bytes.size());
  leader.complete_through(set_of({kB}), true, Offset{4096});
  bool placed = false, fenced = false;
  const auto look = [&] {
    std::array<Completion, 4> out;
    for (size_t i = 0, n = leader.poll(out); i < n; ++i) {
      if (out[i].target != kB) continue;
      EXPECT_EQ(out[i].persisted_through, Offset{0});
      placed = placed || out[i].placed_through == Offset{4096};
      fenced = fenced || out[i].code == Code::fenced;
    }
  };
  for (int i = 0; i < 1'000'000 && !placed; ++i) look();
  ASSERT_TRUE(placed);
  ASSERT_EQ(target.close(), Code::ok);
  for (int i = 0; i < 100'000 && !fenced; ++i) {
    bench->pass();
    look();
  }
  EXPECT_TRUE(fenced) << "it waits for ever";
}

// Why the network may not be touched here; null if it is a virtual machine's that is there for
// tests alone, where d0 is what the adapter stands on.
const char* why_no_own_network() {
  if (const char* const why = why_no_verbs()) return why;
  return std::getenv("CAISSON_GUEST") == nullptr
             ? "it changes the network: in a virtual machine only (scripts/guest/run)"
             : nullptr;
}

void network(const char* command) {
  ASSERT_EQ(std::system(command), 0) << command;  // NOLINT(concurrency-mt-unsafe)
}

// The adapter cannot read from itself while its port is down: no seal is answered then, however
// often it is tried, and all is well once the port is up.
TEST(VerbsEndpoint, ARevocationThatFailsWithThePortSucceedsWithIt) {
  if (const char* const why = why_no_own_network()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_adapter);
  Endpoint& target = bench->endpoint(kB);
  Endpoint& leader = bench->endpoint(kA);
  ASSERT_NO_FATAL_FAILURE(take_up(*bench, Offset{0}));
  network("ip link set d0 down");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(target.revoke_all(), Code::io) << "nobody has looked";
  network("ip link set d0 up");
  Code code = Code::io;
  for (int i = 0; i < 100 && code != Code::ok; ++i) {
    code = target.revoke_all();
    bench->settle();
  }
  ASSERT_EQ(code, Code::ok);
  const auto taken_up = [&] {
    const auto grant = target.grant(kA, Term{2});
    return grant && leader.attach(kB, *grant, Offset{0}) == Code::ok;
  };
  bool again = false;
  for (int i = 0; i < 1000 && !(again = taken_up()); ++i) bench->settle();
  ASSERT_TRUE(again);
  const auto bytes = filled(4096, 4);
  leader.fan_out(set_of({kB}), Offset{0}, bytes.data(), bytes.size());
  leader.complete_through(set_of({kB}), true, Offset{4096});
  Offset persisted;
  for (int i = 0; i < 20'000 && persisted < Offset{4096}; ++i) {
    std::array<Completion, 4> out;
    for (size_t k = 0, n = leader.poll(out); k < n; ++k) {
      EXPECT_EQ(out[k].code, Code::ok);
      if (out[k].target == kB) persisted = out[k].persisted_through;
    }
    bench->pass();
  }
  EXPECT_EQ(persisted, Offset{4096});
}

// Where nobody answers, the kernel would keep whoever connects waiting for a second.
TEST(VerbsPaths, WhoDoesNotAnswerIsLookedForByAnotherThread) {
  if (const char* const why = why_no_own_network()) GTEST_SKIP() << why;
  const auto device = verbs::Device::open({});
  ASSERT_TRUE(device) << device.error().message;
  verbs::Paths& paths = (*device)->paths();
  const verbs::Address own = (*device)->address();
  EXPECT_EQ(paths.find(own), Code::ok) << "an adapter finds itself";
  network("ip link set d0 arp on");
  verbs::Address nobody = own;
  nobody.gid.raw[15] = 250;
  EXPECT_EQ(paths.find(nobody), Code::again);
  const auto looked_for = [&](Code as_long_as) {
    Code code = as_long_as;
    for (int i = 0; i < 1000 && code == as_long_as; ++i) {
      ::usleep(10'000);
      code = paths.find(nobody);
    }
    return code;
  };
  EXPECT_EQ(looked_for(Code::again), Code::io) << "nobody is there";

  // It comes, and it goes.
  network("ip neigh replace 10.77.0.250 lladdr 02:00:00:00:00:fa dev d0 nud permanent");
  EXPECT_EQ(looked_for(Code::io), Code::ok);
  network("ip neigh del 10.77.0.250 dev d0");
  paths.forget(nobody);
  EXPECT_NE(paths.find(nobody), Code::ok);
  EXPECT_EQ(looked_for(Code::again), Code::io);
  network("ip link set d0 arp off");
}

// A mark says the lower bits of where a batch ends.
TEST(VerbsFormat, AMarkIsFoundAheadOfWhatWasFlushed) {
  for (const uint64_t from :
       {uint64_t{0}, uint64_t{64}, (uint64_t{1} << 38) - 64, uint64_t{1} << 50}) {
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{64}, uint64_t{1} << 37}) {
      const Offset end{from + bytes};
      EXPECT_EQ(verbs::marked(verbs::mark_of(end), Offset{from}).value, (end.value + 63) / 64 * 64);
    }
  }
}

TEST(VerbsFormat, AnAnswerThatIsTornIsNone) {
  const verbs::Flushed whole = verbs::flushed(7, Offset{4096});
  uint64_t generation = 0;
  Offset through;
  ASSERT_TRUE(verbs::flushed(whole, generation, through));
  EXPECT_EQ(generation, 7u);
  EXPECT_EQ(through, Offset{4096});
  for (size_t bit = 0; bit < 8 * sizeof whole; ++bit) {
    std::array<std::byte, sizeof whole> bytes;
    std::memcpy(bytes.data(), &whole, sizeof whole);
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    verbs::Flushed torn;
    std::memcpy(&torn, bytes.data(), sizeof torn);
    EXPECT_FALSE(verbs::flushed(torn, generation, through)) << "bit " << bit;
  }
}

}  // namespace
}  // namespace caisson::transport::testing
