// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "bench/features_run.hpp"
#include "bench/member_run.hpp"
#include "bench/offered_run.hpp"
#include "bench/reads_run.hpp"
#include "bench/revoke_run.hpp"
#include "bench/transfer_run.hpp"
#include "tools/bench_command.hpp"
#include "tools/files.hpp"

namespace caisson::tools {

namespace {

struct MemberOptions {
  bench::MemberRunOptions run;
  std::string samples;
};

void print_features(const bench::FeaturesRunResult& result) {
  std::printf("%" PRIu64 " B, %u replicas, %u outstanding, persistence %s\n",
              result.options.payload_bytes, result.options.replicas, result.options.inflight,
              result.persistence.c_str());
  const double plain = result.sets.front().median_rate();
  for (const bench::FeatureSet& set : result.sets) {
    std::printf("  %-16s %10s appends/s  %6.1f %%\n", set.name.c_str(),
                human_count(set.median_rate()).c_str(),
                plain > 0 ? 100 * set.median_rate() / plain : 0);
  }
  std::printf("  all of them cost %.1f %% of the throughput\n", 100 * result.cost());
}

Exit run_bench_features(const bench::FeaturesRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_features(options, progress); },
      print_features);
}

void print_reads(const bench::ReadsRunResult& result) {
  std::printf("%" PRIu64 " B, %u replicas, %" PRIu64 " reads each, persistence %s\n",
              result.options.payload_bytes, result.options.replicas, result.options.rounds,
              result.persistence.c_str());
  std::printf("  %-10s %-26s %10s %10s %10s %14s\n", "", "", "p50", "p99", "max", "of a stale one");
  for (const bench::WayToRead& way : result.ways) {
    std::printf("  %-10s %-26s %10s %10s %10s %13.1fx\n", way.role.c_str(), way.name.c_str(),
                human_ns(way.latency.p50_ns).c_str(), human_ns(way.latency.p99_ns).c_str(),
                human_ns(way.latency.max_ns).c_str(), way.ratio_p50);
  }
}

void print_loads(const bench::OfferedRunResult& result) {
  std::printf("%" PRIu64 " B, %u replicas, capacity %s appends/s, persistence %s\n",
              result.options.payload_bytes, result.options.replicas,
              human_count(result.capacity_per_s).c_str(), result.persistence.c_str());
  std::printf("  %8s %12s %12s %12s %10s %10s %10s\n", "offered", "offered/s", "taken/s", "shed",
              "p50", "p99", "max");
  for (const bench::OfferedLoad& load : result.loads) {
    std::printf("  %6u %% %12s %12s %12s %10s %10s %10s\n", load.percent,
                human_count(load.offered_per_s()).c_str(), human_count(load.taken_per_s()).c_str(),
                human_count(static_cast<double>(load.shed)).c_str(),
                human_ns(load.latency.p50_ns).c_str(), human_ns(load.latency.p99_ns).c_str(),
                human_ns(load.latency.max_ns).c_str());
  }
  std::printf("  at and above the capacity never less than %.0f %% of it is taken\n",
              100 * result.plateau());
}

Exit run_bench_load(const bench::OfferedRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_offered(options, progress); },
      print_loads);
}

Exit run_bench_reads(const bench::ReadsRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_reads(options, progress); }, print_reads);
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
  const bench::Percentiles quiet = result.quiet_stall();
  std::printf("  ... and before each, in as long      : p50 %s, worst %s\n",
              human_ns(quiet.p50_ns).c_str(), human_ns(quiet.max_ns).c_str());
}

Exit run_bench_member(const MemberOptions& given, bool json) {
  bench::MemberRunOptions options = given.run;
  options.samples = samples_directory(given.samples);
  const auto run = [&](const auto& progress) -> Result<bench::MemberRunResult> {
    auto result = bench::run_member(options, progress);
    if (!result) return result;
    const auto written =
        write_text(options.samples / "member.json", bench::to_json(*result).dump(2) + "\n");
    if (!written) return tl::unexpected(written.error());
    return result;
  };
  return play_benchmark(json, run, print_member);
}

void print_revoke(const bench::RevokeRunResult& result) {
  std::printf("adapter %s, region %s, %u rounds\n", result.adapter.c_str(),
              human_bytes(static_cast<double>(result.options.region_bytes)).c_str(),
              result.options.rounds);
  std::printf("  %-14s %10s %10s %10s   %10s %10s %10s\n", "", "revoke p50", "p99", "max",
              "grant p50", "p99", "max");
  for (const bench::WayToRevoke& way : result.ways) {
    if (!way.why_not.empty()) {
      std::printf("  %-14s %s\n", way.name.c_str(), way.why_not.c_str());
      continue;
    }
    std::printf("  %-14s %10s %10s %10s   %10s %10s %10s\n", way.name.c_str(),
                human_ns(way.revoke.p50_ns).c_str(), human_ns(way.revoke.p99_ns).c_str(),
                human_ns(way.revoke.max_ns).c_str(), human_ns(way.grant.p50_ns).c_str(),
                human_ns(way.grant.p99_ns).c_str(), human_ns(way.grant.max_ns).c_str());
  }
}

Exit run_bench_revoke(const bench::RevokeRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_revoke(options, progress); },
      print_revoke);
}

Exit run_bench_transfer(const bench::TransferRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_transfer(options, progress); },
      [](const bench::TransferRunResult& result) {
        print_succession(std::to_string(result.latencies_ns.size()) + " transfers of the lead",
                         result.options.ring_bytes, result.options.poller_priority, result.latency);
      });
}

}  // namespace

void add_bench_features(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<bench::FeaturesRunOptions>();
  bench::FeaturesRunOptions& run = *options;
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
  add_place(command, run.directory);
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
  add_rounds(command, run.rounds, "catch-ups of an empty replica");
  command
      ->add_option("--changes", run.changes,
                   "rounds of four changes each: a voter and a learner come and go")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  command->add_option("--seconds", run.seconds, "of quiet before each catch-up")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  add_place(command, run.directory);
  add_samples(command, options->samples);
}

void add_bench_load(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<bench::OfferedRunOptions>();
  bench::OfferedRunOptions& run = *options;
  CLI::App* command = commands.add(
      group, "load", "what is taken, and how late, of what is offered: 10 % to 300 %",
      "  caisson bench load --size 64 --seconds 2\n"
      "  caisson bench load --percents 50,100,300 --json\n\n"
      "Appends are due at their own times, at percentages of the capacity that was found in the\n"
      "same run. Latency is from when an append was due; one that finds 4096 others waiting is\n"
      "given up.\n",
      options, run_bench_load);
  command->add_option("--percents", run.percents, "of the capacity, in this order")
      ->delimiter(',')
      ->check(CLI::Range(1, 1000));
  command->add_option("--seconds", run.seconds, "of each load")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  add_replicas(command, run.replicas, 1);
  add_bytes(command, "--size", run.payload_bytes, "payload of an entry (64)");
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (64MiB)");
  add_place(command, run.directory);
}

void add_bench_reads(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<bench::ReadsRunOptions>();
  bench::ReadsRunOptions& run = *options;
  CLI::App* command = commands.add(
      group, "reads", "what each way to read costs, beside a stale read",
      "  caisson bench reads --rounds 10000\n"
      "  caisson bench reads --size 4096 --json\n\n"
      "Stale, session and linearizable reads, the latter by a one-sided proof, by asking the\n"
      "leader and through the log, and subscriptions: on the leader, then on a follower. Either "
      "is\n"
      "this process, driven inline; the others are processes of their own.\n",
      options, run_bench_reads);
  command->add_option("--rounds", run.rounds, "reads of each kind")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  add_replicas(command, run.replicas, 1);
  add_bytes(command, "--size", run.payload_bytes, "payload of an entry (64)");
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (64MiB)");
  add_place(command, run.directory);
}

void add_bench_revoke(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<bench::RevokeRunOptions>();
  bench::RevokeRunOptions& run = *options;
  CLI::App* command = commands.add(
      group, "revoke", "what it costs an RDMA adapter to take a writer's rights back",
      "  caisson bench revoke --device mlx5_0\n"
      "  caisson bench revoke --address 10.0.0.1 --region-bytes 1GiB --json\n\n"
      "By the connection's rights, by its reset, by a memory window, by the registration. Each\n"
      "revocation is tried out: a write that follows it must fail. The fabric takes back the\n"
      "rights, and then resets.\n",
      options, run_bench_revoke);
  command->add_option("--device", run.device, "adapter, as ibv_devices lists it; else the first");
  command->add_option("--address", run.address, "… or this machine's address on its network");
  add_bytes(command, "--region-bytes", run.region_bytes, "that the writer may write to (64MiB)");
  add_rounds(command, run.rounds, "of each way");
}

void add_bench_transfer(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<bench::TransferRunOptions>();
  bench::TransferRunOptions& run = *options;
  CLI::App* command = commands.add(
      group, "transfer", "time from handing over the lead to the next acknowledged append",
      "  caisson bench transfer --rounds 100 --json\n"
      "  caisson bench transfer --rounds 100 --poller-priority 0\n",
      options, run_bench_transfer);
  add_rounds(command, run.rounds, "how often");
  add_replicas(command, run.replicas, 2);
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (256MiB)");
  add_priority(command, run.poller_priority);
  add_place(command, run.directory);
}

}  // namespace caisson::tools
