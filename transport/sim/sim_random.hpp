// SPDX-License-Identifier: BSD-3-Clause
// The only source of chance in a simulation: everything follows from one seed.
#pragma once

#include <cstdint>

namespace caisson::transport::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Below `bound`; 0 if bound is 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool permille(uint64_t chance) { return below(1000) < chance; }
  // Another stream of chance; drawing from one does not disturb the other.
  Random split() { return Random(next()); }

 private:
  uint64_t state_;
};

}  // namespace caisson::transport::sim
