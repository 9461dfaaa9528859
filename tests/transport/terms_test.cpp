// SPDX-License-Identifier: BSD-3-Clause
// Term after term, each ended while its leader has writes outstanding, of which it was told nothing
// yet (R19, P2, P6): what a ring
// holds when the revocation returns is what it holds for good, and nobody is told anything else.
// CAISSON_TERMS says how many (default 300; scripts/guest/terms runs 70,000 on a software adapter,
// more than it has numbers for registrations and connections).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

#include "tests/transport/fabric_bench.hpp"

namespace caisson::transport::testing {
namespace {

uint64_t terms_wanted() {
  const char* const text = std::getenv("CAISSON_TERMS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 300;
}

class Terms {
 public:
  explicit Terms(FabricBench& bench) : bench_(bench) {}

  void play(uint64_t count) {
    for (term_ = 1; term_ <= count && !::testing::Test::HasFailure(); ++term_) one();
    std::printf(
        "%llu terms, each ended with 1 to 5 writes outstanding, %llu of them with %llu bytes that "
        "never arrived; %llu zombies wrote on\n",
        static_cast<unsigned long long>(count), static_cast<unsigned long long>(cut_),
        static_cast<unsigned long long>(cut_bytes_), static_cast<unsigned long long>(zombies_));
  }
  // Terms of whose outstanding writes not all bytes arrived.
  uint64_t cut() const { return cut_; }

 private:
  void one() {
    SCOPED_TRACE("term " + std::to_string(term_));
    const ReplicaId writer = term_ % 2 == 0 ? kA : kC;
    Endpoint& target = bench_.endpoint(kB);
    Endpoint& leader = bench_.endpoint(writer);
    const auto grant = target.grant(writer, Term{term_});
    ASSERT_TRUE(grant) << grant.error().message;
    ASSERT_EQ(leader.attach(kB, *grant, at_), Code::ok);

    const size_t batches = 1 + random_() % 4;
    const Offset from = at_;
    for (size_t i = 0; i < batches; ++i) post(leader);
    for (uint64_t i = random_() % 4; i > 0; --i) bench_.pass();
    const uint64_t persisted = persisted_of(leader, from.value);
    post(leader);
    const uint64_t posted = at_.value;

    ASSERT_EQ(target.revoke_all(), Code::ok);
    const auto sealed = bench_.ring(kB);
    expect_held(leader, sealed, from, persisted);
    count_missing(leader, sealed, persisted, posted);
    // It does not know yet, and goes on; then somebody else leads.
    if (random_() % 2 == 0) {
      ++zombies_;
      post(leader);
    }
    for (uint64_t i = random_() % 8; i > 0; --i) bench_.pass();
    expect_held(leader, sealed, from, persisted_of(leader, persisted));
    EXPECT_TRUE(bench_.ring(kB) == sealed) << "bytes of a grant that had ended became visible";
    leader.detach(kB);
  }

  void post(Endpoint& leader) {
    const size_t n = 64 * (1 + random_() % 256);
    const auto bytes = filled(n, random_());
    leader.fan_out(set_of({kB}), at_, bytes.data(), n);
    at_ = at_ + n;
    leader.complete_through(set_of({kB}), true, at_);
  }

  uint64_t persisted_of(Endpoint& leader, uint64_t known) {
    std::array<Completion, 8> out;
    for (size_t n = leader.poll(out); n > 0; n = leader.poll(out)) {
      for (size_t i = 0; i < n; ++i) {
        if (out[i].target != kB || out[i].code != Code::ok) continue;
        known = std::max(known, out[i].persisted_through.value);
      }
    }
    return known;
  }

  // What was reported persisted is among what the seal found.
  void expect_held(Endpoint& leader, const std::vector<std::byte>& sealed, Offset from,
                   uint64_t persisted) {
    if (persisted <= from.value) return;
    const auto own = bench_.ring(&leader == &bench_.endpoint(kA) ? kA : kC);
    for (uint64_t at = from.value; at < persisted; ++at) {
      ASSERT_EQ(own[at % kRingBytes], sealed[at % kRingBytes])
          << "byte " << at << " of " << from.value << " to " << persisted
          << " was reported persisted, and is not there";
    }
  }

  // Random bytes: one in 256 that did not arrive is what was there before.
  void count_missing(Endpoint& leader, const std::vector<std::byte>& sealed, uint64_t from,
                     uint64_t to) {
    const auto own = bench_.ring(&leader == &bench_.endpoint(kA) ? kA : kC);
    uint64_t missing = 0;
    for (uint64_t at = from; at < to; ++at)
      missing += own[at % kRingBytes] != sealed[at % kRingBytes];
    if (missing > 0) ++cut_;
    cut_bytes_ += missing;
  }

  FabricBench& bench_;
  std::mt19937_64 random_{1};
  Offset at_{0};
  uint64_t term_ = 0;
  uint64_t cut_ = 0;
  uint64_t cut_bytes_ = 0;
  uint64_t zombies_ = 0;
};

TEST(TermsOnShm, WhatARevocationFoundStays) {
  const auto bench = make_shm_bench();
  Terms terms(*bench);
  terms.play(terms_wanted());
  EXPECT_EQ(terms.cut(), 0u) << "a store is outstanding in the writer's processor only";
}

TEST(TermsOnVerbs, WhatARevocationFoundStays) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_adapter);
  Terms terms(*bench);
  terms.play(terms_wanted());
  EXPECT_GT(terms.cut(), terms_wanted() / 100) << "nothing was on its way when it was revoked";
}

TEST(TermsOnVerbs, WhatARevocationFoundStaysWhereTheTargetFlushes) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_target);
  Terms terms(*bench);
  terms.play(std::min<uint64_t>(terms_wanted(), 3000));
}

}  // namespace
}  // namespace caisson::transport::testing
