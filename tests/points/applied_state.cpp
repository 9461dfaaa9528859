// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>

#include "tests/points/application.hpp"

namespace caisson::points {

void AppliedState::apply(std::span<const std::byte> payload) {
  uint64_t& count = words_[0];
  uint64_t& hash = words_[1];
  ++count;
  for (const std::byte each : payload) hash = hash * 31 + static_cast<uint64_t>(each) + 1;
  hash = hash * 6364136223846793005u + count;
  words_[2 + hash % (words_.size() - 2)] = hash;
}

void AppliedState::set(std::span<const std::byte> bytes) {
  std::fill(words_.begin(), words_.end(), 0);
  if (bytes.size() == kBytes) std::memcpy(words_.data(), bytes.data(), kBytes);
}

std::string state_path(const std::string& data, const std::string& log) {
  return data + "/logs/" + log + "/state";
}

}  // namespace caisson::points
