// SPDX-License-Identifier: BSD-3-Clause
// What the nodes of caisson-faulty run: an application whose state every entry changes. It commits
// the state with the position that belongs to it, begins there after a crash (S6), and gets it from
// another node where the entries are no longer there (R26).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace caisson::points {

// The same entries in the same order, each once, make the same bytes.
class AppliedState {
 public:
  static constexpr size_t kBytes = size_t{600} << 10;  // several pieces on its way to another node

  void apply(std::span<const std::byte> payload);
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words_)); }
  void set(std::span<const std::byte> bytes);  // all, or none: as in the beginning

 private:
  std::vector<uint64_t> words_ = std::vector<uint64_t>(kBytes / sizeof(uint64_t));
};

// Beside its log's region, in the data directory `data`.
std::string state_path(const std::string& data, const std::string& log);

// `caisson node --config FILE`, with the application.
int run_application(const std::string& configuration);

}  // namespace caisson::points
