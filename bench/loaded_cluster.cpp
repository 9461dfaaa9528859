// SPDX-License-Identifier: BSD-3-Clause
#include "bench/loaded_cluster.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace caisson::bench {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSettleTimeout{60'000};
constexpr milliseconds kSuccessionTimeout{30'000};
constexpr milliseconds kLook{5};
constexpr uint64_t kCaughtUpLag =
    100'000;  // positions: a follower under load is always a little behind

}  // namespace

Result<std::unique_ptr<LoadedCluster>> LoadedCluster::open(const tools::ClusterShape& shape) {
  std::unique_ptr<LoadedCluster> loaded(new LoadedCluster());
  if (const auto built = loaded->build(shape); !built) return tl::unexpected(built.error());
  return loaded;
}

LoadedCluster::~LoadedCluster() {
  for (const tools::ClusterReplica& replica : cluster_.replicas) {
    (void)tools::stop_replica(cluster_, replica.id);
  }
  std::error_code error;
  if (!cluster_.directory.empty()) std::filesystem::remove_all(cluster_.directory, error);
}

Result<void> LoadedCluster::build(const tools::ClusterShape& shape) {
  const auto cluster = tools::create_cluster(shape);
  if (!cluster) return tl::unexpected(cluster.error());
  cluster_ = *cluster;
  for (const tools::ClusterReplica& replica : cluster_.replicas) {
    auto cells = MappedCells::open(cells_path(replica.id));
    if (!cells) return tl::unexpected(cells.error());
    cells_.push_back(std::move(*cells));
    if (const auto started = start(replica.id); !started) return started;
  }
  return {};
}

Result<void> LoadedCluster::start(ReplicaId id) {
  tools::StartWith with;
  with.command = {std::string(kLoadCommand), cluster_.configuration(id).string(),
                  cells_path(id).string()};
  const auto process = tools::start_replica(cluster_, id, with);
  if (!process) return tl::unexpected(process.error());
  return {};
}

uint64_t LoadedCluster::highest_term() {
  uint64_t highest = 0;
  for (const auto& cells : cells_) {
    highest = std::max(highest, (*cells)->term.load(std::memory_order_acquire));
  }
  return highest;
}

uint64_t LoadedCluster::acknowledged() {
  uint64_t sum = 0;
  for (const auto& cells : cells_) sum += (*cells)->acknowledged.load(std::memory_order_relaxed);
  return sum;
}

Result<ReplicaId> LoadedCluster::settled() {
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

bool LoadedCluster::follow_closely(const std::vector<tools::ReplicaReport>& reports,
                                   ReplicaId leader, std::string& why) const {
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
bool LoadedCluster::fresh(ReplicaId leader, std::string& why) {
  const uint64_t before = cells(leader).acknowledged.load(std::memory_order_relaxed);
  std::this_thread::sleep_for(kLook);
  if (cells(leader).acknowledged.load(std::memory_order_relaxed) > before) return true;
  why = "the leader acknowledges nothing";
  return false;
}

Result<uint64_t> LoadedCluster::await_term_above(uint64_t term) {
  const auto until = std::chrono::steady_clock::now() + kSuccessionTimeout;
  while (std::chrono::steady_clock::now() < until) {
    for (const auto& cells : cells_) {
      if ((*cells)->term.load(std::memory_order_acquire) > term) {
        return (*cells)->first_ack_ns.load(std::memory_order_relaxed);
      }
    }
    std::this_thread::sleep_for(milliseconds(1));
  }
  return fail(Code::no_quorum, "no append of a new term was acknowledged within 30 s");
}

}  // namespace caisson::bench
