// SPDX-License-Identifier: BSD-3-Clause
// Alters region files for tests, as faults and other versions would.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "core/log/entry_format.hpp"

namespace caisson::test {

// As a newer version would have written it: its format number is one higher, and every checksum
// holds.
void make_newer(const std::filesystem::path& region);

// Where in the file the byte of the ring at `offset` lies.
uint64_t file_offset(const std::filesystem::path& region, uint64_t offset);
void flip_byte(const std::filesystem::path& file, uint64_t at);

// The logical offset of the entry at `position`.
uint64_t entry_offset(const std::filesystem::path& region, uint64_t position);
// Changes an entry, and seals it and all that follow anew, so that every checksum holds.
void alter_entry(const std::filesystem::path& region, uint64_t position,
                 const std::function<void(log::EntryHeader&, std::span<std::byte>)>& change);
// The last position that chains.
uint64_t last_position(const std::filesystem::path& region);

}  // namespace caisson::test
