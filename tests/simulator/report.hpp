// SPDX-License-Identifier: BSD-3-Clause
// What caisson-sim says: totals, failures, errors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/sim/day.hpp"
#include "tests/simulator/options.hpp"

namespace caisson::simtest {

using Json = nlohmann::ordered_json;

struct Failure {
  uint64_t seed = 0;
  Ending kind = Ending::violated;
  std::vector<Violation> violations;
  uint64_t trace = 0;
};

struct Summary {
  Options options;
  Totals totals;
  double seconds = 0;
  uint64_t trace = 0;  // of all seeds, in whatever order they ran
  std::vector<Failure> failures;
  uint64_t unreported = 0;  // canaries that nobody noticed

  Ending ending() const;
};

// Which failure a verdict is; ok if none.
Ending ending_of(const Verdict& verdict);
std::string hex(uint64_t word);
// Names the very program that runs: the same seed in the same build is the same run.
std::string build();
// How to see one failure again.
std::string again(const Failure& failure);

Json to_json(const Totals& totals);
Json to_json(const Failure& failure);
void print(const Summary& summary);
void print_json(const Json& object);
// In words on standard error; with `json` as an object on standard output, too.
Ending report(Ending ending, const std::string& message, bool json);

}  // namespace caisson::simtest
