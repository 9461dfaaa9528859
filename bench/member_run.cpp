// SPDX-License-Identifier: BSD-3-Clause
#include "bench/member_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <tuple>

#include "bench/append_run.hpp"
#include "bench/paced_load.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/stage.hpp"
#include "bench/ticks.hpp"
#include "core/engine/config.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

// Of the ring; the rest is for what is appended while nothing can be trimmed, and for what the
// engine keeps free.
constexpr uint64_t kFilledSixteenths = 10;
constexpr uint64_t kHelloNs = 10'000'000'000;
constexpr uint64_t kChangeNs = 120'000'000'000;
constexpr uint64_t kAfterNs = 10'000'000;  // a change's after-effects are counted with it
constexpr uint64_t kDeliveryTimeoutMs = 60'000;
constexpr size_t kSamplesMax = 1u << 24;

class Run {
 public:
  Run(const MemberRunOptions& options, const std::function<void(const std::string&)>& progress)
      : progress_(progress),
        directory_(options.directory, "caisson-member"),
        quiet_(kSamplesMax),
        catching_up_(kSamplesMax) {
    result_.options = options;
  }

  Result<MemberRunResult> operator()() {
    Result<void> done = open();
    for (uint32_t round = 0; done && round < options().rounds; ++round) {
      progress_("catching up an empty replica: round " + std::to_string(round + 1) + " of " +
                std::to_string(options().rounds));
      done = catch_up();
    }
    for (uint32_t round = 0; done && round < options().changes; ++round) {
      progress_("changing members: round " + std::to_string(round + 1) + " of " +
                std::to_string(options().changes));
      done = come_and_go();
    }
    if (done) done = save();
    if (!done) return tl::unexpected(done.error());
    finish();
    return std::move(result_);
  }

 private:
  const MemberRunOptions& options() const { return result_.options; }
  uint64_t filled_bytes() const { return options().ring_bytes / 16 * kFilledSixteenths; }

  Result<void> open() {
    progress_("starting " + std::to_string(options().replicas + 1) + " replicas");
    if (const auto made = directory_.make(); !made) return made;
    StageOptions stage_options;
    stage_options.directory = directory_.path() / "cluster";
    stage_options.replicas = options().replicas;
    stage_options.spares = 1;
    stage_options.ring_bytes = options().ring_bytes;
    auto stage = Stage::open(stage_options);
    if (!stage) return tl::unexpected(stage.error());
    stage_ = std::move(*stage);
    spare_ = stage_->cluster().replicas.back().id;
    auto appender = stage_->log().appender();
    if (!appender) return tl::unexpected(appender.error());
    load_ = std::make_unique<PacedLoad>(
        PacedOptions{options().payload_bytes, options().appends_per_s, options().ring_bytes},
        stage_->engine(), stage_->log(), std::move(*appender));
    return {};
  }

  // Asks until it is taken; a replica that has just been started has yet to say hello.
  Result<uint64_t> ask(const MemberChange& change) {
    const uint64_t until = monotonic_ns() + kHelloNs;
    for (;;) {
      const uint64_t begun_ns = monotonic_ns();
      const Code code = stage_->log().change_members(change, 0);
      if (code == Code::ok || code == Code::timed_out) return monotonic_ns() - begun_ns;
      const bool patient = code == Code::not_found || code == Code::again;
      if (!patient || monotonic_ns() >= until) {
        return fail(code, "the change of members ended with '" + std::string(name(code)) + "'");
      }
      if (const auto passed = load_->run_for(1'000'000, nullptr, false); !passed) {
        return tl::unexpected(passed.error());
      }
    }
  }

  // The longest wait of an append from the request until `done` and a little longer, and as much
  // longer before: what the machine does to it without any change.
  Result<Change> change(const std::string& what, const MemberChange& asked, Samples* samples,
                        const std::function<bool(const Members&)>& done) {
    const auto before = load_->run_for(kAfterNs, nullptr, samples == nullptr);
    if (!before) return tl::unexpected(before.error());
    const auto call_ns = ask(asked);
    if (!call_ns) return tl::unexpected(call_ns.error());
    const uint64_t begun_ns = monotonic_ns() - *call_ns;
    const auto longest = load_->run_until([&] { return done(stage_->log().members()); }, kChangeNs,
                                          samples, samples == nullptr);
    if (!longest) return tl::unexpected(longest.error());
    const uint64_t took_ns = monotonic_ns() - begun_ns;
    const auto after = load_->run_for(kAfterNs, samples, samples == nullptr);
    if (!after) return tl::unexpected(after.error());
    return Change{what, took_ns, std::max({*longest, *after, *call_ns}), *before};
  }

  Result<void> dismiss() {
    MemberChange out;
    out.remove = just(spare_);
    const auto gone = change("remove", out, nullptr, [&](const Members& members) {
      return members.settled() && !members.voters.has(spare_);
    });
    if (!gone) return tl::unexpected(gone.error());
    return {};
  }

  Result<void> catch_up() {
    if (const auto renewed = stage_->renew(spare_); !renewed) return renewed;
    if (const auto filled = load_->fill(filled_bytes()); !filled) return filled;
    const auto delivered =
        stage_->await_delivery(stage_->log().marks().committed, kDeliveryTimeoutMs);
    if (!delivered) return tl::unexpected(delivered.error());
    const auto quiet_ns = static_cast<uint64_t>(options().seconds * 1e9);
    if (const auto quiet = load_->run_for(quiet_ns, &quiet_, true); !quiet) {
      return tl::unexpected(quiet.error());
    }
    MemberChange in;
    in.add = just(spare_);
    uint64_t bytes = 0;
    const auto joined = change("catch up", in, &catching_up_, [&](const Members& members) {
      if (!members.voters.has(spare_)) return false;
      bytes = load_->held_bytes();
      return true;
    });
    if (!joined) return tl::unexpected(joined.error());
    result_.catch_ups.push_back({bytes, joined->took_ns, joined->stall_ns});
    const auto settled = load_->run_until([&] { return stage_->log().members().settled(); },
                                          kChangeNs, nullptr, true);
    if (!settled) return tl::unexpected(settled.error());
    return dismiss();
  }

  Result<void> come_and_go() {
    MemberChange voter, learner, out;
    voter.add = learner.learn = out.remove = just(spare_);
    const auto in_set = [this](ReplicaSet Members::*set, bool in) {
      return [this, set, in](const Members& members) {
        return members.settled() && (members.*set).has(spare_) == in;
      };
    };
    const std::tuple<const char*, MemberChange, std::function<bool(const Members&)>> steps[] = {
        {"add voter", voter, in_set(&Members::voters, true)},
        {"remove voter", out, in_set(&Members::voters, false)},
        {"add learner", learner, in_set(&Members::learners, true)},
        {"remove learner", out, in_set(&Members::learners, false)}};
    for (const auto& [what, asked, done] : steps) {
      auto changed = change(what, asked, nullptr, done);
      if (!changed) return tl::unexpected(changed.error());
      result_.changes.push_back(std::move(*changed));
    }
    return {};
  }

  Result<void> save() {
    if (const auto made = tools::make_directories(options().samples); !made) return made;
    const auto saved = quiet_.save(options().samples / "member-quiet.u32");
    return saved ? catching_up_.save(options().samples / "member-catching-up.u32") : saved;
  }

  void finish() {
    result_.quiet = quiet_.percentiles();
    result_.catching_up = catching_up_.percentiles();
    result_.appended = load_->appended();
    result_.persistence = engine::name(stage_->cluster().persistence);
    result_.leader_core = stage_->leader_core();
  }

  const std::function<void(const std::string&)>& progress_;
  ScratchDirectory directory_;  // outlives what runs in it
  MemberRunResult result_;
  Samples quiet_;
  Samples catching_up_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<PacedLoad> load_;
  ReplicaId spare_;
};

Percentiles percentiles_over(const std::vector<Change>& changes, uint64_t Change::*span) {
  std::vector<uint64_t> spans;
  for (const Change& one : changes) spans.push_back(one.*span);
  return percentiles_of(std::move(spans));
}

nlohmann::ordered_json percentiles_object(const Percentiles& p) {
  return {{"p50_ns", p.p50_ns},   {"p90_ns", p.p90_ns}, {"p99_ns", p.p99_ns},
          {"p999_ns", p.p999_ns}, {"max_ns", p.max_ns}, {"samples", p.count}};
}

}  // namespace

double CatchUp::bytes_per_s() const {
  return took_ns > 0 ? static_cast<double>(bytes) / static_cast<double>(took_ns) * 1e9 : 0;
}

double MemberRunResult::ratio_p50() const {
  return quiet.p50_ns > 0 ? catching_up.p50_ns / quiet.p50_ns : 0;
}
double MemberRunResult::ratio_p99() const {
  return quiet.p99_ns > 0 ? catching_up.p99_ns / quiet.p99_ns : 0;
}
double MemberRunResult::bytes_per_s() const {
  std::vector<double> rates;
  for (const CatchUp& one : catch_ups) rates.push_back(one.bytes_per_s());
  std::sort(rates.begin(), rates.end());
  return rates.empty() ? 0 : rates[rates.size() / 2];
}
Percentiles MemberRunResult::stall() const { return percentiles_over(changes, &Change::stall_ns); }
Percentiles MemberRunResult::quiet_stall() const {
  return percentiles_over(changes, &Change::quiet_ns);
}

Result<MemberRunResult> run_member(const MemberRunOptions& options,
                                   const std::function<void(const std::string&)>& progress) {
  return Run(options, progress)();
}

nlohmann::ordered_json to_json(const MemberRunResult& result) {
  using Json = nlohmann::ordered_json;
  const MemberRunOptions& options = result.options;
  Json catch_ups = Json::array();
  for (const CatchUp& one : result.catch_ups) {
    catch_ups.push_back({{"bytes", one.bytes},
                         {"took_ns", one.took_ns},
                         {"bytes_per_s", one.bytes_per_s()},
                         {"longest_append_ns", one.longest_ns}});
  }
  Json changes = Json::array();
  for (const Change& one : result.changes) {
    changes.push_back({{"what", one.what},
                       {"took_ns", one.took_ns},
                       {"stall_ns", one.stall_ns},
                       {"quiet_ns", one.quiet_ns}});
  }
  return {{"ok", true},
          {"benchmark", "member"},
          {"size_bytes", options.payload_bytes},
          {"replicas", options.replicas},
          {"appends_per_s", options.appends_per_s},
          {"ring_bytes", options.ring_bytes},
          {"fabric", "shm"},
          {"persistence", result.persistence},
          {"cpu", processor_name()},
          {"leader_core", result.leader_core},
          {"quiet", percentiles_object(result.quiet)},
          {"catching_up", percentiles_object(result.catching_up)},
          {"ratio_p50", result.ratio_p50()},
          {"ratio_p99", result.ratio_p99()},
          {"catch_up_bytes_per_s", result.bytes_per_s()},
          {"catch_ups", std::move(catch_ups)},
          {"stall_p50_ns", result.stall().p50_ns},
          {"stall_max_ns", result.stall().max_ns},
          {"quiet_stall_p50_ns", result.quiet_stall().p50_ns},
          {"quiet_stall_max_ns", result.quiet_stall().max_ns},
          {"changes", std::move(changes)},
          {"appended", result.appended},
          {"what",
           "appends, one outstanding, each timed from when it was due; a memory "
           "that was destroyed is caught up from the leader's ring; then a voter and a learner "
           "come and go"},
          {"samples_path", options.samples.string()}};
}

}  // namespace caisson::bench
