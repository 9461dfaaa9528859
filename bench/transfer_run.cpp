// SPDX-License-Identifier: BSD-3-Clause
#include "bench/transfer_run.hpp"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include "bench/append_run.hpp"
#include "bench/loaded_cluster.hpp"
#include "core/engine/config.hpp"
#include "core/engine/scheduling.hpp"

namespace caisson::bench {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerTimeout{30'000};
constexpr uint64_t kRefusedMax = 100;  // in a row: something is wrong

class Rounds {
 public:
  Rounds(const TransferRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress) {
    result_.options = options;
    result_.options.poller_priority =
        options.poller_priority.value_or(engine::priority_allowed() ? 1 : 0);
  }

  Result<TransferRunResult> operator()() {
    if (const auto opened = open(); !opened) return tl::unexpected(opened.error());
    uint64_t refused = 0;
    while (result_.latencies_ns.size() < options().rounds) {
      progress_("round " + std::to_string(result_.latencies_ns.size() + 1) + " of " +
                std::to_string(options().rounds));
      const Code code = play();
      if (code == Code::ok) {
        refused = 0;
        continue;
      }
      ++result_.refused;
      if (++refused > kRefusedMax) {
        return fail(code, "the lead is not handed over: " + std::string(name(code)));
      }
    }
    result_.latency = percentiles_of(result_.latencies_ns);
    result_.acknowledged = loaded_->acknowledged();
    return std::move(result_);
  }

 private:
  const TransferRunOptions& options() const { return result_.options; }

  Result<void> open() {
    progress_("starting " + std::to_string(options().replicas) + " replicas");
    tools::ClusterShape shape;
    shape.directory = options().directory / ("caisson-transfer-" + std::to_string(getpid()));
    shape.replicas = options().replicas;
    shape.ring_bytes = options().ring_bytes;
    shape.poller_priority = *options().poller_priority;
    auto loaded = LoadedCluster::open(shape);
    if (!loaded) return tl::unexpected(loaded.error());
    loaded_ = std::move(*loaded);
    result_.persistence = engine::name(loaded_->cluster().persistence);
    return {};
  }

  Code play() {
    const auto leader = loaded_->settled();
    if (!leader) return leader.error().code;
    std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution<int>(0, 20)(random_)));
    const uint64_t term = loaded_->highest_term();
    LoadCells& cells = loaded_->cells(*leader);
    cells.heir.store(leader->value % options().replicas + 1, std::memory_order_release);
    const auto until = std::chrono::steady_clock::now() + kAnswerTimeout;
    while (cells.heir.load(std::memory_order_acquire) != 0) {
      if (std::chrono::steady_clock::now() >= until) return Code::timed_out;
      std::this_thread::sleep_for(milliseconds(1));
    }
    const auto code = static_cast<Code>(cells.hand_over_code.load(std::memory_order_relaxed));
    if (code != Code::ok) return code;
    const auto acknowledged_ns = loaded_->await_term_above(term);
    if (!acknowledged_ns) return acknowledged_ns.error().code;
    result_.latencies_ns.push_back(*acknowledged_ns -
                                   cells.handed_over_ns.load(std::memory_order_relaxed));
    return Code::ok;
  }

  const std::function<void(const std::string&)>& progress_;
  TransferRunResult result_;
  std::unique_ptr<LoadedCluster> loaded_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace

Result<TransferRunResult> run_transfer(const TransferRunOptions& options,
                                       const std::function<void(const std::string&)>& progress) {
  return Rounds(options, progress)();
}

nlohmann::ordered_json to_json(const TransferRunResult& result) {
  return {{"ok", true},
          {"benchmark", "transfer"},
          {"rounds", result.latencies_ns.size()},
          {"refused", result.refused},
          {"replicas", result.options.replicas},
          {"ring_bytes", result.options.ring_bytes},
          {"poller_priority", result.options.poller_priority.value_or(0)},
          {"fabric", "shm"},
          {"persistence", result.persistence},
          {"cpu", processor_name()},
          {"p50_ns", result.latency.p50_ns},
          {"p90_ns", result.latency.p90_ns},
          {"p99_ns", result.latency.p99_ns},
          {"max_ns", result.latency.max_ns},
          {"min_ns", result.latency.min_ns},
          {"what",
           "from the call of hand_over in the leader's process, under load, to the first append "
           "acknowledged by its successor; the load runs in the replicas' own processes"},
          {"acknowledged", result.acknowledged},
          {"latencies_ns", result.latencies_ns}};
}

}  // namespace caisson::bench
