// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/ab_slots.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <vector>

#include "pmem/checksum.hpp"

namespace caisson::pmem {
namespace {

constexpr uint64_t kSlotBytes = 512;

// Remembers every store and persist, so that a test can stop after any of them.
class RecordingMedium final : public SlotMedium {
 public:
  explicit RecordingMedium(uint64_t n) : data(n) {}
  std::span<const std::byte> bytes(uint64_t at, uint64_t n) const override {
    return std::span(data).subspan(at, n);
  }
  void store(uint64_t at, const void* source, size_t n) override {
    if (stores_left == 0) return;
    --stores_left;
    ++stores;
    std::memcpy(data.data() + at, source, n);
  }
  void persist(uint64_t, uint64_t) override { ++persists; }

  std::vector<std::byte> data;
  size_t stores = 0;
  size_t persists = 0;
  size_t stores_left = SIZE_MAX;
};

std::vector<std::byte> payload_of(const char* text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text);
  return {begin, begin + std::strlen(text)};
}

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

constexpr AbSlots kSlots(SlotKind::superblock, 0, kSlotBytes);

TEST(AbSlots, EmptyMediumIsAmnesia) {
  RecordingMedium medium(2 * kSlotBytes);
  const auto read = kSlots.read(medium);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::amnesia);
}

TEST(AbSlots, NewestWins) {
  RecordingMedium medium(2 * kSlotBytes);
  for (const char* text : {"one", "two", "three"}) {
    ASSERT_TRUE(kSlots.write(medium, payload_of(text), Region::Slots::one));
    EXPECT_EQ(copy_of(kSlots.read(medium)->payload), payload_of(text));
  }
  EXPECT_EQ(kSlots.read(medium)->generation, 3u);
}

TEST(AbSlots, LossOfEitherSlotAfterWritingBothLosesNothing) {
  for (uint64_t lost : {0u, 1u}) {
    RecordingMedium medium(2 * kSlotBytes);
    ASSERT_TRUE(kSlots.write(medium, payload_of("old"), Region::Slots::both));
    ASSERT_TRUE(kSlots.write(medium, payload_of("new"), Region::Slots::both));
    std::memset(medium.data.data() + lost * kSlotBytes, 0, kSlotBytes);
    EXPECT_EQ(copy_of(kSlots.read(medium)->payload), payload_of("new"));
  }
}

TEST(AbSlots, LossOfNewestSlotAfterWritingOneFallsBack) {
  RecordingMedium medium(2 * kSlotBytes);
  ASSERT_TRUE(kSlots.write(medium, payload_of("old"), Region::Slots::both));
  ASSERT_TRUE(kSlots.write(medium, payload_of("new"), Region::Slots::one));
  std::memset(medium.data.data(), 0, kSlotBytes);
  EXPECT_EQ(copy_of(kSlots.read(medium)->payload), payload_of("old"));
}

TEST(AbSlots, GenerationIsStoredLastAndAlone) {
  RecordingMedium medium(2 * kSlotBytes);
  ASSERT_TRUE(kSlots.write(medium, payload_of("x"), Region::Slots::both));
  const size_t before = medium.stores;
  ASSERT_TRUE(kSlots.write(medium, payload_of("y"), Region::Slots::one));
  const size_t stores = medium.stores - before;
  for (size_t made = 0; made < stores; ++made) {
    RecordingMedium cut(2 * kSlotBytes);
    ASSERT_TRUE(kSlots.write(cut, payload_of("x"), Region::Slots::both));
    cut.stores_left = made;
    ASSERT_TRUE(kSlots.write(cut, payload_of("y"), Region::Slots::one));
    EXPECT_EQ(copy_of(kSlots.read(cut)->payload), payload_of("x")) << "after " << made << " stores";
  }
}

TEST(AbSlots, TooLargePayloadChangesNothing) {
  RecordingMedium medium(2 * kSlotBytes);
  ASSERT_TRUE(kSlots.write(medium, payload_of("kept"), Region::Slots::one));
  const auto before = medium.data;
  const std::vector<std::byte> huge(kSlots.payload_bytes_max() + 1);
  const auto written = kSlots.write(medium, huge, Region::Slots::both);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::too_large);
  EXPECT_EQ(medium.data, before);
}

TEST(AbSlots, NewerFormatIsRefusedWhateverTheOtherSlotSays) {
  RecordingMedium medium(2 * kSlotBytes);
  ASSERT_TRUE(kSlots.write(medium, payload_of("x"), Region::Slots::both));
  SlotHeader header;
  std::memcpy(&header, medium.data.data(), sizeof header);
  header.format = kRegionFormat + 1;
  header.crc = 0;
  header.crc = checksum(checksum(kChecksumSeed, &header, sizeof header),
                        medium.data.data() + sizeof header, header.payload_bytes);
  std::memcpy(medium.data.data(), &header, sizeof header);
  const auto read = kSlots.read(medium);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::wrong_version);
}

TEST(AbSlots, OtherKindIsRefused) {
  RecordingMedium medium(2 * kSlotBytes);
  ASSERT_TRUE(kSlots.write(medium, payload_of("x"), Region::Slots::both));
  const auto read = decode_slot(medium.bytes(0, kSlotBytes), SlotKind::manifest);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::damaged);
}

RC_GTEST_PROP(AbSlots, AnyFlippedBitOfTheWrittenBytesIsDetected,
              (const std::vector<uint8_t>& payload, uint64_t where)) {
  RC_PRE(payload.size() <= kSlots.payload_bytes_max());
  RecordingMedium medium(2 * kSlotBytes);
  RC_ASSERT(
      kSlots.write(medium, std::as_bytes(std::span(payload)), Region::Slots::both).has_value());
  const uint64_t bit = where % ((sizeof(SlotHeader) + payload.size()) * 8);
  medium.data[bit / 8] ^= std::byte{1} << (bit % 8);
  RC_ASSERT_FALSE(decode_slot(medium.bytes(0, kSlotBytes), SlotKind::superblock).has_value());
  RC_ASSERT(copy_of(kSlots.read(medium)->payload) == copy_of(std::as_bytes(std::span(payload))));
}

RC_GTEST_PROP(AbSlots, HostileBytesAreRefused, (const std::vector<uint8_t>& bytes)) {
  const auto read = decode_slot(std::as_bytes(std::span(bytes)), SlotKind::superblock);
  RC_ASSERT_FALSE(read.has_value());
}

}  // namespace
}  // namespace caisson::pmem
