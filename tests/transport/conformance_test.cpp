// SPDX-License-Identifier: BSD-3-Clause
// What transport/fabric.hpp promises, of every fabric. What only one of them has, its own tests
// hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <ostream>

#include "tests/transport/fabric_bench.hpp"

namespace caisson::transport::testing {
namespace {

using Bytes = std::vector<std::byte>;

struct Fabric {
  const char* name;
  uint64_t seeds;
  std::function<std::unique_ptr<FabricBench>(uint64_t seed)> make;
  // A grant ends with the process that gave it: its adapter lets nobody in any more.
  bool grants_end_with_owner = false;
  const char* (*missing)() = [] { return static_cast<const char*>(nullptr); };
  friend void PrintTo(const Fabric& fabric, std::ostream* out) { *out << fabric.name; }
};

const Fabric kFabrics[] = {
    {"shm", 1, [](uint64_t) { return make_shm_bench(); }},
    {"sim", 50, [](uint64_t seed) { return make_sim_bench(seed); }},
    {"verbs", 1, [](uint64_t) { return make_verbs_bench(Making::by_adapter); }, true, why_no_verbs},
    {"verbs_target_flush", 1, [](uint64_t) { return make_verbs_bench(Making::by_target); }, true,
     why_no_verbs},
    {"verbs_flush", 1, [](uint64_t) { return make_verbs_bench(Making::by_flush); }, true,
     why_no_flush}};

constexpr int kMomentsMax = 20'000;

const ReplicaSet kBoth = set_of({kB, kC});

// [at, at + n) of a ring, whatever lap that is.
Bytes slice(const Bytes& ring, Offset at, size_t n) {
  Bytes bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = ring[(at.value + i) % ring.size()];
  return bytes;
}

Bytes first_of(const Bytes& bytes, size_t n) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)};
}

// One leader's writes, in order, and what has been reported of them. It checks with each report
// that it is of a prefix, takes nothing back, and tells the truth.
class Writer {
 public:
  Writer(FabricBench& bench, ReplicaId self, Offset from, ReplicaSet targets)
      : bench_(bench), self_(self), from_(from), end_(from) {
    for_each(targets, [&](ReplicaId id) { reported_[id.value] = {from, from, false}; });
    reported_[self.value] = {from, from, false};
  }

  struct Reported {
    Offset placed;
    Offset persisted;
    bool fenced = false;
  };
  const Reported& of(ReplicaId id) const { return reported_.at(id.value); }
  Offset end() const { return end_; }
  const Bytes& bytes() const { return bytes_; }

  // Lets `target` give a grant, and takes it up.
  void take_up(ReplicaId target, Term term) {
    ASSERT_EQ(bench_.endpoint(target).revoke_all(), Code::ok);
    const auto grant = bench_.endpoint(target).grant(self_, term);
    ASSERT_TRUE(grant) << grant.error().message;
    ASSERT_EQ(bench_.endpoint(self_).attach(target, *grant, end_), Code::ok);
  }
  void fan_out(ReplicaSet targets, const Bytes& more) {
    bench_.endpoint(self_).fan_out(targets, end_, more.data(), more.size());
    note(more);
  }
  void fan_out_claim(ReplicaSet targets, const Bytes& more) {
    std::byte* const claim = bench_.endpoint(self_).claim(end_, more.size());
    ASSERT_NE(claim, nullptr);
    bench_.store_claimed(self_, claim, more);
    bench_.endpoint(self_).fan_out_own(targets, end_, more.size());
    note(more);
  }
  void complete(ReplicaSet targets, bool own = true) {
    handed_ = end_;
    bench_.endpoint(self_).complete_through(targets, own, end_);
  }
  bool poll() {
    std::array<Completion, 2> out;
    const size_t n = bench_.endpoint(self_).poll(out);
    for (size_t i = 0; i < n; ++i) judge(out[i]);
    return n > 0;
  }
  // False: it has not come about, however long one waits.
  bool await(const std::function<bool()>& done) {
    for (int moments = 0; moments < kMomentsMax; ++moments) {
      while (poll()) {
      }
      if (done()) return true;
      bench_.pass();
    }
    return false;
  }
  bool await_persisted(ReplicaSet ids) {
    return await([&] {
      bool all = true;
      for_each(ids, [&](ReplicaId id) { all = all && of(id).persisted == end_; });
      return all;
    });
  }
  bool await_fence(ReplicaId id) {
    return await([&] { return of(id).fenced; });
  }
  // Others write there now: what is reported late was true once.
  void superseded() { looks_ = false; }
  // Everything that was posted is in that ring.
  bool held_by(ReplicaId id) const {
    return slice(bench_.ring(id), from_, bytes_.size()) == bytes_;
  }

 private:
  void note(const Bytes& more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    end_ = end_ + more.size();
  }
  void judge(const Completion& done) {
    ASSERT_TRUE(reported_.contains(done.target.value)) << "of replica " << done.target.value;
    Reported& known = reported_[done.target.value];
    EXPECT_FALSE(known.fenced) << "a report behind a fence";
    if (done.code != Code::ok) {
      EXPECT_EQ(done.code, Code::fenced);
      known.fenced = true;
      return;
    }
    EXPECT_LE(done.placed_through, handed_) << "nobody has handed that over";
    EXPECT_LE(done.persisted_through, done.placed_through);
    known.placed = std::max(known.placed, done.placed_through);
    known.persisted = std::max(known.persisted, done.persisted_through);
    if (known.persisted <= from_ || !looks_) return;
    const size_t n = known.persisted - from_;
    EXPECT_TRUE(slice(bench_.ring(done.target), from_, n) == first_of(bytes_, n))
        << "reported as persisted through " << known.persisted.value << " at replica "
        << int{done.target.value} << ", and not there";
  }

  FabricBench& bench_;
  const ReplicaId self_;
  const Offset from_;
  Offset end_;
  Offset handed_;
  Bytes bytes_;
  std::map<uint8_t, Reported> reported_;
  bool looks_ = true;
};

class Conformance : public ::testing::TestWithParam<Fabric> {
 protected:
  // Where an adapter is missing, a virtual machine that has one runs them (scripts/guest).
  void SetUp() override {
    if (const char* const why = GetParam().missing()) GTEST_SKIP() << why;
  }
  void each(const std::function<void(FabricBench&)>& body) {
    for (uint64_t seed = 1; seed <= GetParam().seeds && !HasFailure(); ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      const auto bench = GetParam().make(seed);
      body(*bench);
    }
  }
  // As `each`, with A as the leader of B and C in term 1.
  void each_led(Offset from, const std::function<void(FabricBench&, Writer&)>& body) {
    each([&](FabricBench& bench) {
      Writer writer(bench, kA, from, kBoth);
      writer.take_up(kB, Term{1});
      writer.take_up(kC, Term{1});
      if (!HasFatalFailure()) body(bench, writer);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Of, Conformance, ::testing::ValuesIn(kFabrics),
                         [](const auto& fabric) { return std::string(fabric.param.name); });

// ---- Writes -------------------------------------------------------------------------------------

TEST_P(Conformance, WhatIsFannedOutIsEverywhereAndReportedAsPrefixes) {
  each_led(Offset{0}, [](FabricBench&, Writer& writer) {
    for (const size_t n : {64ul, 128ul, 4096ul, 65'472ul, 100'032ul, 64ul}) {
      writer.fan_out(kBoth, filled(n, n));
      writer.complete(kBoth);
      (void)writer.poll();
    }
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kB, kC})));
    for (const ReplicaId id : {kA, kB, kC}) {
      EXPECT_TRUE(writer.held_by(id)) << "replica " << int{id.value};
      EXPECT_FALSE(writer.of(id).fenced);
    }
  });
}

TEST_P(Conformance, OffsetsGoOnAcrossTheWrap) {
  each_led(Offset{5 * kRingBytes - 128}, [](FabricBench&, Writer& writer) {
    writer.fan_out(kBoth, filled(256, 2));
    writer.complete(kBoth);
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kB, kC})));
    for (const ReplicaId id : {kA, kB, kC}) EXPECT_TRUE(writer.held_by(id));
  });
}

TEST_P(Conformance, OnlyWhoIsNamedReceives) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    writer.fan_out(set_of({kC}), filled(192, 3));
    writer.complete(set_of({kC}));
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kC})));
    bench.settle();
    EXPECT_EQ(slice(bench.ring(kB), Offset{0}, 192), Bytes(192));
    EXPECT_EQ(writer.of(kB).placed, Offset{0});
  });
}

TEST_P(Conformance, ClaimsAreFannedOutFromTheOwnRing) {
  each_led(Offset{65'536 - 64}, [](FabricBench&, Writer& writer) {
    writer.fan_out_claim(kBoth, filled(128, 4));
    writer.complete(kBoth);
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kB, kC})));
    for (const ReplicaId id : {kA, kB, kC}) EXPECT_TRUE(writer.held_by(id));
  });
}

TEST_P(Conformance, WhatTheOwnRingHoldsIsWrittenToOneAndReadBack) {
  each_led(Offset{kRingBytes - 64 * 1024}, [](FabricBench& bench, Writer& writer) {
    const Offset at = writer.end();
    const Bytes bytes = filled(300 * 1024, 5);
    bench.store_own(kA, at, bytes);
    Endpoint& leader = bench.endpoint(kA);
    leader.write(kB, at, bytes.size());
    leader.complete_through(set_of({kB}), false, at + bytes.size());
    Offset persisted = at;
    for (int moments = 0; moments < kMomentsMax && persisted < at + bytes.size(); ++moments) {
      std::array<Completion, 4> out;
      for (size_t i = 0, n = leader.poll(out); i < n; ++i) {
        EXPECT_EQ(out[i].target, kB);
        persisted = std::max(persisted, out[i].persisted_through);
      }
      bench.pass();
    }
    EXPECT_EQ(persisted, at + bytes.size());
    Bytes back(bytes.size());
    ASSERT_TRUE(leader.read(kB, at, back.data(), back.size()));
    EXPECT_TRUE(back == bytes);
    EXPECT_FALSE(leader.read(ReplicaId{9}, at, back.data(), 64));
  });
}

TEST_P(Conformance, NothingIsReportedThatWasNotHandedOver) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    writer.fan_out(kBoth, filled(64, 6));
    writer.complete(kBoth);
    writer.fan_out(kBoth, filled(64, 7));
    ASSERT_TRUE(writer.await([&] { return writer.of(kB).persisted == Offset{64}; }));
    for (int i = 0; i < 100; ++i) {
      bench.pass();
      (void)writer.poll();
    }
    for (const ReplicaId id : {kA, kB, kC}) EXPECT_LE(writer.of(id).placed, Offset{64});
  });
}

TEST_P(Conformance, WhoIsLetGoIsNotReportedAnyMore) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    writer.fan_out(kBoth, filled(64, 8));
    writer.complete(kBoth);
    bench.endpoint(kA).detach(kB);
    ASSERT_TRUE(writer.await([&] { return writer.of(kC).persisted == Offset{64}; }));
    bench.settle();
    while (writer.poll()) {
    }
    EXPECT_EQ(writer.of(kB).placed, Offset{0});
    EXPECT_FALSE(writer.of(kB).fenced);
  });
}

// ---- Revocation ---------------------------------------------------------------------------------

TEST_P(Conformance, AfterARevocationNothingIsCountedAndNothingArrives) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    for (int i = 0; i < 20; ++i) {
      writer.fan_out(kBoth, filled(320, 10 + static_cast<uint64_t>(i)));
      writer.complete(kBoth);
      if (i % 3 == 0) bench.pass();
      (void)writer.poll();
    }
    const Offset placed = writer.of(kB).placed;
    ASSERT_EQ(bench.endpoint(kB).revoke_all(), Code::ok);
    const Bytes sealed = bench.ring(kB);
    const size_t counted = placed - Offset{0};
    EXPECT_TRUE(slice(sealed, Offset{0}, counted) == first_of(writer.bytes(), counted))
        << "what was reported as placed is not in the ring that was sealed";
    for (uint64_t i = 0; i < 5; ++i) {
      writer.fan_out(kBoth, filled(320, 50 + i));
      writer.complete(kBoth);
    }
    EXPECT_TRUE(writer.await_fence(kB));
    EXPECT_TRUE(writer.await_persisted(set_of({kA, kC})));
    bench.settle();
    EXPECT_TRUE(bench.ring(kB) == sealed) << "bytes of a revoked grant have become visible";
    while (writer.poll()) {
    }
  });
}

TEST_P(Conformance, ANewWritersBytesAreNotSpoiltByTheOldOnes) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& old) {
    old.fan_out(kBoth, filled(640, 11));
    old.complete(kBoth);
    bench.pass();
    Writer next(bench, kC, Offset{320}, set_of({kB}));
    ASSERT_EQ(bench.endpoint(kC).revoke_all(), Code::ok);  // it seals itself, too
    next.take_up(kB, Term{2});
    old.superseded();
    next.fan_out(set_of({kB}), filled(640, 12));
    next.complete(set_of({kB}));
    old.fan_out(kBoth, filled(640, 13));
    old.complete(kBoth);
    EXPECT_TRUE(next.await_persisted(set_of({kB, kC})));
    EXPECT_TRUE(old.await_fence(kB));
    bench.settle();
    EXPECT_TRUE(next.held_by(kB));
  });
}

TEST_P(Conformance, GrantsAreNeverReusedAndAnOldOneIsFencedFromTheStart) {
  each([](FabricBench& bench) {
    Endpoint& target = bench.endpoint(kB);
    ASSERT_EQ(target.revoke_all(), Code::ok);
    const auto first = target.grant(kA, Term{1});
    ASSERT_TRUE(first);
    ASSERT_EQ(target.revoke_all(), Code::ok);
    const auto second = target.grant(kA, Term{1});
    ASSERT_TRUE(second);
    EXPECT_GT(second->generation, first->generation);
    Writer writer(bench, kA, Offset{0}, set_of({kB}));
    ASSERT_EQ(bench.endpoint(kA).attach(kB, *first, Offset{0}), Code::ok);
    writer.fan_out(set_of({kB}), filled(64, 14));
    writer.complete(set_of({kB}));
    EXPECT_TRUE(writer.await_fence(kB));
    bench.settle();
    EXPECT_EQ(slice(bench.ring(kB), Offset{0}, 64), Bytes(64));
    EXPECT_FALSE(target.grant(kB, Term{1})) << "nobody needs a grant of its own ring";
  });
}

// H9: the grants of a process that died go on, until the next one ends them.
TEST_P(Conformance, ARestartedOwnerEndsTheGrantsOfItsPredecessor) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    writer.fan_out(kBoth, filled(64, 15));
    bench.restart(kB);
    writer.fan_out(kBoth, filled(64, 16));
    writer.complete(kBoth);
    if (GetParam().grants_end_with_owner) {
      ASSERT_TRUE(writer.await_persisted(set_of({kA, kC})));
      EXPECT_TRUE(writer.await_fence(kB));
      return;
    }
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kB, kC})))
        << "a grant outlives the process that gave it";
    ASSERT_EQ(bench.endpoint(kB).revoke_all(), Code::ok);
    const Bytes sealed = bench.ring(kB);
    EXPECT_TRUE(writer.held_by(kB));
    writer.fan_out(kBoth, filled(64, 17));
    writer.complete(kBoth);
    EXPECT_TRUE(writer.await_fence(kB));
    bench.settle();
    EXPECT_TRUE(bench.ring(kB) == sealed);
  });
}

TEST_P(Conformance, ARevocationForgetsWhatOfItsOwnWasNotReported) {
  each([](FabricBench& bench) {
    Writer writer(bench, kA, Offset{0}, {});
    writer.fan_out({}, filled(64, 18));
    writer.complete({});
    ASSERT_EQ(bench.endpoint(kA).revoke_all(), Code::ok);
    bench.settle();
    while (writer.poll()) {
    }
    EXPECT_EQ(writer.of(kA).placed, Offset{0}) << "a later term would count it";
  });
}

// A leader that was deposed and leads again may end its first entry where its last term ended.
TEST_P(Conformance, AnEndThatAnEarlierTermReachedIsReportedAgain) {
  each([](FabricBench& bench) {
    for (uint64_t term = 0; term < 3; ++term) {
      Writer writer(bench, kA, Offset{0}, {});
      writer.fan_out({}, filled(128, term));
      writer.complete({});
      EXPECT_TRUE(writer.await_persisted(set_of({kA}))) << "term " << term;
      ASSERT_EQ(bench.endpoint(kA).revoke_all(), Code::ok);
    }
  });
}

// ---- Claims -------------------------------------------------------------------------------------

// H12: the application finishes its copy after the node has been sealed and a newer leader has
// written.
TEST_P(Conformance, ALateStoreOfAnApplicationTouchesNothingThatANewLeaderFills) {
  each([](FabricBench& bench) {
    std::byte* const claim = bench.endpoint(kA).claim(Offset{0}, 64);
    bench.store_claimed(kA, claim, filled(32, 19));
    bench.endpoint(kA).revoke_claims();
    Writer next(bench, kB, Offset{0}, set_of({kA}));
    next.take_up(kA, Term{2});
    next.fan_out(set_of({kA}), filled(64, 20));
    next.complete(set_of({kA}));
    ASSERT_TRUE(next.await_persisted(set_of({kA, kB})));
    bench.store_claimed(kA, claim, filled(64, 21));
    EXPECT_TRUE(next.held_by(kA));
    EXPECT_NE(bench.endpoint(kA).claim(Offset{0}, 64), claim);
  });
}

// ---- Cells --------------------------------------------------------------------------------------

TEST_P(Conformance, WhatATargetPublishesIsReadOneSidedly) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    EXPECT_EQ(bench.endpoint(kA).target_cell(kB).validated, Position{0});
    for (uint64_t i = 1; i <= 5; ++i) {
      TargetCell cell;
      cell.term = Term{3};
      cell.validated = Position{i};
      cell.validated_end = Offset{64 * i};
      cell.fault = i;
      bench.endpoint(kB).publish(cell);
    }
    EXPECT_TRUE(
        writer.await([&] { return bench.endpoint(kA).target_cell(kB).validated == Position{5}; }));
    const TargetCell seen = bench.endpoint(kA).target_cell(kB);
    EXPECT_EQ(seen.term, Term{3});
    EXPECT_EQ(seen.validated_end, Offset{320});
    EXPECT_EQ(seen.fault, 5u);
    EXPECT_EQ(bench.endpoint(kA).target_cell(kC).validated, Position{0});
  });
}

// P19: a proof reads what stands in the memory, after it was asked for.
TEST_P(Conformance, WhomAReplicaPromisedIsReadAsItStands) {
  each_led(Offset{0}, [](FabricBench& bench, Writer&) {
    for (uint64_t term = 4; term < 9; ++term) {
      TargetCell cell;
      cell.head = Offset{64 * term};
      cell.validated = Position{term};
      bench.endpoint(kB).publish(cell);
      bench.endpoint(kB).publish_promise(Term{term}, 77);
      const Standing said = bench.endpoint(kA).standing_of(kB);
      EXPECT_EQ(said.promised, Term{term});
      EXPECT_EQ(said.birth, 77u);
      EXPECT_EQ(said.head, Offset{64 * term});
      EXPECT_EQ(said.validated, Position{term});
    }
    EXPECT_EQ(bench.endpoint(kA).standing_of(kC).promised, Term{0});
  });
}

TEST_P(Conformance, CommitMarksReachTheirTargets) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    EXPECT_EQ(bench.endpoint(kB).commit_cell(kA).committed, Position{0});
    for (uint64_t i = 1; i <= 9; ++i) {
      bench.endpoint(kA).write_commit_cell(kBoth, {Term{1}, Position{i}, 77, Position{2}});
    }
    for (const ReplicaId id : {kB, kC}) {
      EXPECT_TRUE(writer.await(
          [&] { return bench.endpoint(id).commit_cell(kA).committed == Position{9}; }));
      EXPECT_EQ(bench.endpoint(id).commit_cell(kA).chain, 77u);
      EXPECT_EQ(bench.endpoint(id).commit_cell(kA).trim_to, Position{2});
    }
    bench.settle();
    EXPECT_EQ(bench.endpoint(kB).commit_cell(kA).committed, Position{9})
        << "an older one came last";
    EXPECT_EQ(bench.endpoint(kB).commit_cell(kC).committed, Position{0});
  });
}

// ---- Completions --------------------------------------------------------------------------------

TEST_P(Conformance, PollReportsWhatFitsAndKeepsTheRest) {
  each_led(Offset{0}, [](FabricBench& bench, Writer& writer) {
    writer.fan_out(kBoth, filled(64, 22));
    writer.complete(kBoth);
    bench.settle();
    std::array<Completion, 1> one;
    ReplicaSet persisted;
    for (int moments = 0; moments < 100; ++moments) {
      while (bench.endpoint(kA).poll(one) == 1) {
        if (one[0].persisted_through == Offset{64}) persisted.add(one[0].target);
      }
      bench.pass();
    }
    EXPECT_EQ(persisted, set_of({kA, kB, kC}));
  });
}

TEST_P(Conformance, RingsAgreeWhateverTheSizes) {
  uint64_t draw = 1;
  each_led(Offset{kRingBytes - 4096}, [&](FabricBench& bench, Writer& writer) {
    for (int i = 0; i < 40; ++i) {
      draw = draw * 6364136223846793005 + 1442695040888963407;
      writer.fan_out(kBoth, filled(64 * (1 + (draw >> 33) % (i % 10 == 0 ? 300 : 20)), draw));
      if ((draw >> 20) % 3 == 0) writer.complete(kBoth);
      if ((draw >> 23) % 3 == 0) bench.pass();
      (void)writer.poll();
    }
    writer.complete(kBoth);
    ASSERT_TRUE(writer.await_persisted(set_of({kA, kB, kC})));
    EXPECT_TRUE(bench.ring(kA) == bench.ring(kB));
    EXPECT_TRUE(bench.ring(kA) == bench.ring(kC));
  });
}

}  // namespace
}  // namespace caisson::transport::testing
