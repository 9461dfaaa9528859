// SPDX-License-Identifier: BSD-3-Clause
// A follower of a cluster benchmark: replicates, gives leadership away to replica 1, lends memory
// to the bare loop.
#pragma once

#include <cstdint>
#include <string>

#include "caisson/options.hpp"
#include "caisson/types.hpp"

namespace caisson::bench {

// Hidden commands of the program, of those that the harness runs on hosts.
struct HostOptions {
  std::string configuration;
  uint16_t port = 0;  // that followers listen on for the leader
  std::string secret;
  std::string scratch;          // memory of the bare loop
  bool scratch_device = false;  // … is a devdax device
  // Of the leader.
  std::string points;     // JSON: see lead_run.cpp
  std::string followers;  // JSON: a list of [host, port]
  std::string samples;    // directory
  std::string numa = "any";
};

// Makes the replica, and runs it until SIGTERM; then it is gone. Returns an exit code.
int run_follow(const HostOptions& options);

// The replica of a configuration, made anew.
Result<EngineOptions> make_replica(const std::string& configuration);
// … and destroyed.
Result<void> unmake_replica(const EngineOptions& options);

}  // namespace caisson::bench
