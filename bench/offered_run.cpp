// SPDX-License-Identifier: BSD-3-Clause
#include "bench/offered_run.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "bench/scratch_directory.hpp"
#include "bench/stage.hpp"
#include "bench/ticks.hpp"
#include "core/engine/config.hpp"
#include "core/log/entry_format.hpp"

namespace caisson::bench {

namespace {

constexpr uint32_t kOutstanding = 512;
constexpr uint64_t kSampled = 8;  // one append in so many is timed
constexpr size_t kSamplesMax = 1u << 23;
constexpr uint64_t kTrimsPerLap = 32;
constexpr uint64_t kKeptEighths = 3;
constexpr uint64_t kStallNs = 5'000'000'000;

uint64_t ticks_of(double ns) { return static_cast<uint64_t>(ns * ticks_per_ns()); }

class Run {
 public:
  Run(const OfferedRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress),
        directory_(options.directory, "caisson-load"),
        entry_bytes_(log::entry_bytes(options.payload_bytes)),
        payload_(options.payload_bytes) {
    result_.options = options;
  }

  Result<OfferedRunResult> operator()() {
    auto done = open();
    if (done) done = find_capacity();
    for (const uint32_t percent : options().percents) {
      if (!done) break;
      progress_("offering " + std::to_string(percent) + " % of the capacity");
      done = offer(percent);
    }
    if (!done) return tl::unexpected(done.error());
    result_.persistence = engine::name(stage_->cluster().persistence);
    return std::move(result_);
  }

 private:
  const OfferedRunOptions& options() const { return result_.options; }

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
    AppenderOptions appender_options;
    appender_options.outstanding_max = kOutstanding;
    auto appender = stage_->log().appender(appender_options);
    if (!appender) return tl::unexpected(appender.error());
    appender_ = std::move(*appender);
    return {};
  }

  // The second of two rounds counts: the first one touches the ring.
  Result<void> find_capacity() {
    progress_("finding the capacity");
    for (int round = 0; round < 2; ++round) {
      const auto load = play(0, std::nullopt);
      if (!load) return tl::unexpected(load.error());
      result_.capacity_per_s = load->taken_per_s();
    }
    return {};
  }

  Result<void> offer(uint32_t percent) {
    const double per_s = result_.capacity_per_s * percent / 100;
    const auto load = play(percent, ticks_of(1e9 / std::max(per_s, 1.0)));
    if (!load) return tl::unexpected(load.error());
    result_.loads.push_back(*load);
    return {};
  }

  // Appends that are due every `interval` ticks; nothing: whenever there is room for one.
  Result<OfferedLoad> play(uint32_t percent, std::optional<uint64_t> interval) {
    OfferedLoad load;
    load.percent = percent;
    Samples samples(kSamplesMax);
    const uint64_t begun = ticks();
    const uint64_t end = begun + ticks_of(options().seconds * 1e9);
    uint64_t due = begun;  // of the append that is next
    uint64_t outstanding = 0;
    uint64_t moved = begun;
    uint64_t now = begun;
    for (; now < end || outstanding > 0; now = ticks()) {
      if (now < end) {
        if (!interval) due = now;
        // Whoever waits behind so many others has gone elsewhere.
        const uint64_t waiting = interval && now > due ? (now - due) / *interval : 0;
        if (waiting > OfferedRunResult::kBacklogMax) {
          const uint64_t gone = waiting - OfferedRunResult::kBacklogMax;
          load.shed += gone;
          load.offered += gone;
          due += gone * *interval;
        }
        while (due <= now && outstanding < kOutstanding) {
          const Code code = appender_->append_async(payload_, due);
          if (code == Code::again) break;
          if (code != Code::ok) return fail(code, failure(code));
          ++outstanding;
          ++load.offered;
          due += interval.value_or(0);
        }
      }
      const auto taken = take(samples);
      if (!taken) return tl::unexpected(taken.error());
      outstanding -= *taken;
      load.taken += *taken;
      trim_if_due(*taken);
      if (*taken != 0 || outstanding == 0) moved = ticks();
      if (ticks() - moved > ticks_of(kStallNs)) {
        return fail(Code::timed_out, "nothing was acknowledged for 5 s");
      }
    }
    load.span_s = static_cast<double>(now - begun) / ticks_per_ns() / 1e9;
    load.latency = samples.percentiles();
    return load;
  }

  Result<size_t> take(Samples& samples) {
    const size_t taken = appender_->completions(completions_);
    const uint64_t now = ticks();
    for (size_t i = 0; i < taken; ++i) {
      const Completion& done = completions_[i];
      if (done.code != Code::ok) return fail(done.code, failure(done.code));
      if (++completed_ % kSampled == 0) samples.add(now - std::min(now, done.tag));
      last_ = done.position;
    }
    return taken;
  }

  void trim_if_due(size_t taken) {
    appended_ += taken;
    if (appended_ < trim_at_) return;
    trim_at_ = appended_ + options().ring_bytes / kTrimsPerLap / entry_bytes_;
    const uint64_t kept = options().ring_bytes * kKeptEighths / 8 / entry_bytes_;
    if (last_.value > kept) (void)stage_->log().trim(Position{last_.value - kept});
  }

  static std::string failure(Code code) {
    return "an append ended with '" + std::string(name(code)) + "'";
  }

  const std::function<void(const std::string&)>& progress_;
  ScratchDirectory directory_;  // outlives what runs in it
  const uint64_t entry_bytes_;
  OfferedRunResult result_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<Appender> appender_;
  std::vector<std::byte> payload_;
  std::array<Completion, 256> completions_{};
  uint64_t completed_ = 0;
  uint64_t appended_ = 0;
  uint64_t trim_at_ = 0;
  Position last_;
};

}  // namespace

double OfferedRunResult::plateau() const {
  double least = std::numeric_limits<double>::infinity();
  for (const OfferedLoad& load : loads) {
    if (load.percent >= 100) least = std::min(least, load.taken_per_s());
  }
  return capacity_per_s > 0 && least < std::numeric_limits<double>::infinity()
             ? least / capacity_per_s
             : 0;
}

Result<OfferedRunResult> run_offered(const OfferedRunOptions& options,
                                     const std::function<void(const std::string&)>& progress) {
  return Run(options, progress)();
}

nlohmann::ordered_json to_json(const OfferedRunResult& result) {
  nlohmann::ordered_json loads = nlohmann::ordered_json::array();
  for (const OfferedLoad& load : result.loads) {
    loads.push_back({{"percent", load.percent},
                     {"offered_per_s", load.offered_per_s()},
                     {"taken_per_s", load.taken_per_s()},
                     {"shed", load.shed},
                     {"p50_ns", load.latency.p50_ns},
                     {"p99_ns", load.latency.p99_ns},
                     {"p999_ns", load.latency.p999_ns},
                     {"max_ns", load.latency.max_ns}});
  }
  return {{"ok", true},
          {"benchmark", "load"},
          {"size_bytes", result.options.payload_bytes},
          {"replicas", result.options.replicas},
          {"ring_bytes", result.options.ring_bytes},
          {"seconds", result.options.seconds},
          {"persistence", result.persistence},
          {"capacity_per_s", result.capacity_per_s},
          {"plateau", result.plateau()},
          {"loads", std::move(loads)}};
}

}  // namespace caisson::bench
