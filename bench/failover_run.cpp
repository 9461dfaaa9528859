// SPDX-License-Identifier: BSD-3-Clause
#include "bench/failover_run.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include "bench/append_run.hpp"
#include "bench/load_node.hpp"
#include "bench/ticks.hpp"
#include "core/engine/config.hpp"
#include "core/engine/scheduling.hpp"
#include "tools/cluster.hpp"
#include "tools/status.hpp"

namespace caisson::bench {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSettleTimeout{60'000};
constexpr milliseconds kFailoverTimeout{30'000};
constexpr milliseconds kLook{5};
constexpr uint64_t kCaughtUpLag =
    100'000;  // positions: a follower under load is always a little behind

class Rounds {
 public:
  Rounds(const FailoverRunOptions& options, const std::function<void(const std::string&)>& progress)
      : options_(options), progress_(progress) {
    result_.options = options;
    result_.options.poller_priority = priority_;
  }

  ~Rounds() {
    for (const tools::ClusterReplica& replica : cluster_.replicas) {
      (void)tools::stop_replica(cluster_, replica.id);
    }
    std::error_code error;
    if (!cluster_.directory.empty()) std::filesystem::remove_all(cluster_.directory, error);
  }
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;

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
    const auto cluster = tools::create_cluster(shape);
    if (!cluster) return tl::unexpected(cluster.error());
    cluster_ = *cluster;
    result_.persistence = engine::name(cluster_.persistence);
    for (const tools::ClusterReplica& replica : cluster_.replicas) {
      auto cells = MappedCells::open(cells_path(replica.id));
      if (!cells) return tl::unexpected(cells.error());
      cells_.push_back(std::move(*cells));
      if (const auto started = start(replica.id); !started) return started;
    }
    return {};
  }

  std::filesystem::path cells_path(ReplicaId id) const { return cluster_.home(id) / "cells"; }

  Result<void> start(ReplicaId id) {
    tools::StartWith with;
    with.command = {std::string(kLoadCommand), cluster_.configuration(id).string(),
                    cells_path(id).string()};
    const auto process = tools::start_replica(cluster_, id, with);
    if (!process) return tl::unexpected(process.error());
    return {};
  }

  uint64_t highest_term() {
    uint64_t highest = 0;
    for (const auto& cells : cells_) {
      highest = std::max(highest, (*cells)->term.load(std::memory_order_acquire));
    }
    return highest;
  }

  // Who acknowledges now, every replica following it closely.
  Result<ReplicaId> settled() {
    const auto until = std::chrono::steady_clock::now() + kSettleTimeout;
    std::string why;
    while (std::chrono::steady_clock::now() < until) {
      const auto reports = tools::ask_cluster(cluster_);
      const ReplicaId leader = tools::leader_of(reports, log_name());
      why = leader.value == 0 ? "no leader" : "";
      if (leader.value != 0 && follow_closely(reports, leader, why) && fresh(leader, why))
        return leader;
      std::this_thread::sleep_for(kLook);
    }
    return fail(Code::timed_out, "the replicas did not settle in 60 s: " + why);
  }

  const std::string& log_name() const { return cluster_.logs.front().name; }

  bool follow_closely(const std::vector<tools::ReplicaReport>& reports, ReplicaId leader,
                      std::string& why) const {
    Position lead;
    for (const auto& report : reports) {
      if (report.id == leader) lead = report.log(log_name())->marks.committed;
    }
    for (const auto& report : reports) {
      const tools::LogStatus* const log = report.log(log_name());
      const bool follows = log != nullptr && log->leader == leader &&
                           log->marks.delivered.value + kCaughtUpLag >= lead.value;
      if (follows) continue;
      why = "replica " + std::to_string(report.id.value) + " lags, or follows another leader";
      return false;
    }
    return true;
  }

  // The leader acknowledges appends at this moment.
  bool fresh(ReplicaId leader, std::string& why) {
    LoadCells& cells = **cells_[leader.value - 1u];
    const uint64_t before = cells.acknowledged.load(std::memory_order_relaxed);
    std::this_thread::sleep_for(kLook);
    if (cells.acknowledged.load(std::memory_order_relaxed) > before) return true;
    why = "the leader acknowledges nothing";
    return false;
  }

  Result<void> play() {
    const auto leader = settled();
    if (!leader) return tl::unexpected(leader.error());
    std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution<int>(0, 50)(random_)));
    const auto process = tools::running(cluster_, *leader);
    if (!process) return fail(Code::internal, "the leader's process is gone");
    const uint64_t term = highest_term();
    uint64_t killed_ns = 0;
    if (const auto sent = tools::send_signal(*process, SIGKILL, &killed_ns); !sent) return sent;
    const auto acknowledged_ns = await_term_above(term);
    if (!acknowledged_ns) return tl::unexpected(acknowledged_ns.error());
    result_.latencies_ns.push_back(*acknowledged_ns - killed_ns);
    ++result_.rounds;
    tools::wait_gone(*process, static_cast<uint64_t>(kSettleTimeout.count()));
    note_evidence();
    return start(*leader);
  }

  Result<uint64_t> await_term_above(uint64_t term) {
    const auto until = std::chrono::steady_clock::now() + kFailoverTimeout;
    while (std::chrono::steady_clock::now() < until) {
      for (const auto& cells : cells_) {
        if ((*cells)->term.load(std::memory_order_acquire) > term) {
          return (*cells)->first_ack_ns.load(std::memory_order_relaxed);
        }
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    return fail(Code::no_quorum, "no append was acknowledged within 30 s of the kill");
  }

  void note_evidence() {
    const auto reports = tools::ask_cluster(cluster_);
    const ReplicaId leader = tools::leader_of(reports, log_name());
    for (const auto& report : reports) {
      if (report.id != leader) continue;
      ++result_.detected_by[report.log(log_name())->raw.value("detected_by", "unknown")];
    }
  }

  void finish() {
    for (const auto& cells : cells_) {
      result_.acknowledged += (*cells)->acknowledged.load(std::memory_order_relaxed);
    }
    std::vector<uint64_t> sorted = result_.latencies_ns;
    std::sort(sorted.begin(), sorted.end());
    const auto at = [&](double quantile) {
      const auto rank =
          static_cast<size_t>(quantile * static_cast<double>(sorted.size() - 1) + 0.999999);
      return static_cast<double>(sorted[std::min(rank, sorted.size() - 1)]);
    };
    result_.latency = {at(0), at(0.5), at(0.9), at(0.99), at(0.999), at(1), sorted.size()};
  }

  const FailoverRunOptions options_;
  const uint32_t priority_ = options_.poller_priority.value_or(engine::priority_allowed() ? 1 : 0);
  const std::function<void(const std::string&)>& progress_;
  FailoverRunResult result_;
  tools::Cluster cluster_;
  std::vector<std::unique_ptr<MappedCells>> cells_;
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
