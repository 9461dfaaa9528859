// SPDX-License-Identifier: BSD-3-Clause
// A day, and what another program thinks of its history: caisson-check, or anyone's that ends with
// its codes and prints its JSON (docs/history.md).
#pragma once

#include <string>

#include "tests/sim/day.hpp"

namespace caisson::simtest {

// As run_day; unless `checker` is empty, that program gets the history to judge, too. What it finds
// is added; a canary counts as reported only if both judges report it.
Verdict run_judged_day(const Schedule& day, const DayOptions& options, const std::string& checker);

}  // namespace caisson::simtest
