// SPDX-License-Identifier: BSD-3-Clause
// The leader of a cluster benchmark: appends from its own thread, beside the bare loop to the same
// followers.
#pragma once

#include "bench/follow_run.hpp"

namespace caisson::bench {

// Makes replica 1, waits to lead, measures one point after the other; each is a line of JSON on
// standard output. Then the replica is gone. Returns an exit code.
int run_lead(const HostOptions& options);

}  // namespace caisson::bench
