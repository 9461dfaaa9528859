// SPDX-License-Identifier: BSD-3-Clause
#include "bench/reads_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "bench/scratch_directory.hpp"
#include "bench/stage.hpp"
#include "bench/ticks.hpp"
#include "core/engine/config.hpp"

namespace caisson::bench {

namespace {

constexpr uint64_t kEntries = 4096;
constexpr uint64_t kTimeoutNs = 5'000'000'000;
constexpr uint64_t kWarmUp = 50;

class Run {
 public:
  Run(const ReadsRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress), directory_(options.directory, "caisson-reads") {
    result_.options = options;
  }

  Result<ReadsRunResult> operator()() {
    auto done = open();
    if (done) done = measure("leader");
    if (done && options().replicas > 1) done = follow();
    if (done && options().replicas > 1) done = measure("follower");
    if (!done) return tl::unexpected(done.error());
    result_.persistence = engine::name(stage_->cluster().persistence);
    return std::move(result_);
  }

 private:
  using Way = std::function<Result<void>(Position)>;

  const ReadsRunOptions& options() const { return result_.options; }
  Log& log() { return stage_->log(); }

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
    auto appender = log().appender();
    if (!appender) return tl::unexpected(appender.error());
    const std::vector<std::byte> payload(options().payload_bytes);
    for (uint64_t i = 0; i < kEntries; ++i) {
      const Completion done = (*appender)->append(payload);
      if (done.code != Code::ok) return fail(done.code, "an append failed");
      if (i == 0) first_ = done.position;
      last_ = done.position;
    }
    return {};
  }

  // Replica 2 takes the lead, and this process follows it.
  Result<void> follow() {
    progress_("handing over the lead");
    const uint64_t until = monotonic_ns() + kTimeoutNs;
    Code code = Code::no_quorum;
    while (code != Code::ok && monotonic_ns() < until) {
      code = log().hand_over(ReplicaId{2}, kTimeoutNs);
    }
    if (code != Code::ok) return fail(code, "the lead is not handed over");
    while (monotonic_ns() < until) {
      const auto point = log().read_point(ReadPath::proof, kTimeoutNs);
      if (point) return {};
      stage_->engine().poll();
    }
    return fail(Code::timed_out, "nobody leads after the lead was handed over");
  }

  Result<void> stale(Position position) {
    const Code code = log().read(position, out_);
    return code == Code::ok ? Result<void>{} : fail(code, "a read failed");
  }

  Result<void> linearizable(ReadPath path, Position position) {
    const auto point = log().read_point(path, kTimeoutNs);
    if (!point) return tl::unexpected(point.error());
    return stale(position);
  }

  Result<void> session(Position position) {
    const Code code = log().read(position, {last_, kTimeoutNs}, out_);
    return code == Code::ok ? Result<void>{} : fail(code, "a session read failed");
  }

  Result<void> next(Subscription& subscription) {
    Entry entry;
    const Code code = subscription.next(entry);
    return code == Code::ok ? Result<void>{} : fail(code, "a subscription failed");
  }

  Result<void> measure(const std::string& role) {
    // The floor is not to pay for the first look at the ring.
    for (uint64_t i = 0; i < kEntries; ++i) {
      if (const auto read = stale(first_ + i); !read) return read;
    }
    double floor_ns = 0;
    const auto add = [&](const std::string& name, const Way& way) -> Result<void> {
      progress_(role + ": " + name);
      auto times = time(way);
      if (!times) return tl::unexpected(times.error());
      const Percentiles latency = percentiles_of(std::move(*times));
      if (floor_ns == 0) floor_ns = latency.p50_ns;
      result_.ways.push_back({name, role, latency, latency.p50_ns / std::max(floor_ns, 1.0)});
      return {};
    };
    auto done = add("stale", [&](Position p) { return stale(p); });
    if (done) done = add("session", [&](Position p) { return session(p); });
    for (const ReadPath path : {ReadPath::proof, ReadPath::leader, ReadPath::log}) {
      if (!done) break;
      done =
          add(std::string(caisson::name(path)), [&](Position p) { return linearizable(path, p); });
    }
    for (const bool speculative : {false, true}) {
      if (!done) break;
      done =
          subscribed(speculative ? "subscription, speculative" : "subscription", speculative, add);
    }
    return done;
  }

  template <class Add>
  Result<void> subscribed(const std::string& name, bool speculative, const Add& add) {
    SubscribeOptions subscribe;
    subscribe.speculative = speculative;
    std::unique_ptr<Subscription> subscription;
    // From the beginning again where the end is reached.
    uint64_t taken = kEntries;
    return add(name, [&](Position) -> Result<void> {
      if (taken++ == kEntries) {
        taken = 1;
        auto opened = log().subscribe(first_, subscribe);
        if (!opened) return tl::unexpected(opened.error());
        subscription = std::move(*opened);
      }
      return next(*subscription);
    });
  }

  // Entries all over the log, so that the caches do not answer for the way.
  Result<std::vector<uint64_t>> time(const Way& way) {
    std::vector<uint64_t> times;
    times.reserve(options().rounds);
    uint64_t at = 0;
    for (uint64_t i = 0; i < options().rounds + kWarmUp; ++i) {
      at = (at + 1021) % kEntries;
      const uint64_t begun = monotonic_ns();
      if (const auto done = way(first_ + at); !done) return tl::unexpected(done.error());
      const uint64_t took = monotonic_ns() - begun;
      if (i >= kWarmUp) times.push_back(took);
      if (i % 64 == 0) stage_->engine().poll();
    }
    return times;
  }

  const std::function<void(const std::string&)>& progress_;
  ScratchDirectory directory_;  // outlives what runs in it
  ReadsRunResult result_;
  std::unique_ptr<Stage> stage_;
  std::vector<std::byte> out_;
  Position first_;
  Position last_;
};

}  // namespace

Result<ReadsRunResult> run_reads(const ReadsRunOptions& options,
                                 const std::function<void(const std::string&)>& progress) {
  return Run(options, progress)();
}

nlohmann::ordered_json to_json(const ReadsRunResult& result) {
  nlohmann::ordered_json ways = nlohmann::ordered_json::array();
  for (const WayToRead& way : result.ways) {
    ways.push_back({{"way", way.name},
                    {"role", way.role},
                    {"samples", way.latency.count},
                    {"p50_ns", way.latency.p50_ns},
                    {"p90_ns", way.latency.p90_ns},
                    {"p99_ns", way.latency.p99_ns},
                    {"max_ns", way.latency.max_ns},
                    {"ratio_p50", way.ratio_p50}});
  }
  return {{"ok", true},
          {"benchmark", "reads"},
          {"size_bytes", result.options.payload_bytes},
          {"replicas", result.options.replicas},
          {"ring_bytes", result.options.ring_bytes},
          {"rounds", result.options.rounds},
          {"persistence", result.persistence},
          {"ways", std::move(ways)}};
}

}  // namespace caisson::bench
