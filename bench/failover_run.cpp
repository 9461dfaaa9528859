// SPDX-License-Identifier: BSD-3-Clause
#include "bench/failover_run.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include "bench/append_run.hpp"
#include "bench/loaded_cluster.hpp"
#include "core/engine/config.hpp"
#include "core/engine/scheduling.hpp"
#include "tools/status.hpp"

namespace caisson::bench {

namespace {

using std::chrono::milliseconds;

constexpr uint64_t kGoneTimeoutMs = 60'000;

class Rounds {
 public:
  Rounds(const FailoverRunOptions& options, const std::function<void(const std::string&)>& progress)
      : options_(options), progress_(progress) {
    result_.options = options;
    result_.options.poller_priority = priority_;
  }

  Result<FailoverRunResult> operator()() {
    Result<void> done = open();
    for (uint32_t round = 0; done && round < options_.rounds; ++round) {
      progress_("round " + std::to_string(round + 1) + " of " + std::to_string(options_.rounds));
      done = play();
    }
    if (!done) return tl::unexpected(done.error());
    finish();
    return std::move(result_);
  }

 private:
  Result<void> open() {
    progress_("starting " + std::to_string(options_.replicas) + " replicas");
    tools::ClusterShape shape;
    shape.directory = options_.directory / ("caisson-failover-" + std::to_string(getpid()));
    shape.replicas = options_.replicas;
    shape.ring_bytes = options_.ring_bytes;
    shape.suspect_after_us = options_.suspect_after_us;
    shape.poller_priority = priority_;
    auto loaded = LoadedCluster::open(shape);
    if (!loaded) return tl::unexpected(loaded.error());
    loaded_ = std::move(*loaded);
    result_.persistence = engine::name(loaded_->cluster().persistence);
    return {};
  }

  Result<void> play() {
    const auto leader = loaded_->settled();
    if (!leader) return tl::unexpected(leader.error());
    std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution<int>(0, 50)(random_)));
    const auto process = tools::running(loaded_->cluster(), *leader);
    if (!process) return fail(Code::internal, "the leader's process is gone");
    const uint64_t term = loaded_->highest_term();
    uint64_t killed_ns = 0;
    if (const auto sent = tools::send_signal(*process, SIGKILL, &killed_ns); !sent) return sent;
    const auto acknowledged_ns = loaded_->await_term_above(term);
    if (!acknowledged_ns) return tl::unexpected(acknowledged_ns.error());
    result_.latencies_ns.push_back(*acknowledged_ns - killed_ns);
    ++result_.rounds;
    tools::wait_gone(*process, kGoneTimeoutMs);
    note_evidence();
    return loaded_->start(*leader);
  }

  void note_evidence() {
    const auto reports = tools::ask_cluster(loaded_->cluster());
    const ReplicaId leader = tools::leader_of(reports, loaded_->log_name());
    for (const auto& report : reports) {
      if (report.id != leader) continue;
      ++result_.detected_by[report.log(loaded_->log_name())->raw.value("detected_by", "unknown")];
    }
  }

  void finish() {
    result_.acknowledged = loaded_->acknowledged();
    result_.latency = percentiles_of(result_.latencies_ns);
  }

  const FailoverRunOptions options_;
  const uint32_t priority_ = options_.poller_priority.value_or(engine::priority_allowed() ? 1 : 0);
  const std::function<void(const std::string&)>& progress_;
  FailoverRunResult result_;
  std::unique_ptr<LoadedCluster> loaded_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace

Result<FailoverRunResult> run_failover(const FailoverRunOptions& options,
                                       const std::function<void(const std::string&)>& progress) {
  return Rounds(options, progress)();
}

nlohmann::ordered_json to_json(const FailoverRunResult& result) {
  return {{"ok", true},
          {"benchmark", "failover"},
          {"rounds", result.rounds},
          {"replicas", result.options.replicas},
          {"ring_bytes", result.options.ring_bytes},
          {"poller_priority", result.options.poller_priority.value_or(0)},
          {"fabric", "shm"},
          {"persistence", result.persistence},
          {"cpu", processor_name()},
          {"detected_by", result.detected_by},
          {"p50_ns", result.latency.p50_ns},
          {"p90_ns", result.latency.p90_ns},
          {"p99_ns", result.latency.p99_ns},
          {"max_ns", result.latency.max_ns},
          {"min_ns", result.latency.min_ns},
          {"what",
           "from kill -9 of the leader's process, under load, to the first append acknowledged by "
           "its successor; the load runs in the replicas' own processes"},
          {"acknowledged", result.acknowledged},
          {"latencies_ns", result.latencies_ns}};
}

}  // namespace caisson::bench
