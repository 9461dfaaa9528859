// SPDX-License-Identifier: BSD-3-Clause
// A campaign as a page to look at.
#pragma once

#include <string>

#include "caisson/types.hpp"
#include "tests/simulator/report.hpp"

namespace caisson::simtest {

// The shares of the engine's lines and branches, in per cent, by folder.
struct Coverage {
  struct Row {
    std::string folder;
    uint64_t lines = 0, lines_run = 0;
    uint64_t branches = 0, branches_run = 0;
  };
  std::vector<Row> rows;  // the last one: all
};

// What `llvm-cov export --summary-only` wrote, of everything below core/. not_found · invalid.
Result<Coverage> coverage_of(const std::string& file);

std::string to_html(const Summary& summary, const Coverage& coverage);

}  // namespace caisson::simtest
