// SPDX-License-Identifier: BSD-3-Clause
#include "tools/bench_command.hpp"

#include <cinttypes>
#include <cstdio>

#include "bench/append_run.hpp"
#include "bench/failover_run.hpp"
#include "bench/scan_run.hpp"
#include "core/engine/config.hpp"
#include "tools/command.hpp"
#include "tools/files.hpp"
#include "tools/options.hpp"

namespace caisson::tools {

namespace {

struct AppendOptions {
  bench::AppendRunOptions run;
  std::string durability = "persisted";
  std::string samples;
  std::string html;
};

Result<void> check_append(const bench::AppendRunOptions& run) {
  if (run.batch > run.inflight) {
    return fail(Code::invalid, "--batch " + std::to_string(run.batch) +
                                   " is more than --inflight " + std::to_string(run.inflight) +
                                   ": no batch would ever leave");
  }
  if (run.batch > 1 && run.payload_bytes * run.batch > run.ring_bytes / 8) {
    return fail(Code::too_large, "--batch " + std::to_string(run.batch) +
                                     " of such entries is more "
                                     "than an eighth of the ring: give a larger --ring-bytes");
  }
  LogOptions log;
  log.ring_bytes = run.ring_bytes;
  const uint64_t entry_max = engine::entry_bytes_max_of(log);
  if (run.payload_bytes > entry_max) {
    return fail(Code::too_large, "--size " + std::to_string(run.payload_bytes) +
                                     " is more than an entry of such a ring may hold: " +
                                     std::to_string(entry_max) + "; give a larger --ring-bytes");
  }
  return {};
}

void print_append(const bench::AppendRunResult& result) {
  const auto& floor = result.floor[result.floor_latency];
  const bench::Percentiles f = floor.samples.percentiles();
  const uint32_t batch = result.options.batch;
  const std::string batches = batch > 1 ? " in batches of " + std::to_string(batch) : "";
  std::printf("%" PRIu64 " B, %u replicas, %u outstanding%s, %s, ring %s, persistence %s\n",
              result.options.payload_bytes, result.options.replicas, result.options.inflight,
              batches.c_str(), std::string(name(result.options.durability)).c_str(),
              human_bytes(static_cast<double>(result.options.ring_bytes)).c_str(),
              result.persistence.c_str());
  std::printf("  %-34s %10s %10s %10s %10s %12s\n", "", "p50", "p99", "p99.9", "max", "appends/s");
  const auto row = [](const std::string& what, const bench::Percentiles& p, double rate) {
    std::printf("  %-34s %10s %10s %10s %10s %12s\n", what.c_str(), human_ns(p.p50_ns).c_str(),
                human_ns(p.p99_ns).c_str(), human_ns(p.p999_ns).c_str(), human_ns(p.max_ns).c_str(),
                human_count(rate).c_str());
  };
  row("caisson", result.engine, result.appends_per_s());
  for (const bench::FloorVariant& variant : result.floor) {
    row("floor: " + variant.name, variant.samples.percentiles(), variant.entries_per_s());
  }
  std::printf("  against the floor: p50 %.2fx, p99 %.2fx, goodput %.1f %%\n",
              result.engine.p50_ns / f.p50_ns, result.engine.p99_ns / f.p99_ns,
              result.floor_goodput() > 0 ? 100 * result.goodput() / result.floor_goodput() : 0.0);
  std::printf("  %.1f laps, %" PRIu64 " entries validated and delivered by every follower%s\n",
              result.laps, result.verified_entries, result.all_verified ? "" : " (NOT ALL)");
  const auto per_append = [](const std::optional<double>& value) {
    return value ? std::to_string(*value) : std::string("not measured");
  };
  std::printf("  per append: %s system calls, %s allocations; %" PRIu64
              " acknowledged while every follower was stopped\n",
              per_append(result.system_calls_per_append).c_str(),
              per_append(result.allocations_per_append).c_str(), result.acknowledged_while_stopped);
  std::printf("  samples: %s\n", result.options.samples.c_str());
}

Result<void> write_reports(const bench::AppendRunResult& result, const std::string& html) {
  const auto written =
      write_text(result.options.samples / "result.json", bench::to_json(result).dump(2) + "\n");
  if (!written || html.empty()) return written;
  return write_text(html, bench::to_html(result));
}

Exit run_bench_append(const AppendOptions& given, bool json) {
  bench::AppendRunOptions options = given.run;
  const auto durability = parse_durability(given.durability);
  if (!durability) return report(durability.error(), json);
  options.durability = *durability;
  options.samples = samples_directory(given.samples);
  if (const auto possible = check_append(options); !possible) {
    return report(possible.error(), json);
  }
  bool all_verified = false;
  const auto run = [&](const auto& progress) -> Result<bench::AppendRunResult> {
    auto result = bench::run_append(options, progress);
    if (!result) return result;
    all_verified = result->all_verified;
    if (const auto written = write_reports(*result, given.html); !written) {
      return tl::unexpected(written.error());
    }
    return result;
  };
  const Exit exit = play_benchmark(json, run, print_append);
  return exit == Exit::ok && !all_verified ? Exit::missed : exit;
}

Exit run_bench_failover(const bench::FailoverRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto& progress) { return bench::run_failover(options, progress); },
      [](const bench::FailoverRunResult& result) {
        print_succession(std::to_string(result.rounds) + " rounds of kill -9 of the leader",
                         result.options.ring_bytes, result.options.poller_priority, result.latency);
        for (const auto& [evidence, count] : result.detected_by) {
          std::printf("  detected by %s: %" PRIu64 "\n", evidence.c_str(), count);
        }
      });
}

Exit run_bench_scan(const bench::ScanRunOptions& options, bool json) {
  return play_benchmark(
      json, [&](const auto&) { return bench::run_scan(options); },
      [&](const bench::ScanRunResult& result) {
        std::printf("scan of %" PRIu64 " entries of %" PRIu64
                    " B: %s/s; the bare checksum of the same bytes: "
                    "%s/s; ratio %.2f\n",
                    result.entries, options.payload_bytes,
                    human_bytes(result.scan_bytes_per_s).c_str(),
                    human_bytes(result.checksum_bytes_per_s).c_str(), result.ratio());
      });
}

void add_bench_append(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<AppendOptions>();
  bench::AppendRunOptions& run = options->run;
  CLI::App* command = commands.add(
      group, "append", "latency and throughput of appends, beside the floor",
      "  caisson bench append --size 64 --inflight 1 --seconds 5\n"
      "  caisson bench append --size 64 --inflight 1024 --json\n"
      "  caisson bench append --size 64 --inflight 1024 --batch 16\n"
      "  caisson bench append --size 65536 --html report.html\n\n"
      "The leader runs in this process, inline on one core; the followers are processes of their "
      "own that\n"
      "validate and deliver. Only ratios inside one run can be compared between machines.\n",
      options, run_bench_append);
  add_replicas(command, run.replicas, 1);
  add_bytes(command, "--size", run.payload_bytes, "payload of an entry (64)");
  command->add_option("--inflight", run.inflight, "appends outstanding: 1 is synchronous")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--batch", run.batch,
                   "entries of one atomic append, of those outstanding; rates are of entries")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      ->add_option("--durability", options->durability,
                   "volatile, local, replicated, persisted or all")
      ->capture_default_str();
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (64MiB)");
  command
      ->add_option("--seconds", run.seconds,
                   "how long; goes on until the ring was lapped --laps times")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--laps", run.laps_min, "at least so many laps of the ring")
      ->capture_default_str();
  command
      ->add_option("--count-appends", run.counted_appends,
                   "appends of the phase that counts system calls and allocations")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_place(command, run.directory);
  add_samples(command, options->samples);
  command->add_option("--html", options->html, "write a report page to this file");
}

void add_bench_failover(Commands& commands, CLI::App& group) {
  auto run = std::make_shared<bench::FailoverRunOptions>();
  CLI::App* command = commands.add(
      group, "failover", "time from kill -9 of the leader to the next acknowledged append",
      "  caisson bench failover --rounds 300 --ring-bytes 256MiB --json\n"
      "  caisson bench failover --rounds 300 --poller-priority 0 --json\n",
      run, run_bench_failover);
  add_rounds(command, run->rounds, "how often");
  add_replicas(command, run->replicas, 2);
  add_bytes(command, "--ring-bytes", run->ring_bytes, "of each replica: a power of two (256MiB)");
  command->add_option("--suspect-after-us", run->suspect_after_us,
                      "silence of a leader that makes it suspect; 0: as nodes are configured");
  add_priority(command, run->poller_priority);
  add_place(command, run->directory);
}

void add_bench_scan(Commands& commands, CLI::App& group) {
  auto run = std::make_shared<bench::ScanRunOptions>();
  CLI::App* command =
      commands.add(group, "scan", "speed of the recovery scan against the bare checksum",
                   "  caisson bench scan --size 64 --ring-bytes 256MiB\n", run, run_bench_scan);
  add_bytes(command, "--size", run->payload_bytes, "payload of an entry (64)");
  add_bytes(command, "--ring-bytes", run->ring_bytes, "a power of two (256MiB)");
  add_place(command, run->directory);
}

}  // namespace

void add_bench(Commands& commands) {
  CLI::App* group = commands.app.add_subcommand("bench", "measure this machine");
  group->require_subcommand(1);
  add_bench_append(commands, *group);
  add_bench_cluster(commands, *group);
  add_bench_failover(commands, *group);
  add_bench_scan(commands, *group);
  add_bench_features(commands, *group);
  add_bench_load(commands, *group);
  add_bench_member(commands, *group);
  add_bench_reads(commands, *group);
  add_bench_revoke(commands, *group);
  add_bench_transfer(commands, *group);
}

}  // namespace caisson::tools
