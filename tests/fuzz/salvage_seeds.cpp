// SPDX-License-Identifier: BSD-3-Clause
#include "core/replication/salvage_format.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

// An area whose first slot names three entries.
void salvage_seeds(const AddSeed& add) {
  RingBuilder builder;
  for (uint64_t i = 1; i <= 3; ++i) {
    log::EntryHeader header{};
    header.kind = static_cast<uint8_t>(log::Kind::data);
    header.flags = log::kFlagBatchEnd;
    header.term = 257;
    header.client = 42;
    header.incarnation = 1;
    header.sequence = i;
    builder.append(header, std::vector<std::byte>(60 * i, std::byte{0x41}));
  }
  const log::Cursor before = log::origin(fuzz_identity());
  replication::SalvageSlot slot{1,   before.chain,
                                0,   builder.tail().end.value,
                                0,   0,
                                514, replication::kDirectoryBytesSmall,
                                0,   replication::kSlotKept};
  slot.crc = replication::slot_crc(slot);
  std::string area(replication::kDirectoryBytesSmall + slot.bytes, '\0');
  std::memcpy(area.data(), &slot, sizeof slot);
  std::memcpy(area.data() + slot.at, builder.ring().at(Offset{0}), slot.bytes);
  add(area);
}

}  // namespace caisson::fuzz
