// SPDX-License-Identifier: BSD-3-Clause
// The machines of a cluster benchmark, and how a command is run on them (docs/benchmarks.md).
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "caisson/options.hpp"
#include "caisson/types.hpp"
#include "tools/process.hpp"

namespace caisson::tools {

struct BenchHost {
  std::string name;     // as the launcher knows it
  std::string address;  // of its adapter
  std::string device;   // that its ring lies on; empty: a file
  std::string
      scratch_device;  // … and what the bare loop writes to, which is overwritten; empty: a file
};

struct HostsFile {
  // The words of a command that runs a shell command on a host: {host} and {command} stand for
  // them.
  std::vector<std::string> launcher{"ssh", "-o", "BatchMode=yes", "{host}", "{command}"};
  std::string program = "caisson";        // there
  std::string directory = "/tmp";         // … in which one is made, and taken away again
  uint16_t port = 7711;                   // the first of those that hosts listen on
  FabricKind fabric = FabricKind::verbs;  // shm: all hosts are one machine
  PersistenceMode persistence = PersistenceMode::emulated;
  VerbsOptions verbs;  // what is alike on all of them
  uint64_t round_trip_us = 1000;
  std::vector<std::string> bandwidth{"-D",
                                     "8"};  // how long ib_write_bw runs, and what else it is told
  std::vector<BenchHost> hosts;             // the first one leads
};

// too_large · invalid, naming line of `source`, key and cure.
Result<HostsFile> parse_hosts(std::string_view text, std::string_view source);
// … of a file. Also not_found.
Result<HostsFile> load_hosts(const std::filesystem::path& path);

// A command on a host that has been started.
class RemoteCommand {
 public:
  // `command` is for a shell there.
  static Result<RemoteCommand> start(const HostsFile& hosts, const BenchHost& host,
                                     const std::string& command,
                                     const std::filesystem::path& errors);
  RemoteCommand(RemoteCommand&& other) noexcept;
  RemoteCommand& operator=(RemoteCommand&&) = delete;
  ~RemoteCommand();  // ends the launcher

  // What it printed, when it has ended. timed_out · io: it failed; with its last words.
  Result<std::string> wait(std::chrono::milliseconds timeout);

 private:
  RemoteCommand(std::string host, Spawned spawned, std::filesystem::path errors)
      : host_(std::move(host)), spawned_(std::move(spawned)), errors_(std::move(errors)) {}

  std::string host_;
  Spawned spawned_;
  std::filesystem::path errors_;
};

// Starts it and waits.
Result<std::string> run_on(const HostsFile& hosts, const BenchHost& host,
                           const std::string& command, std::chrono::milliseconds timeout,
                           const std::filesystem::path& errors);

// One word for a shell.
std::string shell_word(const std::string& text);

}  // namespace caisson::tools
