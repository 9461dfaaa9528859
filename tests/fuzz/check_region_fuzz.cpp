// SPDX-License-Identifier: BSD-3-Clause
// A region file as caisson-check decodes it: arbitrary slots and entries, sealed with checksums
// that hold, so that what lies behind them is met. Refused with a reason, or an image that is
// consistent.
#include <algorithm>
#include <vector>

#include "tests/checker/crc32c.hpp"
#include "tests/checker/region.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using caisson::checker::crc32c;
using caisson::checker::kCrcSeed;
using caisson::fuzz::Reader;
using caisson::fuzz::require;
using Bytes = std::vector<uint8_t>;

constexpr size_t kSlotsAt = 128 * 1024;
constexpr size_t kRingBytes = 64 * 1024;
constexpr size_t kHeaderBytes = 64;
constexpr size_t kEntriesMax = 64;

template <class T>
T load(const Bytes& file, size_t at) {
  T value{};
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}
template <class T>
void store(Bytes& file, size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}

void put_slot(Bytes& file, size_t at, uint32_t kind, Reader& input) {
  const size_t bytes = input.take<uint16_t>() % 2048;
  store(file, at, uint64_t{1});
  std::memcpy(&file[at + 8], "CISSLOT1", 8);
  store(file, at + 16, uint32_t{1});
  store(file, at + 20, kind);
  store(file, at + 24, static_cast<uint32_t>(bytes));
  for (size_t i = 0; i < bytes; ++i) file[at + kHeaderBytes + i] = input.take<uint8_t>();
  const uint32_t header = crc32c(kCrcSeed, &file[at], kHeaderBytes);
  store(file, at + 28, crc32c(header, &file[at + kHeaderBytes], bytes));
}

// Makes the checksums of what looks like entries hold, from where the superblock says they begin.
void seal_entries(Bytes& file) {
  size_t at = load<uint64_t>(file, kHeaderBytes + 96) % kRingBytes / kHeaderBytes * kHeaderBytes;
  auto chain = load<uint32_t>(file, kHeaderBytes + 112);
  for (size_t i = 0; i < kEntriesMax && at + kHeaderBytes <= kRingBytes; ++i) {
    uint8_t* const header = &file[kSlotsAt + at];
    const auto payload = load<uint32_t>(file, kSlotsAt + at + 28);
    const uint32_t hash = crc32c(kCrcSeed, header + 8, kHeaderBytes - 8);
    const uint64_t room = kRingBytes - at - kHeaderBytes;
    const uint64_t link =
        hash + (uint64_t{crc32c(kCrcSeed, header + kHeaderBytes, std::min<uint64_t>(payload, room))}
                << 32);
    chain = crc32c(chain, &link, sizeof link);
    store(file, kSlotsAt + at + 4, chain);
    store(file, kSlotsAt + at, crc32c(hash, &chain, sizeof chain));
    if (payload > room) return;
    at += kHeaderBytes + (payload + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::checker;
  Reader input(data, size);
  Bytes file(kSlotsAt + 2 * kRingBytes);
  put_slot(file, 0, 1, input);
  put_slot(file, 8192, 2, input);
  put_slot(file, 36864, 3, input);
  for (size_t i = 0; i < kRingBytes && !input.empty(); ++i) {
    file[kSlotsAt + i] = input.take<uint8_t>();
  }
  seal_entries(file);
  const ReadAt read = [&](uint64_t at, void* to, size_t n) {
    require(at <= UINT64_MAX - n, "no read wraps around");
    if (at + n > file.size()) return false;
    std::memcpy(to, file.data() + at, n);
    return true;
  };
  Image image;
  const std::string why = decode_region(read, file.size(), image);
  if (!why.empty()) return 0;
  require(!image.end.empty(), "it says why the entries end");
  require(image.shown() <= image.last() && image.shown() <= image.committed, "no more than it has");
  require(image.entries.size() <= kRingBytes / kHeaderBytes, "no more than a ring holds");
  for (size_t i = 1; i < image.entries.size(); ++i) {
    require(image.entries[i - 1].term <= image.entries[i].term, "terms do not fall");
  }
  return 0;
}
