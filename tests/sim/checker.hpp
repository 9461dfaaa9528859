// SPDX-License-Identifier: BSD-3-Clause
// The judge of every simulated run. Reads a history, knows nothing of the engine, and names the
// invariant that broke:
//   I1 two replicas expose different values at one position     I2 the commit index has a hole
//   I3 a position once exposed changed                          I4 a stream's committed set is no
//   prefix I5 an identity committed twice                              I6 an acknowledged entry is
//   gone I7 a linearizable read misses what was acknowledged, or seen, before it was asked for, or
//   names what was never committed I8 replayed states differ at a position                     R5
//   torn, foreign or half a batch delivered R8 trimmed although somebody still needed it R13 said
//   not appended, and was appended R18 two leaders of one term                                 LIVE
//   no service although a quorum is healthy
#pragma once

#include <string>
#include <vector>

#include "tests/sim/history.hpp"

namespace caisson::simtest {

struct Violation {
  std::string invariant;
  std::string what;
};

std::vector<Violation> judge(const History& history);

}  // namespace caisson::simtest
