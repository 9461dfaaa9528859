// SPDX-License-Identifier: BSD-3-Clause
#include <cstdio>

#include "tools/bench_command.hpp"

namespace caisson::tools {

std::filesystem::path samples_directory(const std::string& given) {
  return given.empty() ? std::filesystem::temp_directory_path() / "caisson-bench-samples"
                       : std::filesystem::path(given);
}

void print_succession(const std::string& did, uint64_t ring_bytes,
                      const std::optional<uint32_t>& priority, const bench::Percentiles& latency) {
  const std::string pollers =
      priority.value_or(0) == 0 ? "without priority" : "of priority " + std::to_string(*priority);
  std::printf("%s under load, rings of %s, pollers %s\n", did.c_str(),
              human_bytes(static_cast<double>(ring_bytes)).c_str(), pollers.c_str());
  std::printf("  to the first new acknowledged append: p50 %s, p99 %s, max %s\n",
              human_ns(latency.p50_ns).c_str(), human_ns(latency.p99_ns).c_str(),
              human_ns(latency.max_ns).c_str());
}

void add_place(CLI::App* command, std::filesystem::path& directory) {
  directory = "/dev/shm";
  command
      ->add_option_function<std::string>(
          "--dir", [&directory](const std::string& given) { directory = given; },
          "where the regions are made")
      ->default_str(directory.string());
}

void add_replicas(CLI::App* command, uint32_t& replicas, int least) {
  command->add_option("--replicas", replicas, "how many")
      ->check(CLI::Range(least, 7))
      ->capture_default_str();
}

void add_rounds(CLI::App* command, uint32_t& rounds, const std::string& of_what) {
  command->add_option("--rounds", rounds, of_what)
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
}

void add_priority(CLI::App* command, std::optional<uint32_t>& priority) {
  command
      ->add_option("--poller-priority", priority,
                   "real-time priority of pollers; 0: ordinary threads (1, where that is allowed)")
      ->check(CLI::Range(0, 99));
}

void add_samples(CLI::App* command, std::string& samples) {
  command->add_option(
      "--samples", samples,
      "directory for the raw samples (caisson-bench-samples where temporary files go)");
}

}  // namespace caisson::tools
