// SPDX-License-Identifier: BSD-3-Clause
// Term after term, each ended while its leader has writes outstanding (R19, P2, P6): what a ring
// holds when the revocation returns is what it holds for good, and nobody is told anything else.
// CAISSON_TERMS says how many (default 300; scripts/guest/terms runs 70,000 on a software adapter,
// more than it has numbers for registrations and connections).
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "tests/transport/fabric_bench.hpp"

namespace caisson::transport::testing {
namespace {

uint64_t terms_wanted() {
  const char* const text = std::getenv("CAISSON_TERMS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 300;
}

constexpr uint64_t kTermBytes = kRingBytes / 2;  // at most

class Terms {
 public:
  // at_once: the leader writes on a thread of its own, and goes on while it is revoked.
  Terms(FabricBench& bench, bool at_once) : bench_(bench), at_once_(at_once) {}

  // So many terms that end with writes outstanding.
  void play(uint64_t count) {
    while (outstanding_ < count && term_ < 2 * count && !::testing::Test::HasFailure()) {
      ++term_;
      one();
      if (term_ % 1000 == 0) report();
    }
    report();
    EXPECT_EQ(outstanding_, count);
  }

 private:
  void report() const {
    using Seconds = std::chrono::duration<double>;
    std::printf(
        "%llu terms, %llu ended with writes outstanding, %llu of them with %llu bytes that never "
        "arrived; %.0f s\n",
        static_cast<unsigned long long>(term_), static_cast<unsigned long long>(outstanding_),
        static_cast<unsigned long long>(cut_), static_cast<unsigned long long>(cut_bytes_),
        Seconds(std::chrono::steady_clock::now() - began_).count());
    std::fflush(stdout);
  }

  void one() {
    SCOPED_TRACE("term " + std::to_string(term_));
    const ReplicaId writer = term_ % 2 == 0 ? kA : kC;
    Endpoint& target = bench_.endpoint(kB);
    Endpoint& leader = bench_.endpoint(writer);
    const Offset from = at_;
    const auto grant = target.grant(writer, Term{term_});
    ASSERT_TRUE(grant) << grant.error().message;
    ASSERT_EQ(leader.attach(kB, *grant, from), Code::ok);

    posted_.store(from.value);
    reported_.store(from.value);
    stop_.store(false);
    std::thread writing;
    if (at_once_) {
      writing = std::thread([&, seed = random_()] { write(leader, seed); });
      await_writes(target, from);
    } else {
      for (uint64_t i = random_() % 4; i > 0; --i) post(leader, random_);
      reported_.store(persisted_of(leader, from.value));
      post(leader, random_);
    }
    const uint64_t posted = posted_.load();
    if (reported_.load() < posted) ++outstanding_;
    const Code revoked = target.revoke_all();
    const auto sealed = bench_.ring(kB);
    // It does not know yet, and goes on.
    if (!at_once_ && random_() % 2 == 0) post(leader, random_);
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 400));
    stop_.store(true);
    if (at_once_) writing.join();
    ASSERT_EQ(revoked, Code::ok);
    bench_.pass();
    const uint64_t persisted = persisted_of(leader, reported_.load());
    const auto own = bench_.ring(writer);
    EXPECT_TRUE(alike(own, sealed, from.value, persisted))
        << "not all of " << from.value << " to " << persisted << " is there, which was reported "
        << "persisted";
    EXPECT_TRUE(alike(bench_.ring(kB), sealed, 0, kRingBytes))
        << "bytes of a grant that had ended became visible";
    count_missing(own, sealed, persisted, posted);
    leader.detach(kB);
    at_ = Offset{posted_.load()};
  }

  // The writer is in the midst of it.
  void await_writes(Endpoint& target, Offset from) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    const uint64_t least = from.value + random_() % (kTermBytes / 16);
    while (std::chrono::steady_clock::now() < until &&
           (posted_.load() <= least || reported_.load() >= posted_.load())) {
      (void)target.attend();
    }
  }

  void write(Endpoint& leader, uint64_t seed) {
    std::mt19937_64 random(seed);
    const uint64_t end = posted_.load() + kTermBytes;
    while (!stop_.load()) {
      if (posted_.load() < end) post(leader, random);
      reported_.store(persisted_of(leader, reported_.load()));
    }
  }

  void post(Endpoint& leader, std::mt19937_64& random) {
    const Offset at{posted_.load()};
    const size_t n = 64 * (1 + random() % 64);
    const auto bytes = filled(n, random());
    leader.fan_out(set_of({kB}), at, bytes.data(), n);
    leader.complete_through(set_of({kB}), true, at + n);
    posted_.store(at.value + n);
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

  static bool alike(const std::vector<std::byte>& a, const std::vector<std::byte>& b, uint64_t from,
                    uint64_t to) {
    while (from < to) {
      const uint64_t at = from % kRingBytes;
      const uint64_t n = std::min(to - from, kRingBytes - at);
      if (std::memcmp(a.data() + at, b.data() + at, n) != 0) return false;
      from += n;
    }
    return true;
  }

  // Random bytes: one in 256 that did not arrive is what was there before.
  void count_missing(const std::vector<std::byte>& own, const std::vector<std::byte>& sealed,
                     uint64_t from, uint64_t to) {
    uint64_t missing = 0;
    for (uint64_t at = from; at < to; ++at) {
      missing += own[at % kRingBytes] != sealed[at % kRingBytes];
    }
    if (missing > 0) ++cut_;
    cut_bytes_ += missing;
  }

  FabricBench& bench_;
  const bool at_once_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::mt19937_64 random_{1};
  Offset at_{0};
  uint64_t term_ = 0;
  std::atomic<uint64_t> posted_{0};    // by the writer, in this term
  std::atomic<uint64_t> reported_{0};  // … and told to it as persisted
  std::atomic<bool> stop_{false};
  uint64_t outstanding_ = 0;
  uint64_t cut_ = 0;
  uint64_t cut_bytes_ = 0;
};

// rxe of older kernels crashes with its machine where a connection is closed while it is written to
// (in rxe_responder; 6.1 does, 6.12 does not).
bool rxe_may_crash() {
  utsname kernel{};
  int major = 0, minor = 0;
  return ::uname(&kernel) == 0 && std::sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
         (major < 6 || (major == 6 && minor < 8));
}

TEST(TermsOnVerbs, WhatARevocationFoundStays) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_adapter);
  Terms(*bench, false).play(std::min<uint64_t>(terms_wanted(), 300));
}

TEST(TermsOnVerbs, WhatARevocationFindsInTheMidstOfWritesStays) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  if (rxe_may_crash()) GTEST_SKIP() << "this kernel's rxe does not bear it";
  const auto bench = make_verbs_bench(Making::by_adapter);
  Terms(*bench, true).play(terms_wanted());
}

TEST(TermsOnVerbs, WhatARevocationFoundStaysWhereTheTargetFlushes) {
  if (const char* const why = why_no_verbs()) GTEST_SKIP() << why;
  const auto bench = make_verbs_bench(Making::by_target);
  Terms(*bench, !rxe_may_crash()).play(std::min<uint64_t>(terms_wanted(), 3000));
}

}  // namespace
}  // namespace caisson::transport::testing
