// SPDX-License-Identifier: BSD-3-Clause
// Two endpoints get acquainted over messages that are lost, repeated and late, while either of them
// is replaced by a successor and either half fails.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

#include "transport/verbs/handshake.hpp"

namespace caisson::transport::verbs {
namespace {

struct Side {
  explicit Side(uint64_t life_) : life(life_), handshake(life_) {}
  uint64_t life;
  Handshake handshake;
  // What our half is connected to.
  uint64_t to_life = 0;
  uint32_t to_session = 0;
};

class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed) {}

  Side& side(int i) { return *sides_[i]; }
  void replace(int i) { sides_[i] = std::make_unique<Side>(next_life_++); }
  void break_half(int i) { side(i).handshake.failed(); }

  // One moment: everybody says what is due, and some of what is on its way arrives.
  void pass(bool lossy) {
    now_ns_ += 1'000'000;
    for (int i : {0, 1}) {
      if (!side(i).handshake.due(now_ns_)) continue;
      const Acquaintance said = side(i).handshake.say(now_ns_);
      ++messages_;
      if (lossy && one_in(3)) continue;
      on_its_way_[1 - i].push_back(said);
      if (lossy && one_in(4)) on_its_way_[1 - i].push_back(said);
    }
    for (int i : {0, 1}) {
      auto& inbox = on_its_way_[i];
      while (!inbox.empty() && !(lossy && one_in(3))) {
        const size_t which = lossy ? random_() % inbox.size() : 0;
        const Acquaintance said = inbox[which];
        inbox.erase(inbox.begin() + static_cast<std::ptrdiff_t>(which));
        hear(side(i), said);
        expect_answered(side(i), side(1 - i));
      }
    }
  }
  bool joined() {
    const Side &a = side(0), &b = side(1);
    return a.handshake.is_open() && b.handshake.is_open() && a.to_life == b.life &&
           b.to_life == a.life && a.to_session == b.to_session;
  }
  uint64_t messages() const { return messages_; }
  bool one_in(uint32_t n) { return random_() % n == 0; }

 private:
  void hear(Side& me, const Acquaintance& said) {
    if (me.handshake.hear(said) != Handshake::Step::connect) return;
    me.to_life = me.handshake.peer_life();
    me.to_session = me.handshake.session();
    me.handshake.connected();
  }

  // What is sent over an open connection finds the other half connected, or gone for good.
  static void expect_answered(const Side& me, const Side& other) {
    if (!me.handshake.is_open() || me.handshake.peer_life() != other.life) return;
    EXPECT_EQ(other.to_life, me.life);
    EXPECT_GE(other.to_session, me.handshake.session());
  }

  std::mt19937_64 random_;
  uint64_t next_life_ = 3;
  uint64_t now_ns_ = 0;
  uint64_t messages_ = 0;
  std::unique_ptr<Side> sides_[2] = {std::make_unique<Side>(1), std::make_unique<Side>(2)};
  std::deque<Acquaintance> on_its_way_[2];
};

TEST(VerbsHandshake, BothHalvesAreConnectedAndThenNobodySaysAnything) {
  Pair pair(1);
  for (int i = 0; i < 20; ++i) pair.pass(false);
  EXPECT_TRUE(pair.joined());
  const uint64_t said = pair.messages();
  for (int i = 0; i < 1000; ++i) pair.pass(false);
  EXPECT_EQ(pair.messages(), said);
}

TEST(VerbsHandshake, ItIsMadeAnewWhateverHappens) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    Pair pair(seed);
    for (int i = 0; i < 60; ++i) {
      pair.pass(true);
      if (pair.one_in(20)) pair.replace(pair.one_in(2) ? 0 : 1);
      if (pair.one_in(15)) pair.break_half(pair.one_in(2) ? 0 : 1);
    }
    // What is late has arrived after a while, and the pauses are no longer than half a second.
    for (int i = 0; i < 2000 && !pair.joined(); ++i) pair.pass(false);
    EXPECT_TRUE(pair.joined()) << "seed " << seed;
  }
}

TEST(VerbsHandshake, WhoIsAloneSpeaksEverMoreSeldom) {
  Handshake alone(1);
  int said = 0;
  for (uint64_t ms = 0; ms < 10'000; ++ms) {
    if (!alone.due(ms * 1'000'000)) continue;
    (void)alone.say(ms * 1'000'000);
    ++said;
  }
  EXPECT_GT(said, 20);
  EXPECT_LT(said, 40);
}

}  // namespace
}  // namespace caisson::transport::verbs
