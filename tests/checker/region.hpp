// SPDX-License-Identifier: BSD-3-Clause
// A replica's region file, decoded from docs/format.md and docs/format-region.md alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/checker/operation.hpp"

namespace caisson::checker {

// Copies `n` bytes from `at`; false if they cannot be read.
using ReadAt = std::function<bool(uint64_t at, void* to, size_t n)>;

struct ImageEntry {
  uint64_t term = 0;
  Value value;
  bool batch_end = false;
};

struct ImageView {
  uint64_t voters = 0;    // bit i: replica i
  uint64_t outgoing = 0;  // leave with the next view
  uint8_t copies = 0;     // that commit; 0: a majority, 255: all
};

struct Image {
  uint64_t replica = 0;
  std::array<uint8_t, 16> cluster{};
  uint64_t log = 0;
  uint64_t trimmed = 0;    // entries begin behind it
  uint64_t committed = 0;  // at least; as its superblock says, or one of its entries
  uint64_t damaged_through = 0;
  uint64_t lost_from = 0;           // a quorum was given up: what was acknowledged from here …
  uint64_t lost_to = 0;             // … to here may be lost; 0: none was
  ImageView view;                   // the last one that is committed
  std::vector<ImageEntry> entries;  // all that verify, from trimmed + 1 on
  std::string end;                  // why the next one does not

  uint64_t last() const { return trimmed + entries.size(); }
  // What it is known to hold as committed.
  uint64_t shown() const { return committed < last() ? committed : last(); }
  const ImageEntry* at(uint64_t position) const {
    return position <= trimmed || position > last() ? nullptr : &entries[position - trimmed - 1];
  }
};

// Empty, or why these bytes are no region that can be judged.
std::string decode_region(const ReadAt& read, uint64_t file_bytes, Image& image);

}  // namespace caisson::checker
