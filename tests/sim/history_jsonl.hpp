// SPDX-License-Identifier: BSD-3-Clause
// A history as operations, one JSON object a line, for whatever checker: docs/history.md.
#pragma once

#include <ostream>

#include "tests/sim/history.hpp"

namespace caisson::simtest {

void write_jsonl(const History& history, std::ostream& out);

}  // namespace caisson::simtest
