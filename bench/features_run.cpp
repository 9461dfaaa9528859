// SPDX-License-Identifier: BSD-3-Clause
#include "bench/features_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bench/append_run.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/stage.hpp"
#include "bench/ticks.hpp"
#include "core/engine/config.hpp"
#include "core/engine/engine_impl.hpp"
#include "core/engine/poller.hpp"
#include "core/log/entry_format.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kSliceNs = 10'000'000;
constexpr uint64_t kWarmUpRounds = 5;
constexpr uint64_t kStallNs = 5'000'000'000;
constexpr uint64_t kClient = 77;
constexpr uint64_t kOpenTag = UINT64_MAX;
constexpr uint64_t kTrimsPerLap = 32;
constexpr uint64_t kKeptEighths = 3;

uint64_t ticks_of(uint64_t ns) {
  return static_cast<uint64_t>(static_cast<double>(ns) * ticks_per_ns());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Appends to the replica itself: through the API every append has an identity.
class Run {
 public:
  Run(const FeaturesRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress),
        directory_(options.directory, "caisson-features"),
        entry_bytes_(log::entry_bytes(options.payload_bytes)),
        payload_(std::max<uint64_t>(options.payload_bytes, sizeof(uint64_t))) {
    result_.options = options;
    result_.sets = {{"none", false, Durability::volatile_, false},
                    {"deduplication", true, Durability::volatile_, false},
                    {"persisted", false, Durability::persisted, false},
                    {"view", false, Durability::volatile_, true},
                    {"all", true, Durability::persisted, true}};
  }

  Result<FeaturesRunResult> operator()() {
    Result<void> done = open();
    for (uint64_t round = 0; done && round < kWarmUpRounds; ++round) done = play(false);
    const uint64_t until = monotonic_ns() + static_cast<uint64_t>(result_.options.seconds * 1e9);
    while (done && monotonic_ns() < until) {
      progress_("round " + std::to_string(result_.sets.front().rates.size() + 1));
      done = play(true);
    }
    if (!done) return tl::unexpected(done.error());
    result_.persistence = engine::name(stage_->cluster().persistence);
    return std::move(result_);
  }

 private:
  const FeaturesRunOptions& options() const { return result_.options; }
  replication::Replica& replica() { return log_->replica(); }

  Result<void> open() {
    progress_("starting " + std::to_string(options().replicas) + " replicas");
    if (const auto made = directory_.make(); !made) return made;
    StageOptions stage_options;
    stage_options.directory = directory_.path() / "cluster";
    stage_options.replicas = options().replicas;
    stage_options.ring_bytes = options().ring_bytes;
    auto stage = Stage::open(stage_options);
    if (!stage) return tl::unexpected(stage.error());
    stage_ = std::move(*stage);
    log_ = engine::EngineAccess::of(stage_->engine()).find_log(stage_->log().name());
    const uint64_t until = monotonic_ns() + kStallNs;
    Code code = replica().open_stream({kClient, false, 0, 0}, kOpenTag);
    outstanding_ = 1;
    while (code == Code::ok && outstanding_ > 0 && monotonic_ns() < until) code = take();
    if (code != Code::ok || outstanding_ > 0) return fail(code, "no stream could be opened");
    incarnation_ = replica().opened_stream(kClient).incarnation;
    return {};
  }

  // One slice of each, in turns that change direction, so that a drift hits all alike.
  Result<void> play(bool counts) {
    backwards_ = !backwards_;
    const size_t count = result_.sets.size();
    for (size_t i = 0; i < count; ++i) {
      FeatureSet& set = result_.sets[backwards_ ? count - 1 - i : i];
      const auto rate = slice(set);
      if (!rate) return tl::unexpected(rate.error());
      if (counts) set.rates.push_back(*rate);
      stage_->engine().poll();  // all is resolved: nothing of ours is taken by it
    }
    return {};
  }

  Code take() {
    replica().poll(log_->poller().look_at_clock());
    const size_t taken = replica().take_resolutions(resolutions_);
    for (size_t i = 0; i < taken; ++i) {
      if (resolutions_[i].code != Code::ok) return resolutions_[i].code;
    }
    outstanding_ -= taken;
    if (taken > 0) last_ = resolutions_[taken - 1].position;
    return Code::ok;
  }

  // Starved: nothing is outstanding and there is no room; an earlier trim was held, or is to be
  // asked again.
  void trim_if_due(bool starved) {
    if (appended_ < trim_at_ && !starved) return;
    trim_at_ = appended_ + options().ring_bytes / kTrimsPerLap / entry_bytes_;
    const uint64_t kept = options().ring_bytes * kKeptEighths / 8 / entry_bytes_;
    if (last_.value > kept) (void)replica().trim(Position{last_.value - kept}, nullptr);
  }

  Code submit(const FeatureSet& set) {
    replication::Submission submission;
    if (set.identified) submission.identity = {kClient, incarnation_, sequence_ + 1};
    submission.payload = {payload_.data(), options().payload_bytes};
    submission.level = set.durability;
    submission.tag = appended_;
    if (set.in_view) submission.view = view_;
    const Code code = replica().submit(submission);
    if (code == Code::ok) {
      sequence_ += set.identified;
      ++outstanding_;
      ++appended_;
    }
    return code;
  }

  // Appends a second.
  Result<double> slice(const FeatureSet& set) {
    view_ = stage_->log().members().view;
    const uint64_t before = appended_;
    const uint64_t begun_ns = monotonic_ns();
    const uint64_t until = ticks() + ticks_of(kSliceNs);
    uint64_t moved = __rdtsc();
    for (bool more = true; more || outstanding_ > 0;) {
      Code code = Code::ok;
      while (more && outstanding_ < options().inflight && code == Code::ok) code = submit(set);
      const bool refused = code == Code::again;
      const uint64_t waiting = outstanding_;
      if (code == Code::ok || code == Code::again) code = take();
      if (code != Code::ok) {
        return fail(code, "an append ended with '" + std::string(name(code)) + "'");
      }
      trim_if_due(refused && outstanding_ == 0);
      const uint64_t now = __rdtsc();
      if (outstanding_ < waiting) moved = now;
      if (now - moved > ticks_of(kStallNs)) {
        return fail(Code::timed_out, "nothing was acknowledged for 5 s");
      }
      more = more && now < until;
    }
    // At `volatile` nobody waits for the others; what it leaves to be done is still its own.
    while (replica().log().committed() < last_) {
      if (const Code code = take(); code != Code::ok) return fail(code, "the lead was lost");
      if (__rdtsc() - moved > ticks_of(kStallNs)) {
        return fail(Code::timed_out, "nothing was committed for 5 s");
      }
    }
    return static_cast<double>(appended_ - before) /
           static_cast<double>(monotonic_ns() - begun_ns) * 1e9;
  }

  const std::function<void(const std::string&)>& progress_;
  ScratchDirectory directory_;  // outlives what runs in it
  const uint64_t entry_bytes_;
  FeaturesRunResult result_;
  std::unique_ptr<Stage> stage_;
  engine::LogImpl* log_ = nullptr;
  std::vector<std::byte> payload_;
  std::array<replication::Resolution, 256> resolutions_{};
  uint64_t outstanding_ = 0;
  uint64_t appended_ = 0;
  uint64_t trim_at_ = 0;
  uint32_t incarnation_ = 0;
  uint64_t sequence_ = 0;
  View view_;
  Position last_;
  bool backwards_ = false;
};

}  // namespace

double FeatureSet::median_rate() const { return median(rates); }

double FeaturesRunResult::cost() const {
  std::vector<double> costs;
  for (size_t i = 0; i < sets.front().rates.size(); ++i) {
    costs.push_back(1 - sets.back().rates[i] / sets.front().rates[i]);
  }
  return median(std::move(costs));
}

Result<FeaturesRunResult> run_features(const FeaturesRunOptions& options,
                                       const std::function<void(const std::string&)>& progress) {
  return Run(options, progress)();
}

nlohmann::ordered_json to_json(const FeaturesRunResult& result) {
  nlohmann::ordered_json sets = nlohmann::ordered_json::array();
  const double plain = result.sets.front().median_rate();
  for (const FeatureSet& set : result.sets) {
    sets.push_back({{"name", set.name},
                    {"identified", set.identified},
                    {"durability", name(set.durability)},
                    {"in_view", set.in_view},
                    {"appends_per_s", set.median_rate()},
                    {"ratio", plain > 0 ? set.median_rate() / plain : 0},
                    {"slices", set.rates}});
  }
  return {{"ok", true},
          {"benchmark", "features"},
          {"size_bytes", result.options.payload_bytes},
          {"replicas", result.options.replicas},
          {"inflight", result.options.inflight},
          {"ring_bytes", result.options.ring_bytes},
          {"fabric", "shm"},
          {"persistence", result.persistence},
          {"cpu", processor_name()},
          {"cost", result.cost()},
          {"sets", std::move(sets)},
          {"what",
           "appends handed to one leader, in slices of 10 ms that take turns; cost: 1 minus the "
           "rate with everything over that with nothing, the median of all rounds"}};
}

}  // namespace caisson::bench
