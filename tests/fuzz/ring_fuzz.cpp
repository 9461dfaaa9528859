// SPDX-License-Identifier: BSD-3-Clause
// A valid ring, damaged: whatever the damage, a scan delivers a prefix of the original entries,
// byte for byte, and nothing else. The damage is of the kinds that the checksums promise to find: a
// bit, a word, a torn or stale line.
#include <algorithm>
#include <vector>

#include "core/log/log_state.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/ring_builder.hpp"

namespace {

using namespace caisson;
using caisson::fuzz::kFuzzRingBytes;
using caisson::fuzz::require;

struct Original {
  log::Cursor before;
  log::EntryHeader header;
  std::vector<std::byte> payload;
};

log::EntryHeader next_header(fuzz::Reader& reader, Term& term) {
  log::EntryHeader header{};
  const auto shape = reader.take<uint8_t>();
  constexpr log::Kind kKinds[] = {log::Kind::data, log::Kind::data, log::Kind::data,
                                  log::Kind::noop};
  header.kind = static_cast<uint8_t>(kKinds[shape & 3]);
  header.flags = log::kFlagBatchEnd;
  if ((shape & 0x10) != 0) term = Term{term.value + 256};
  header.term = term.value;
  header.view = 1;
  header.commit_lag = (shape & 0x20) != 0 ? log::kCommitLagUnknown : 1;
  return header;
}

std::vector<std::byte> next_payload(fuzz::Reader& reader) {
  std::vector<std::byte> payload(reader.below(700));
  auto fill = reader.take<uint8_t>();
  for (std::byte& b : payload) b = std::byte{fill++};
  return payload;
}

// A lap of entries that the second lap overwrites, so that what lies behind the tail is a previous
// lap.
std::vector<Original> build(fuzz::Reader& reader, fuzz::RingBuilder& builder) {
  std::vector<Original> entries;
  Term term{257};
  const Offset window_end{kFuzzRingBytes + kFuzzRingBytes / 2};
  while (!reader.empty() && entries.size() < 200) {
    const log::EntryHeader header = next_header(reader, term);
    std::vector<std::byte> payload = next_payload(reader);
    if (!builder.fits(payload.size(), window_end)) break;
    const log::Cursor before = builder.tail();
    builder.append(header, payload);
    entries.push_back({before, log::load_header(builder.ring().at(before.end)), payload});
  }
  return entries;
}

void damage(fuzz::Reader& reader, fuzz::RingBuilder& builder) {
  const Offset at{reader.below(kFuzzRingBytes)};
  const Offset line{at.value / 64 * 64};
  switch (reader.take<uint8_t>() % 4) {
    case 0: {
      const auto bit = static_cast<std::byte>(1u << reader.below(8));
      builder.set(at, builder.get(at) ^ bit);
      break;
    }
    case 1: {
      const uint32_t word = reader.take<uint32_t>() | 1;
      const Offset start{at.value / 4 * 4};
      for (uint64_t i = 0; i < 4; ++i) {
        builder.set(start + i, builder.get(start + i) ^ static_cast<std::byte>(word >> (8 * i)));
      }
      break;
    }
    case 2:
      for (uint64_t i = 0; i < 64; ++i) builder.set(line + i, std::byte{0});
      break;
    default:
      for (uint64_t i = 0; i < 64; ++i) builder.set(line + i, builder.get(line + 64 + i));
  }
}

// The last position before which no entry was touched.
uint64_t untouched_through(const std::vector<Original>& entries, size_t first,
                           const log::Ring& ring) {
  uint64_t through = entries[first].before.position.value;
  for (size_t i = first; i < entries.size(); ++i) {
    const Original& entry = entries[i];
    const std::byte* at = ring.at(entry.before.end);
    if (std::memcmp(at, &entry.header, sizeof entry.header) != 0) break;
    if (!std::equal(entry.payload.begin(), entry.payload.end(), at + log::kHeaderBytes)) break;
    through = entry.header.position;
  }
  return through;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 16) return 0;
  fuzz::Reader damage_reader(data, 12);
  fuzz::Reader entry_reader(data + 12, size - 12);
  fuzz::RingBuilder builder;
  const std::vector<Original> entries = build(entry_reader, builder);
  if (entries.empty()) return 0;

  // The oldest entry that the second lap left whole is the trim point.
  size_t first = 0;
  while (entries[first].before.end + kFuzzRingBytes < builder.tail().end) ++first;
  damage(damage_reader, builder);

  log::LogState state(fuzz::fuzz_identity(), builder.ring(), 16, 64);
  state.reset(entries[first].before);
  log::scan(state);
  require(state.tail().position <= builder.tail().position, "nothing is found behind the tail");
  require(state.tail().position.value >= untouched_through(entries, first, builder.ring()),
          "everything before the damage is found");
  state.commit(state.batch_tail().position, state.batch_tail().end);
  for (size_t i = first; i < entries.size(); ++i) {
    const Original& original = entries[i];
    log::EntryView view;
    const Code code = state.read(Position{original.header.position}, view);
    if (original.header.position > state.batch_tail().position.value) {
      require(code == Code::not_yet, "what was not found is not delivered");
      continue;
    }
    require(code == Code::ok, "what was found is delivered");
    require(std::memcmp(&view.header, &original.header, sizeof view.header) == 0,
            "a header is delivered as it was written");
    require(view.payload.size() == original.payload.size() &&
                std::equal(view.payload.begin(), view.payload.end(), original.payload.begin()),
            "a payload is delivered as it was written");
  }
  return 0;
}
