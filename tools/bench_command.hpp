// SPDX-License-Identifier: BSD-3-Clause
// The benchmarks of `caisson bench` that are about what changes under a load.
#pragma once

#include "tools/command.hpp"

namespace caisson::tools {

void add_bench_features(Commands& commands, CLI::App& group);
void add_bench_member(Commands& commands, CLI::App& group);
void add_bench_transfer(Commands& commands, CLI::App& group);

}  // namespace caisson::tools
