// SPDX-License-Identifier: BSD-3-Clause
// Express: what the postbox brings is believed only if the other end of the link sealed it (R41).
#include "core/engine/express.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/test_postbox.hpp"

namespace caisson::tests {
namespace {

using engine::Express;
using engine::LinkHalf;
using engine::LinkKey;

constexpr ReplicaId kOne{1}, kTwo{2}, kThree{3};
LinkKey key_of(uint8_t fill) {
  LinkKey key;
  key.fill(fill);
  return key;
}

struct ExpressTest : testing::Test {
  ExpressTest() {
    one_box.connect(kTwo, two_box);
    two_box.connect(kOne, one_box);
    const LinkKey key = key_of(7);
    one.set_key(kTwo, LinkHalf::sending, &key);
    two.set_key(kOne, LinkHalf::receiving, &key);
  }
  std::vector<std::byte>& slot() { return two_box.slots[kOne]; }
  // What two believes of what lies there; empty: nothing.
  std::string received() {
    ReplicaId from;
    std::string frame;
    return two.receive(from, frame) && from == kOne ? frame : "";
  }

  TestPostbox one_box{kOne}, two_box{kTwo};
  Express one{one_box}, two{two_box};
};

TEST_F(ExpressTest, WhatTheLinksOtherEndSealedArrives) {
  EXPECT_FALSE(two.pending());
  for (const std::string message : {"a", "seal", "another"}) {
    ASSERT_TRUE(one.send(kTwo, message));
    EXPECT_TRUE(two.pending());
    EXPECT_EQ(received(), message);
  }
  EXPECT_EQ(one.sent(), 3u);
  EXPECT_EQ(two.received(), 3u);
  EXPECT_EQ(two.refused(), 0u);
}

TEST_F(ExpressTest, WithoutAKeyNothingIsSentAndNothingBelieved) {
  EXPECT_FALSE(one.send(kThree, "no link to three"));
  EXPECT_FALSE(two.send(kOne, "no key for this direction"));
  ASSERT_TRUE(one.send(kTwo, "under way when the link fell"));
  two.set_key(kOne, LinkHalf::receiving, nullptr);
  EXPECT_EQ(received(), "");
  EXPECT_EQ(two.refused(), 1u);
  one.set_key(kTwo, LinkHalf::sending, nullptr);
  EXPECT_FALSE(one.send(kTwo, "the link is down"));
}

TEST_F(ExpressTest, WhatAnotherKeySealedIsRefused) {
  const LinkKey other = key_of(8);
  one.set_key(kTwo, LinkHalf::sending, &other);
  ASSERT_TRUE(one.send(kTwo, "of an earlier link"));
  EXPECT_EQ(received(), "");
  EXPECT_EQ(two.refused(), 1u);
}

TEST_F(ExpressTest, EveryChangedBitIsRefused) {
  ASSERT_TRUE(one.send(kTwo, "vote"));
  const auto sealed = slot();
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    slot() = sealed;
    slot()[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(received(), "") << "bit " << bit;
  }
  for (size_t n = 0; n < sealed.size(); ++n) {
    slot().assign(sealed.begin(), sealed.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_EQ(received(), "") << "cut to " << n;
  }
  slot() = sealed;
  EXPECT_EQ(received(), "vote") << "unchanged it stands";
}

TEST_F(ExpressTest, ARepeatedMessageIsRefused) {
  ASSERT_TRUE(one.send(kTwo, "first"));
  const auto first = slot();
  EXPECT_EQ(received(), "first");
  slot() = first;
  EXPECT_EQ(received(), "");
  ASSERT_TRUE(one.send(kTwo, "second"));
  EXPECT_EQ(received(), "second");
  slot() = first;
  EXPECT_EQ(received(), "");
}

TEST_F(ExpressTest, AMessageOfOneNodeInAnothersSlotIsRefused) {
  ASSERT_TRUE(one.send(kTwo, "mine"));
  std::swap(two_box.slots[kOne], two_box.slots[kThree]);
  EXPECT_EQ(received(), "");
  EXPECT_EQ(two.refused(), 1u);
}

TEST_F(ExpressTest, WhatDoesNotFitOrIsNotTakenYetGoesByTheLink) {
  EXPECT_FALSE(one.send(kTwo, ""));
  EXPECT_FALSE(one.send(kTwo, std::string(kTestSlotBytes - 23, 'x')));
  ASSERT_TRUE(one.send(kTwo, std::string(kTestSlotBytes - 24, 'x')));
  EXPECT_FALSE(one.send(kTwo, "the slot is full"));
  EXPECT_EQ(received(), std::string(kTestSlotBytes - 24, 'x'));
  EXPECT_TRUE(one.send(kTwo, "and now it is free"));
  EXPECT_EQ(received(), "and now it is free") << "numbers that were drawn in vain do not matter";
}

TEST_F(ExpressTest, ANewLinkStartsAnew) {
  for (uint8_t link = 1; link <= 3; ++link) {
    const LinkKey key = key_of(link);
    two.set_key(kOne, LinkHalf::receiving, &key);
    one.set_key(kTwo, LinkHalf::sending, &key);
    ASSERT_TRUE(one.send(kTwo, "over link " + std::to_string(link)));
    EXPECT_EQ(received(), "over link " + std::to_string(link));
  }
}

}  // namespace
}  // namespace caisson::tests
