// SPDX-License-Identifier: BSD-3-Clause
// What the region files of a log's replicas say together, and whether they keep what a history
// promises.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/checker/judge.hpp"
#include "tests/checker/region.hpp"

namespace caisson::checker {

struct RegionFile {
  std::string name;
  Image image;
};

std::optional<Refusal> read_region(const std::string& name, RegionFile& file);
// All are replicas of one log, each once.
std::optional<Refusal> belong_together(const std::vector<RegionFile>& files);

// Each committed entry of each image is one more that its replica shows.
void show(const std::vector<RegionFile>& files, Judge& judge);
// Whether what was acknowledged is in enough of them. After the judge has finished.
void judge_copies(const std::vector<RegionFile>& files, Judge& judge);

}  // namespace caisson::checker
