// SPDX-License-Identifier: BSD-3-Clause
#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "bench/cluster_run.hpp"
#include "bench/lead_run.hpp"
#include "tools/bench_command.hpp"
#include "tools/files.hpp"
#include "tools/options.hpp"
#include "transport/verbs/bare_loop.hpp"

namespace caisson::tools {

namespace {

struct ClusterOptions {
  bench::ClusterRunOptions run;
  std::string hosts;
  std::vector<std::string> sizes{"64", "4KiB", "64KiB"};
  std::string out;
  std::string html;
};

Result<bench::ClusterRunOptions> complete(const ClusterOptions& given) {
  bench::ClusterRunOptions run = given.run;
  auto hosts = load_hosts(given.hosts);
  if (!hosts) return tl::unexpected(hosts.error());
  run.hosts = std::move(*hosts);
  run.sizes.clear();
  for (const std::string& text : given.sizes) {
    const auto bytes = parse_bytes(text);
    if (!bytes) return fail(Code::invalid, "--size: " + bytes.error().message);
    if (*bytes == 0 || *bytes > run.ring_bytes / 16) {
      return fail(Code::too_large, "--size " + text +
                                       " is not from 1 to a sixteenth of the ring (" +
                                       std::to_string(run.ring_bytes / 16) + ")");
    }
    for (const uint32_t batch : run.batches) {
      if ((*bytes + 128) * batch <= transport::verbs::kBareBytes) continue;
      return fail(Code::too_large, "--batch " + std::to_string(batch) + " of " + text +
                                       " is more than " +
                                       std::to_string(transport::verbs::kBareBytes) + " bytes");
    }
    run.sizes.push_back(*bytes);
  }
  for (const uint32_t replicas : run.replicas) {
    if (replicas <= run.hosts.hosts.size()) continue;
    return fail(Code::invalid, "--replicas " + std::to_string(replicas) + ": " + given.hosts +
                                   " names " + std::to_string(run.hosts.hosts.size()) + " hosts");
  }
  for (const std::string& durability : run.durabilities) {
    if (const auto known = parse_durability(durability); !known) {
      return fail(Code::invalid, "--durability: " + known.error().message);
    }
  }
  run.out = std::filesystem::absolute(given.out.empty() ? samples_directory("") / "cluster"
                                                        : std::filesystem::path(given.out));
  return run;
}

double ratio_of(const Json& point, const char* key) { return point.value(key, 0.0); }

void print_cluster(const Json& result) {
  std::printf("%8s %9s %6s %12s %-11s %5s %10s %10s %12s %9s %9s %9s\n", "replicas", "bytes",
              "batch", "outstanding", "level", "numa", "p50", "p99", "entries/s", "p50/bare",
              "rate/bare", "of line");
  for (const Json& point : result["points"]) {
    const Json& engine = point["caisson"];
    std::printf("%8u %9" PRIu64 " %6u %12u %-11s %5s %10s %10s %12s", point.value("replicas", 0u),
                point.value("bytes", uint64_t{0}), point.value("batch", 0u),
                point.value("inflight", 0u), point.value("durability", "").c_str(),
                point.value("numa", "").c_str(), human_ns(engine.value("p50_ns", 0.0)).c_str(),
                human_ns(engine.value("p99_ns", 0.0)).c_str(),
                human_count(engine.value("per_s", 0.0)).c_str());
    if (point.contains("ratio_p50")) {
      std::printf(" %8.2fx %7.1f %%", ratio_of(point, "ratio_p50"),
                  100 * ratio_of(point, "ratio_rate"));
    } else {
      std::printf(" %9s %9s", "-", "-");
    }
    point.contains("ratio_line") ? std::printf(" %7.1f %%\n", 100 * ratio_of(point, "ratio_line"))
                                 : std::printf(" %9s\n", "-");
  }
  for (const Json& leader : result["leaders"]) {
    std::printf(
        "  %u replicas, numa %s: leader on core %d (node %d), adapter %s (node %d); "
        "%" PRIu64 " acknowledged while every follower was stopped; persists by %s\n",
        leader.value("replicas", 0u), leader.value("numa", "").c_str(), leader.value("core", -1),
        leader.value("core_numa_node", -1), leader.value("adapter", "none").c_str(),
        leader.value("adapter_numa_node", -1),
        leader.value("acknowledged_while_stopped", uint64_t{0}),
        leader.value("persists_by", "store").c_str());
  }
  for (const Json& floor : result["perftest"]) {
    if (!floor.contains("why_not")) continue;
    std::printf("  perftest, %" PRIu64 " bytes: not measured: %s\n",
                floor.value("bytes", uint64_t{0}), floor.value("why_not", "").c_str());
  }
  std::printf("  everything: %s\n", result.value("samples_path", "").c_str());
}

struct Measured {
  Json result;
};
Json to_json(const Measured& measured) { return measured.result; }

Exit run_bench_cluster(const ClusterOptions& given, bool json) {
  const auto options = complete(given);
  if (!options) return report(options.error(), json);
  return play_benchmark(
      json,
      [&](const auto& progress) -> Result<Measured> {
        auto result = bench::run_cluster(*options, progress);
        if (!result) return tl::unexpected(result.error());
        const std::string page = bench::cluster_page(*result);
        for (const std::filesystem::path& to :
             {options->out / "report.html", std::filesystem::path(given.html)}) {
          if (to.empty()) continue;
          if (const auto written = write_text(to, page); !written) {
            return tl::unexpected(written.error());
          }
        }
        return Measured{std::move(*result)};
      },
      [](const Measured& measured) { print_cluster(measured.result); });
}

}  // namespace

void add_bench_cluster(Commands& commands, CLI::App& group) {
  auto options = std::make_shared<ClusterOptions>();
  bench::ClusterRunOptions& run = options->run;
  CLI::App* command = commands.add(
      group, "cluster", "appends on several machines, beside what their adapters carry",
      "  caisson bench cluster --hosts hosts.toml --html report.html\n"
      "  caisson bench cluster --hosts hosts.toml --size 64,64KiB --inflight 1,256 --replicas 3,5\n"
      "  caisson bench cluster --hosts hosts.toml --durability replicated,persisted,all --json\n"
      "  caisson bench cluster --hosts hosts.toml --numa near,far\n\n"
      "The file names the machines and the launcher (ssh, srun, mpirun) that runs commands on "
      "them; "
      "the first\n"
      "one leads. Each point is measured in turns with a bare loop of writes to the same "
      "followers; "
      "ib_write_bw\n"
      "and ib_write_lat (perftest) run between the same machines. docs/benchmarks.md has the "
      "file.\n",
      options, run_bench_cluster);
  command->add_option("--hosts", options->hosts, "the machines: a TOML file")->required();
  command->add_option("--size", options->sizes, "payloads of entries (64,4KiB,64KiB)")
      ->delimiter(',');
  command->add_option("--replicas", run.replicas, "how many of the machines (all)")
      ->delimiter(',')
      ->check(CLI::Range(1, 7));
  command->add_option("--batch", run.batches, "entries of one atomic append (1)")
      ->delimiter(',')
      ->check(CLI::Range(1, 256));
  command->add_option("--inflight", run.inflight, "appends outstanding (1,64)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command->add_option("--durability", run.durabilities, "levels (persisted)")->delimiter(',');
  command->add_option("--numa", run.numa, "where the leader's thread runs: any, near, far (any)")
      ->delimiter(',')
      ->check(CLI::IsMember({"any", "near", "far"}));
  command->add_option("--seconds", run.seconds, "how long, each point")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  add_bytes(command, "--ring-bytes", run.ring_bytes, "of each replica: a power of two (64MiB)");
  command->add_flag("!--no-perftest", run.perftest, "do not run ib_write_bw and ib_write_lat");
  command->add_option("--out", options->out,
                      "directory for result.json, report.html, raw samples and what hosts said");
  command->add_option("--html", options->html, "write the page to this file, too");
}

// Run on the machines by `bench cluster` itself; not for people, and so not in the help.
std::optional<int> run_bench_host(int argc, const char* const* argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name != "bench-lead" && name != "bench-follow") return std::nullopt;
  CLI::App app;
  bench::HostOptions options;
  app.add_option("--config", options.configuration)->required();
  app.add_option("--secret", options.secret)->required();
  app.add_option("--port", options.port);
  app.add_option("--scratch", options.scratch);
  app.add_flag("--scratch-device", options.scratch_device);
  app.add_option("--points", options.points);
  app.add_option("--followers", options.followers);
  app.add_option("--samples", options.samples);
  app.add_option("--numa", options.numa);
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  return name == "bench-lead" ? bench::run_lead(options) : bench::run_follow(options);
}

}  // namespace caisson::tools
