// SPDX-License-Identifier: BSD-3-Clause
#include "bench/stage.hpp"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "bench/ticks.hpp"
#include "core/engine/config.hpp"
#include "tools/status.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kElectionTimeoutNs = 10'000'000'000;
constexpr uint64_t kStatusPeriodMs = 20;
constexpr int kElectionsMax = 20;
constexpr uint64_t kSettleNs = 500'000'000;

}  // namespace

std::vector<int> usable_cores() {
  cpu_set_t allowed;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<size_t>(core), &allowed)) cores.push_back(core);
  }
  return cores;
}

bool pin_this_thread(const std::vector<int>& cores) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const int core : cores) CPU_SET(static_cast<size_t>(core), &wanted);
  return !cores.empty() && sched_setaffinity(0, sizeof wanted, &wanted) == 0;
}

Result<std::unique_ptr<Stage>> Stage::open(const StageOptions& options) {
  std::unique_ptr<Stage> stage(new Stage(options));
  if (const auto built = stage->build(); !built) return tl::unexpected(built.error());
  return stage;
}

Stage::~Stage() {
  engine_.reset();
  for (const tools::ClusterReplica& replica : cluster_.replicas) {
    if (replica.id.value != 1) (void)tools::stop_replica(cluster_, replica.id);
  }
  std::error_code error;
  if (!cluster_.directory.empty()) std::filesystem::remove_all(cluster_.directory, error);
}

Result<void> Stage::build() {
  const std::vector<int> cores = usable_cores();
  if (cores.size() > 1) {
    leader_core_ = cores.front();
    follower_cores_.assign(cores.begin() + 1, cores.end());
  }
  tools::ClusterShape shape;
  shape.directory = options_.directory;
  shape.replicas = options_.replicas;
  shape.spares = options_.spares;
  shape.ring_bytes = options_.ring_bytes;
  shape.suspect_after_us = options_.suspect_after_us;
  shape.cores.assign(options_.replicas + options_.spares, {-1});
  const auto cluster = tools::create_cluster(shape);
  if (!cluster) return tl::unexpected(cluster.error());
  cluster_ = *cluster;

  auto options = engine::load_config(cluster_.configuration(ReplicaId{1}));
  if (!options) return tl::unexpected(options.error());
  options->inline_poller = true;
  options->idle = Idle::busy;
  options->log_level = "error";
  // The engine's own threads (links, housekeeping) inherit this: they stay off the leader's core.
  if (!follower_cores_.empty()) pin_this_thread(follower_cores_);
  auto engine = Engine::open(*options);
  if (!engine) return tl::unexpected(engine.error());
  engine_ = std::move(*engine);
  if (leader_core_ >= 0) pin_this_thread({leader_core_});
  const auto log = engine_->open_log(cluster_.logs.front().name);
  if (!log) return tl::unexpected(log.error());
  log_ = *log;
  return lead();
}

Result<void> Stage::turn_while(const std::function<Result<void>()>& work) {
  Result<void> result;
  std::atomic<bool> done{false};
  std::thread worker([&] {
    result = work();
    done.store(true, std::memory_order_release);
  });
  while (!done.load(std::memory_order_acquire)) engine_->poll();
  worker.join();
  return result;
}

Result<void> Stage::start_follower(ReplicaId id, bool empty) {
  return turn_while([&]() -> Result<void> {
    tools::StartWith with{
        follower_cores_,
        {"node", "--config", cluster_.configuration(id).string(), "--json", "--with-parent"}};
    if (empty) with.command.insert(with.command.end(), {"--create", "--join"});
    const auto process = tools::start_replica(cluster_, id, with);
    if (!process) return tl::unexpected(process.error());
    return {};
  });
}

Result<void> Stage::renew(ReplicaId spare) {
  const auto stopped = turn_while([&]() -> Result<void> {
    if (const auto gone = tools::stop_replica(cluster_, spare); !gone) return gone;
    std::error_code error;
    std::filesystem::remove_all(cluster_.data(spare) / "logs", error);
    if (!error) return {};
    return fail(Code::io, "the memory of replica " + std::to_string(spare.value) +
                              " cannot be destroyed: " + error.message());
  });
  return stopped ? start_follower(spare, true) : stopped;
}

Result<void> Stage::depose(ReplicaId leader) {
  const auto stopped = turn_while([&] { return tools::stop_replica(cluster_, leader); });
  return stopped ? start_follower(leader) : stopped;
}

// A replica that was just started may still be taken into a new term: true once the term has
// lasted.
bool Stage::settles(Term term) {
  const uint64_t until = monotonic_ns() + kSettleNs;
  while (monotonic_ns() < until) {
    engine_->poll();
    const Leadership now = log_->leadership();
    if (!now.is_self || now.term != term) return false;
  }
  return true;
}

// Whoever else is elected first is restarted until this process leads.
Result<void> Stage::lead() {
  for (const tools::ClusterReplica& replica : cluster_.replicas) {
    if (replica.id.value == 1) continue;
    if (const auto started = start_follower(replica.id); !started) return started;
  }
  for (int election = 0; election < kElectionsMax; ++election) {
    const uint64_t until = monotonic_ns() + kElectionTimeoutNs;
    Leadership leadership;
    while (monotonic_ns() < until) {
      engine_->poll();
      leadership = log_->leadership();
      if (leadership.leader.value != 0 && (leadership.leader.value != 1 || leadership.is_self))
        break;
    }
    if (leadership.is_self && !settles(leadership.term)) continue;
    if (leadership.is_self) {
      followers_.clear();
      for (const tools::ClusterReplica& replica : cluster_.replicas) {
        const auto process = tools::running(cluster_, replica.id);
        if (process) followers_.push_back(*process);
      }
      return {};
    }
    if (leadership.leader.value == 0)
      return fail(Code::no_quorum, "no replica was elected in 10 s");
    if (const auto deposed = depose(leadership.leader); !deposed) return deposed;
  }
  return fail(Code::timed_out,
              "this process was not elected in " + std::to_string(kElectionsMax) + " elections");
}

void Stage::signal_followers(int signal) {
  for (const tools::ProcessId& follower : followers_) (void)tools::send_signal(follower, signal);
}

double Stage::follower_cpu_seconds() const {
  double seconds = 0;
  for (const tools::ProcessId& follower : followers_) seconds += tools::cpu_seconds(follower);
  return seconds;
}

Result<Position> Stage::delivered_by_all_followers() {
  Position lowest{UINT64_MAX};
  const auto asked = turn_while([&]() -> Result<void> {
    for (const tools::ClusterReplica& replica : cluster_.replicas) {
      if (replica.id.value == 1 || replica.spare) continue;
      const auto status = tools::log_status(cluster_, replica.id, cluster_.logs.front().name);
      if (!status) return tl::unexpected(status.error());
      lowest = std::min(lowest, status->marks.delivered);
    }
    return {};
  });
  if (!asked) return tl::unexpected(asked.error());
  return lowest;
}

Result<Position> Stage::await_delivery(Position position, uint64_t timeout_ms) {
  const uint64_t until = monotonic_ns() + timeout_ms * 1'000'000;
  for (;;) {
    const auto delivered = delivered_by_all_followers();
    if (!delivered || *delivered >= position || monotonic_ns() >= until) return delivered;
    const uint64_t next = monotonic_ns() + kStatusPeriodMs * 1'000'000;
    while (monotonic_ns() < next) engine_->poll();
  }
}

}  // namespace caisson::bench
