// SPDX-License-Identifier: BSD-3-Clause
// Many seeds on several processes.
#pragma once

#include <functional>
#include <optional>

#include "tests/simulator/report.hpp"

namespace caisson::simtest {

Summary run_campaign(const Options& options);

// What becomes of a run in a process of its own; Ending::failure if it ends that process.
struct Apart {
  Ending ending = Ending::ok;
  Verdict verdict;
};
Apart run_apart(const Schedule& day, const Options& options);

}  // namespace caisson::simtest
