// SPDX-License-Identifier: BSD-3-Clause
#include "bench/append_run.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "bench/allocations.hpp"
#include "bench/append_load.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/ticks.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kEngineSliceNs = 20'000'000;
constexpr uint64_t kFloorSliceNs = 4'000'000;
constexpr uint64_t kWarmUpNs = 100'000'000;
constexpr uint64_t kWarmUpSliceNs = 200'000;
constexpr double kOverrunMax = 10;  // × seconds, waiting for the laps
constexpr size_t kSamplesMax = 1u << 25;
constexpr size_t kFloorSamplesMax = 1u << 23;
constexpr uint64_t kStoppedAppendsMax = 100'000;
constexpr uint64_t kDeliveryTimeoutMs = 10'000;

class Run {
 public:
  Run(const AppendRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress), directory_(options.directory, "caisson-bench"), samples_(kSamplesMax) {
    result_.options = options;
  }

  Result<AppendRunResult> operator()() {
    Result<void> done = open();
    if (done) done = warm_up();
    if (done) done = measure();
    if (done) done = verify();
    if (done) done = count_calls();
    if (done) done = stop_followers();
    if (done) done = save();
    if (!done) return tl::unexpected(done.error());
    finish();
    return std::move(result_);
  }

 private:
  const AppendRunOptions& options() const { return result_.options; }

  Result<void> open() {
    // The floor and its samples first: making them takes longer than a term's patience.
    if (const auto made = directory_.make(); !made) return made;
    FloorOptions floor_options;
    floor_options.directory = directory_.path();
    floor_options.regions = options().replicas;
    floor_options.ring_bytes = options().ring_bytes;
    floor_options.payload_bytes = options().payload_bytes;
    floor_options.batch = options().inflight;
    floor_options.samples_max = kFloorSamplesMax;
    auto floor = Floor::create(floor_options);
    if (!floor) return tl::unexpected(floor.error());
    floor_ = std::move(*floor);

    progress_("starting " + std::to_string(options().replicas) + " replicas");
    StageOptions stage_options;
    stage_options.directory = directory_.path() / "cluster";
    stage_options.replicas = options().replicas;
    stage_options.ring_bytes = options().ring_bytes;
    auto stage = Stage::open(stage_options);
    if (!stage) return tl::unexpected(stage.error());
    stage_ = std::move(*stage);

    auto appender = stage_->log().appender();
    if (!appender) return tl::unexpected(appender.error());
    const LoadOptions load_options{options().payload_bytes, options().inflight, options().batch,
                                   options().durability, options().ring_bytes};
    load_ =
        std::make_unique<Load>(load_options, stage_->engine(), stage_->log(), std::move(*appender));
    return {};
  }

  Result<void> warm_up() {
    progress_("warming up");
    return load_->run_for(kWarmUpNs, nullptr);
  }

  Result<void> measure() {
    const auto budget_ns = static_cast<uint64_t>(options().seconds * 1e9);
    const uint64_t start = monotonic_ns();
    const double cpu_before = stage_->follower_cpu_seconds();
    appended_before_ = load_->appended();
    for (;;) {
      if (const auto warm = load_->run_for(kWarmUpSliceNs, nullptr); !warm) return warm;
      const uint64_t appended = load_->appended();
      const uint64_t spent = load_->ticks_spent();
      if (const auto done = load_->run_for(kEngineSliceNs, &samples_); !done) return done;
      result_.appends += load_->appended() - appended;
      engine_ticks_ += load_->ticks_spent() - spent;
      for (size_t i = 0; i < floor_->variants().size(); ++i) {
        floor_->run(i, kFloorSliceNs);
        stage_->engine().poll();
      }
      const uint64_t passed = monotonic_ns() - start;
      progress_("appending: " + std::to_string(passed / 1'000'000'000) + " s, " +
                std::to_string(static_cast<uint64_t>(laps())) + " laps");
      if (passed >= budget_ns && laps() >= static_cast<double>(options().laps_min)) break;
      if (static_cast<double>(passed) >= kOverrunMax * static_cast<double>(budget_ns)) break;
    }
    result_.laps = laps();
    result_.follower_cpu_s = stage_->follower_cpu_seconds() - cpu_before;
    return {};
  }

  double laps() const {
    return static_cast<double>((load_->appended() - appended_before_) * load_->entry_bytes()) /
           static_cast<double>(options().ring_bytes);
  }

  // What followers say they have validated and delivered, against what was acknowledged here.
  Result<void> verify() {
    progress_("waiting for the followers' word");
    const auto delivered = stage_->await_delivery(load_->last(), kDeliveryTimeoutMs);
    if (!delivered) return tl::unexpected(delivered.error());
    result_.all_verified = *delivered >= load_->last();
    const uint64_t missing = result_.all_verified ? 0 : load_->last() - *delivered;
    result_.verified_entries = load_->appended() - std::min(load_->appended(), missing);
    return {};
  }

  Result<void> count_calls() {
    progress_("counting system calls and allocations");
    const auto counter = SystemCallCounter::start();
    result_.system_calls_how =
        counter ? "ptrace of every thread over a phase of its own, as strace -f does"
                : "not measured: " + counter.error().message;
    const uint64_t appended = load_->appended();
    const uint64_t allocations = allocations_of_this_thread();
    if (counter) (*counter)->begin();
    const auto done = load_->run_count(options().counted_appends, nullptr);
    const uint64_t allocated = allocations_of_this_thread() - allocations;
    Result<SystemCallCounts> counts = fail(Code::unsupported, "");
    if (counter) counts = (*counter)->end();
    if (!done) return done;
    result_.counted = load_->appended() - appended;
    const auto per_append = [&](uint64_t n) {
      return static_cast<double>(n) / static_cast<double>(result_.counted);
    };
    if (counts) {
      result_.system_calls_per_append = per_append(counts->calling_thread);
      result_.system_calls_by_thread = counts->by_thread;
    }
    if (allocations_counted()) result_.allocations_per_append = per_append(allocated);
    return {};
  }

  // With every follower stopped, appends go on being acknowledged: their processors have no part in
  // it.
  Result<void> stop_followers() {
    progress_("appending with the followers stopped");
    const auto settled = stage_->await_delivery(load_->last(), kDeliveryTimeoutMs);
    if (!settled) return tl::unexpected(settled.error());
    const uint64_t room = options().ring_bytes / 8 / load_->entry_bytes();
    const uint64_t appends = std::clamp<uint64_t>(room, 1, kStoppedAppendsMax);
    stage_->signal_followers(SIGSTOP);
    const double cpu_before = stage_->follower_cpu_seconds();
    const uint64_t appended = load_->appended();
    const auto done = load_->run_count(appends, nullptr);
    result_.acknowledged_while_stopped = load_->appended() - appended;
    result_.follower_cpu_while_stopped_s = stage_->follower_cpu_seconds() - cpu_before;
    stage_->signal_followers(SIGCONT);
    return done;
  }

  Result<void> save() {
    if (const auto made = tools::make_directories(options().samples); !made) return made;
    if (const auto saved = samples_.save(options().samples / "engine.u32"); !saved) return saved;
    for (const FloorVariant& variant : floor_->variants()) {
      const auto saved =
          variant.samples.save(options().samples / ("floor-" + variant.name + ".u32"));
      if (!saved) return saved;
    }
    return {};
  }

  void finish() {
    result_.engine = samples_.percentiles();
    result_.engine_seconds = static_cast<double>(engine_ticks_) / ticks_per_ns() * 1e-9;
    result_.appends_total = load_->appended();
    result_.stalls = load_->stalls();
    result_.term = load_->term();
    result_.persistence = engine::name(stage_->cluster().persistence);
    result_.leader_core = stage_->leader_core();
    result_.follower_cores = stage_->follower_cores();
    result_.floor_latency =
        static_cast<size_t>(&floor_->lowest_latency() - floor_->variants().data());
    result_.floor_rate = static_cast<size_t>(&floor_->highest_rate() - floor_->variants().data());
    result_.floor = floor_->variants();
  }

  const std::function<void(const std::string&)>& progress_;
  ScratchDirectory directory_;  // outlives what runs in it
  AppendRunResult result_;
  Samples samples_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<Floor> floor_;
  std::unique_ptr<Load> load_;
  uint64_t appended_before_ = 0;
  uint64_t engine_ticks_ = 0;
};

}  // namespace

Result<AppendRunResult> run_append(const AppendRunOptions& options,
                                   const std::function<void(const std::string&)>& progress) {
  return Run(options, progress)();
}

}  // namespace caisson::bench
