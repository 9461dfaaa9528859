// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a salvage area: what it is said to hold lies inside of it, and its entries are
// read without harm from any cursor; what was kept is found again as it was.
#include <cstring>
#include <vector>

#include "core/replication/orphans.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/ring_builder.hpp"

namespace {

using namespace caisson;
using caisson::fuzz::require;

constexpr uint64_t kAreaBytes = 16 * 1024;

void read_all(std::span<const std::byte> area, fuzz::Reader& reader) {
  const fuzz::RingBuilder blank;
  const log::LogState empty(fuzz::fuzz_identity(), blank.ring(), 16, 16);
  for (const replication::SalvageRecord& record : replication::read_salvage(area)) {
    if (record.damaged) {
      require(record.bytes.empty(), "of a damaged slot nothing is believed");
      continue;
    }
    require(record.bytes.data() >= area.data() &&
                record.bytes.data() + record.bytes.size() <= area.data() + area.size(),
            "a record lies in the area");
    log::Cursor from = record.before();
    if (reader.below(2) == 1) from.end = Offset{reader.below(1u << 16)};
    for (;;) {
      const auto page = replication::read_orphans(record, from, {}, empty, Position{});
      require(page.last || page.next.end > from.end, "a page goes on");
      if (page.last) break;
      from = page.next;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Reader reader(data, size);
  std::vector<std::byte> area(kAreaBytes);
  std::memcpy(area.data(), data, std::min<size_t>(size, area.size()));
  read_all(area, reader);
  // The checksum made to hold, so that what is behind it is judged, too.
  for (uint64_t i = 0; i < 8; ++i) {
    replication::SalvageSlot slot = replication::load_slot(area, i);
    slot.crc = replication::slot_crc(slot);
    slot.state = replication::kSlotKept;
    std::memcpy(area.data() + i * sizeof slot, &slot, sizeof slot);
  }
  read_all(area, reader);
  return 0;
}
