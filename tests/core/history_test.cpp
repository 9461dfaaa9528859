// SPDX-License-Identifier: BSD-3-Clause
// What replicas say of their logs in seals: one that contradicts itself elects nobody, and two are
// compared by term and position (P14).
#include "core/replication/history.hpp"

#include <gtest/gtest.h>

namespace caisson::replication {
namespace {

using log::Cursor;

Cursor at(uint64_t position, uint64_t term) {
  return {Position{position}, Offset{position * 128}, Term{term}, 0};
}

// Entries 11 to 20 in term 5, 21 to 30 in term 7, behind a trim at 10.
History sound() {
  return {at(10, 5), at(30, 7), {{Term{5}, Position{11}}, {Term{7}, Position{21}}}};
}

TEST(History, OneThatHoldsTogetherIsTaken) {
  EXPECT_TRUE(consistent(sound()));
  EXPECT_TRUE(consistent({at(10, 5), at(10, 5), {}})) << "nothing behind the trim";
  EXPECT_TRUE(consistent({at(10, 5), at(11, 6), {{Term{6}, Position{11}}}}));
}

TEST(History, OneThatContradictsItselfIsNot) {
  const auto spoilt = [](auto&& how) {
    History history = sound();
    how(history);
    return consistent(history);
  };
  EXPECT_FALSE(spoilt([](History& h) { h.tail.position = Position{9}; }))
      << "ends before it begins";
  EXPECT_FALSE(spoilt([](History& h) { h.tail.end = Offset{64}; })) << "… in bytes";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs.clear(); })) << "entries of no term";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[0].first = Position{12}; })) << "a gap";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[1].first = Position{11}; })) << "two at one place";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[1].first = Position{31}; })) << "behind the end";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[0].term = Term{4}; })) << "below the trim's term";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[1].term = Term{5}; })) << "the same term again";
  EXPECT_FALSE(spoilt([](History& h) { h.epochs[1].term = Term{4}; })) << "terms only rise";
  EXPECT_FALSE(spoilt([](History& h) { h.tail.term = Term{9}; })) << "ends in another term";
}

TEST(History, KnowsTheTermOfWhatItHoldsAndOfNothingElse) {
  const History history = sound();
  EXPECT_EQ(history.term_at(Position{10}), Term{5});
  EXPECT_EQ(history.term_at(Position{20}), Term{5});
  EXPECT_EQ(history.term_at(Position{21}), Term{7});
  EXPECT_EQ(history.term_at(Position{30}), Term{7});
  EXPECT_EQ(history.term_at(Position{9}), Term{});
  EXPECT_EQ(history.term_at(Position{31}), Term{});
  EXPECT_EQ(history.run_start(Position{25}), Position{21});
  EXPECT_EQ(history.run_start(Position{10}), Position{10});
}

TEST(History, TwoAgreeThroughTheLastEntryOfTheSameTermOrNowhere) {
  const History one = sound();
  EXPECT_EQ(last_common(one, one), Position{30});
  // Another leader went on behind 18.
  const History other{at(10, 5), at(40, 6), {{Term{5}, Position{11}}, {Term{6}, Position{19}}}};
  EXPECT_EQ(last_common(one, other), Position{18});
  EXPECT_EQ(last_common(other, one), Position{18});
  // One that was trimmed beyond where they part.
  const History trimmed{at(25, 6), at(40, 6), {{Term{6}, Position{26}}}};
  EXPECT_EQ(last_common(one, trimmed), std::nullopt);
  EXPECT_EQ(last_common(trimmed, one), std::nullopt);
}

}  // namespace
}  // namespace caisson::replication
