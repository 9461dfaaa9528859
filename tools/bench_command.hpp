// SPDX-License-Identifier: BSD-3-Clause
// What the commands of `caisson bench` have in common, and those that are about what changes under
// a load, or about reading.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "bench/samples.hpp"
#include "tools/command.hpp"

namespace caisson::tools {

// Runs `run` and shows how far it is; then prints what it found, by `print` or as JSON.
template <class Run, class Print>
Exit play_benchmark(bool json, const Run& run, const Print& print) {
  Progress progress(json);
  const auto result = run([&](const std::string& line) {
    if (progress.due()) progress.show(line);
  });
  progress.clear();
  if (!result) return report(result.error(), json);
  if (json) {
    print_json(to_json(*result));
  } else {
    print(*result);
  }
  return Exit::ok;
}

// One place for raw samples unless another is named, so that runs replace each other and nothing
// piles up.
std::filesystem::path samples_directory(const std::string& given);

// How long it took until somebody led again: what `did` it, how often.
void print_succession(const std::string& did, uint64_t ring_bytes,
                      const std::optional<uint32_t>& priority, const bench::Percentiles& latency);

void add_place(CLI::App* command, std::filesystem::path& directory);
void add_replicas(CLI::App* command, uint32_t& replicas, int least);
void add_rounds(CLI::App* command, uint32_t& rounds, const std::string& of_what);
void add_priority(CLI::App* command, std::optional<uint32_t>& priority);
void add_samples(CLI::App* command, std::string& samples);

void add_bench_cluster(Commands& commands, CLI::App& group);
void add_bench_features(Commands& commands, CLI::App& group);
void add_bench_load(Commands& commands, CLI::App& group);
void add_bench_member(Commands& commands, CLI::App& group);
void add_bench_reads(Commands& commands, CLI::App& group);
void add_bench_revoke(Commands& commands, CLI::App& group);
void add_bench_transfer(Commands& commands, CLI::App& group);

// What `bench cluster` runs on machines; nothing: the command line is another one.
std::optional<int> run_bench_host(int argc, const char* const* argv);

}  // namespace caisson::tools
