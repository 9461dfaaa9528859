// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "bench/features_run.hpp"
#include "bench/member_run.hpp"
#include "bench/transfer_run.hpp"
#include "tools/bench_command.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

struct FeaturesOptions {
  bench::FeaturesRunOptions run;
  std::string directory = "/dev/shm";
};

struct MemberOptions {
  bench::MemberRunOptions run;
  std::string directory = "/dev/shm";
  std::string samples;
};

struct TransferOptions {
  bench::TransferRunOptions run;
  std::string directory = "/dev/shm";
};

Exit run_bench_features(const FeaturesOptions& given, bool json) {
  FeaturesOptions options = given;
  options.run.directory = options.directory;
  Progress progress(json);
  const auto result = bench::run_features(options.run, [&](const std::string& line) {
    if (progress.due()) progress.show(line);
  });
  progress.clear();
  if (!result) return report(result.error(), json);
  if (json) {
    print_json(bench::to_json(*result));
    return Exit::ok;
  }
  std::printf("%" PRIu64 " B, %u replicas, %u outstanding, persistence %s\n",
              result->options.payload_bytes, result->options.replicas, result->options.inflight,
              result->persistence.c_str());
  const double plain = result->sets.front().median_rate();
  for (const bench::FeatureSet& set : result->sets) {
    std::printf("  %-16s %10s appends/s  %6.1f %%\n", set.name.c_str(),
                human_count(set.median_rate()).c_str(),
                plain > 0 ? 100 * set.median_rate() / plain : 0);
  }
  std::printf("  all of them cost %.1f %% of the throughput\n", 100 * result->cost());
  return Exit::ok;
}

void print_member(const bench::MemberRunResult& result) {
  std::printf("%" PRIu64 " B, 1 outstanding, %u replicas, ring %s, persistence %s\n",
              result.options.payload_bytes, result.options.replicas,
              human_bytes(static_cast<double>(result.options.ring_bytes)).c_str(),
              result.persistence.c_str());
  const auto row = [](const char* what, const bench::Percentiles& p) {
    std::printf("  %-24s p50 %s, p99 %s, p99.9 %s, max %s\n", what, human_ns(p.p50_ns).c_str(),
                human_ns(p.p99_ns).c_str(), human_ns(p.p999_ns).c_str(),
                human_ns(p.max_ns).c_str());
  };
  row("quiet", result.quiet);
  row("catching up", result.catching_up);
  std::printf("  ratio                    p50 %.2fx, p99 %.2fx\n", result.ratio_p50(),
              result.ratio_p99());
  std::printf("  caught up                %s/s\n", human_bytes(result.bytes_per_s()).c_str());
  const bench::Percentiles stall = result.stall();
  if (stall.count == 0) return;
  std::printf("  longest append in a change of members: p50 %s, worst %s of %" PRIu64 " changes\n",
              human_ns(stall.p50_ns).c_str(), human_ns(stall.max_ns).c_str(), stall.count);
}

Exit run_bench_member(const MemberOptions& given, bool json) {
  MemberOptions options = given;
  options.run.directory = options.directory;
  options.run.samples = options.samples.empty()
                            ? std::filesystem::temp_directory_path() / "caisson-bench-samples"
                            : std::filesystem::path(options.samples);
  Progress progress(json);
  const auto result = bench::run_member(options.run, [&](const std::string& line) {
    if (progress.due()) progress.show(line);
  });
  progress.clear();
  if (!result) return report(result.error(), json);
  const auto written =
      write_text(result->options.samples / "member.json", bench::to_json(*result).dump(2) + "\n");
  if (!written) return report(written.error(), json);
  if (json) {
    print_json(bench::to_json(*result));
  } else {
    print_member(*result);
  }
  return Exit::ok;
}

Exit run_bench_transfer(const TransferOptions& given, bool json) {
  TransferOptions options = given;
  options.run.directory = options.directory;
  Progress progress(json);
  const auto result = bench::run_transfer(options.run, [&](const std::string& line) {
    if (progress.due()) progress.show(line);
  });
  progress.clear();
  if (!result) return report(result.error(), json);
  if (json) {
    print_json(bench::to_json(*result));
    return Exit::ok;
  }
  const uint32_t priority = result->options.poller_priority.value_or(0);
  std::printf(
      "%zu transfers of the lead under load, rings of %s, pollers %s\n",
      result->latencies_ns.size(), human_bytes(static_cast<double>(options.run.ring_bytes)).c_str(),
      priority == 0 ? "without priority" : ("of priority " + std::to_string(priority)).c_str());
  std::printf("  to the first new acknowledged append: p50 %s, p99 %s, max %s\n",
              human_ns(result->latency.p50_ns).c_str(), human_ns(result->latency.p99_ns).c_str(),
              human_ns(result->latency.max_ns).c_str());
  return Exit::ok;
}

void add_place(CLI::App* command, std::string& directory) {
  command->add_option("--dir", directory, "where the regions are made")->capture_default_str();
}

void add_replicas(CLI::App* command, uint32_t& replicas, int least) {
  command->add_option("--replicas", replicas, "how many")
      ->check(CLI::Range(least, 7))
      ->capture_default_str();
}

}  // namespace

void add_bench_features(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<FeaturesOptions>();
  bench::FeaturesRunOptions& run = options->run;
  CLI::App* command = commands.add(
      group, "features", "what deduplication, durability and views cost",
      "  caisson bench features --size 64 --seconds 5\n"
      "  caisson bench features --inflight 16 --json\n\n"
      "Appends with a stream's identity, acknowledged at 'persisted', bound to a view, against\n"
      "appends with none of it, handed to the same leader in slices that take turns.\n",
      options, run_bench_features);
  add_replicas(command, run.replicas, 1);
  add_bytes(command, "--size", run.payload_bytes, "payload of an entry (64)");
  command->add_option("--inflight", run.inflight, "appends outstanding")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (64MiB)");
  command->add_option("--seconds", run.seconds, "how long")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  add_place(command, options->directory);
}

void add_bench_member(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<MemberOptions>();
  bench::MemberRunOptions& run = options->run;
  CLI::App* command = commands.add(
      group, "member", "what appends notice of a catch-up, and of changing members",
      "  caisson bench member --ring-bytes 1GiB --rounds 3 --changes 10\n"
      "  caisson bench member --ring-bytes 64MiB --rounds 1 --json\n\n"
      "A load of one outstanding append runs while a replica whose memory was destroyed is\n"
      "caught up over a ring that is five eighths full; then while a voter and a learner come and\n"
      "go. Each append is timed from when it was due.\n",
      options, run_bench_member);
  add_replicas(command, run.replicas, 1);
  add_bytes(command, "--size", run.payload_bytes, "payload of an entry (64)");
  command
      ->add_option("--rate", run.appends_per_s,
                   "appends a second; 0: each as soon as the one before is acknowledged")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (1GiB)");
  command->add_option("--rounds", run.rounds, "catch-ups of an empty replica")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--changes", run.changes,
                   "rounds of four changes each: a voter and a learner come and go")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  command->add_option("--seconds", run.seconds, "of quiet before each catch-up")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  add_place(command, options->directory);
  command->add_option(
      "--samples", options->samples,
      "directory for the raw samples (caisson-bench-samples where temporary files go)");
}

void add_bench_transfer(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<TransferOptions>();
  bench::TransferRunOptions& run = options->run;
  CLI::App* command = commands.add(
      group, "transfer", "time from handing over the lead to the next acknowledged append",
      "  caisson bench transfer --rounds 100 --json\n"
      "  caisson bench transfer --rounds 100 --poller-priority 0\n",
      options, run_bench_transfer);
  command->add_option("--rounds", run.rounds, "how often")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_replicas(command, run.replicas, 2);
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (256MiB)");
  command
      ->add_option("--poller-priority", run.poller_priority,
                   "real-time priority of pollers; 0: ordinary threads (1, where that is allowed)")
      ->check(CLI::Range(0, 99));
  add_place(command, options->directory);
}

}  // namespace caisson::tools
