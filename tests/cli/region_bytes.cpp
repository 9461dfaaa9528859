// SPDX-License-Identifier: BSD-3-Clause
#include "tests/cli/region_bytes.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "pmem/ab_slots.hpp"
#include "pmem/checksum.hpp"
#include "pmem/file_region.hpp"
#include "pmem/region_format.hpp"
#include "tools/verify.hpp"

namespace caisson::test {

namespace {

std::vector<std::byte> read_at(const std::filesystem::path& path, uint64_t at, size_t n) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(n);
  file.seekg(static_cast<std::streamoff>(at));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(n));
  EXPECT_TRUE(file.good()) << path;
  return bytes;
}

void write_at(const std::filesystem::path& path, uint64_t at, const std::vector<std::byte>& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.good()) << path;
}

}  // namespace

void make_newer(const std::filesystem::path& region) {
  for (uint64_t slot = 0; slot < 2; ++slot) {
    const uint64_t at = pmem::kIdentityAt + slot * pmem::kIdentitySlotBytes;
    std::vector<std::byte> bytes = read_at(region, at, pmem::kIdentitySlotBytes);
    pmem::SlotHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.generation == 0) continue;
    header.format = pmem::kRegionFormat + 1;
    header.crc = 0;
    const uint32_t crc = pmem::checksum(pmem::kChecksumSeed, &header, sizeof header);
    header.crc = pmem::checksum(crc, bytes.data() + sizeof header, header.payload_bytes);
    std::memcpy(bytes.data(), &header, sizeof header);
    write_at(region, at, bytes);
  }
}

uint64_t file_offset(const std::filesystem::path& region, uint64_t offset) {
  const auto file = pmem::FileRegion::open_read_only(region.string());
  EXPECT_TRUE(file) << (file ? "" : file.error().message);
  if (!file) return 0;
  const pmem::Geometry& geometry = (*file)->geometry();
  const pmem::RegionLayout layout(geometry);
  const uint64_t at = offset % geometry.ring_bytes;
  const uint32_t slot = (*file)->manifest().slot_of_segment[at / geometry.segment_bytes];
  return layout.slots_at + slot * geometry.segment_bytes + at % geometry.segment_bytes;
}

void flip_byte(const std::filesystem::path& file, uint64_t at) {
  std::vector<std::byte> byte = read_at(file, at, 1);
  byte[0] ^= std::byte{0x10};
  write_at(file, at, byte);
}

uint64_t entry_offset(const std::filesystem::path& region, uint64_t position) {
  const auto file = tools::open_offline(region);
  EXPECT_TRUE(file);
  if (!file) return 0;
  uint64_t offset = 0;
  bool first = true;
  const auto report = tools::examine_log(**file, [&](const log::EntryHeader& header, auto) {
    if (first) offset = uint64_t{header.offset_line} * log::kEntryAlignBytes;
    first = false;
    if (header.position >= position) return false;
    offset += log::entry_bytes(header.payload_bytes);
    return true;
  });
  EXPECT_TRUE(report);
  return offset;
}

void alter_entry(const std::filesystem::path& region, uint64_t position,
                 const std::function<void(log::EntryHeader&, std::span<std::byte>)>& change) {
  uint32_t chain = 0;
  {
    const uint64_t before = file_offset(region, entry_offset(region, position - 1));
    chain = log::load_header(read_at(region, before, log::kHeaderBytes).data()).chain;
  }
  const uint64_t last = last_position(region);
  uint64_t offset = entry_offset(region, position);
  for (uint64_t p = position; p <= last; ++p) {
    const uint64_t at = file_offset(region, offset);  // these rings are in one piece
    log::EntryHeader header = log::load_header(read_at(region, at, log::kHeaderBytes).data());
    std::vector<std::byte> entry = read_at(region, at, log::entry_bytes(header.payload_bytes));
    const std::span payload(entry.data() + log::kHeaderBytes, header.payload_bytes);
    if (p == position) change(header, payload);
    const uint32_t crc = log::crc32c(log::kCrcSeed, payload.data(), payload.size());
    log::store_words(entry.data(), log::sealed_words(header, chain, crc));
    chain = header.chain;
    write_at(region, at, entry);
    offset += entry.size();
  }
}

uint64_t last_position(const std::filesystem::path& region) {
  const auto file = tools::open_offline(region);
  EXPECT_TRUE(file);
  if (!file) return 0;
  const auto report = tools::examine_log(**file);
  EXPECT_TRUE(report);
  return report ? report->tail.position.value : 0;
}

}  // namespace caisson::test
