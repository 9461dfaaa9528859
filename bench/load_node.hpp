// SPDX-License-Identifier: BSD-3-Clause
// A node process that carries its own load: an application in each replica's process appends
// whenever that replica leads, and notes when the first append of each term was acknowledged. So a
// failover is timed without a network client's own waits in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson::bench {

// Hidden command of the program: `caisson load-node CONFIG CELLS`.
inline constexpr std::string_view kLoadCommand = "load-node";

// What a loaded node tells, in a file mapped by it and by who watches. Times: CLOCK_MONOTONIC,
// which all processes of a machine share.
struct LoadCells {
  std::atomic<uint64_t> term;          // of the latest append acknowledged here
  std::atomic<uint64_t> first_ack_ns;  // … and when the first one of that term was; written before
  std::atomic<uint64_t> acknowledged;  // appends, in all terms
  std::atomic<uint64_t> last_ack_ns;
  // Written by who watches: the replica that is to lead; taken back to 0 by who leads, which says
  // when it asked, and what it was told.
  std::atomic<uint64_t> heir;
  std::atomic<uint64_t> handed_over_ns;
  std::atomic<uint64_t> hand_over_code;
};

class MappedCells {
 public:
  static Result<std::unique_ptr<MappedCells>> open(const std::filesystem::path& path);
  ~MappedCells();
  MappedCells(const MappedCells&) = delete;
  MappedCells& operator=(const MappedCells&) = delete;
  LoadCells& operator*() { return *cells_; }
  LoadCells* operator->() { return cells_; }

 private:
  explicit MappedCells(LoadCells* cells) : cells_(cells) {}
  LoadCells* cells_;
};

// Runs until SIGTERM. Returns an exit code.
int run_load_node(const std::string& configuration, const std::string& cells);

}  // namespace caisson::bench
