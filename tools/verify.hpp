// SPDX-License-Identifier: BSD-3-Clause
// Judges a stopped replica's log without writing a byte: what it holds, how far it is committed,
// and whether it ends in a tail or in damage (P16).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "core/log/log_state.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/region.hpp"

namespace caisson::tools {

enum class Verdict : uint8_t {
  sound,       // every entry chains up to a clean end
  unfinished,  // behind the last complete batch lies a torn or incomplete one; nobody was told it
               // is there
  damaged,     // acknowledged bytes are gone or corrupt
};

struct SlotReport {
  bool valid = false;
  uint64_t generation = 0;
  std::string what;  // why not, if it is not valid
};

struct LogReport {
  Verdict verdict = Verdict::sound;
  std::string reason;  // of a verdict that is not sound
  Position position;   // where it breaks: the first position that is not there
  log::Superblock superblock;
  std::array<SlotReport, 2> slots;  // A and B
  log::Cursor tail;                 // last entry that chains
  log::Cursor batch_tail;           // last complete batch
  Position committed;  // known to be committed, by the superblock or by an entry's hint
  std::vector<log::TermRun> terms;
  uint64_t entries = 0;  // trim + 1 … tail
  uint64_t data_entries = 0;
  uint64_t payload_bytes = 0;
  uint64_t ring_bytes = 0;
};

// The region file that `path` means: itself, or the only one in the directory.
Result<std::filesystem::path> find_region_file(const std::filesystem::path& path);

// Opens read-only. busy: a living replica owns it · amnesia, not_found, damaged, wrong_version,
// denied.
Result<std::unique_ptr<const pmem::Region>> open_offline(const std::filesystem::path& file);

// Both slots of the superblock as they lie in the file.
Result<std::array<SlotReport, 2>> examine_slots(const std::filesystem::path& file);

// Walks the chain from the trim point. `visit`, if given, sees every entry in order; false ends the
// walk early, and with it the judgement.
using Visit = std::function<bool(const log::EntryHeader&, std::span<const std::byte> payload)>;
Result<LogReport> examine_log(const pmem::Region& region, const Visit& visit = {});

}  // namespace caisson::tools
