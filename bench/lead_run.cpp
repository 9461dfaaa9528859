// SPDX-License-Identifier: BSD-3-Clause
#include "bench/lead_run.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/append_load.hpp"
#include "bench/append_run.hpp"
#include "bench/bench_link.hpp"
#include "bench/stage.hpp"
#include "bench/ticks.hpp"
#include "caisson/caisson.hpp"
#include "core/engine/verbs_ground.hpp"
#include "tools/command.hpp"
#include "tools/encoding.hpp"
#include "tools/options.hpp"
#include "transport/verbs/bare_loop.hpp"

namespace caisson::bench {

namespace {

using nlohmann::json;
namespace verbs = transport::verbs;

constexpr uint64_t kLeadPatienceNs = 120'000'000'000;
constexpr uint64_t kSettleNs = 500'000'000;
constexpr uint64_t kFirstAppendNs = 60'000'000'000;
constexpr uint64_t kWarmUpNs = 200'000'000;
constexpr uint64_t kWarmUpSliceNs = 2'000'000;
constexpr uint64_t kSliceNs = 100'000'000;
constexpr uint64_t kSliceMaxNs = 3'000'000'000;
constexpr uint64_t kBareSliceMaxNs = 1'000'000'000;  // nobody turns the engine meanwhile
constexpr int kSliceTrials = 3;
constexpr uint64_t kSliceRounds = 10;
constexpr size_t kSamplesMax = size_t{1} << 18;
constexpr uint64_t kPauseMs = 1'000;
constexpr uint64_t kPauseLeadNs = 400'000'000;  // from the answer until it is surely stopped
constexpr uint64_t kHeaderBytes = 64;           // of an entry: the bare loop moves them, too

struct Point {
  uint64_t bytes = 0;
  uint32_t batch = 1;
  uint32_t inflight = 1;
  std::string durability;
  double seconds = 1;
};

struct Follower {
  std::string host;
  uint16_t port = 0;
};

uint64_t entry_bytes(uint64_t payload) { return (payload + kHeaderBytes + 63) / 64 * 64; }

json summary(const Samples& samples) {
  const Percentiles p = samples.percentiles();
  json quantiles = json::array();
  for (int i = 0; i <= 200; ++i) quantiles.push_back(samples.quantile_ns(i / 200.0));
  return {{"p50_ns", p.p50_ns},   {"p90_ns", p.p90_ns},       {"p99_ns", p.p99_ns},
          {"p999_ns", p.p999_ns}, {"max_ns", p.max_ns},       {"min_ns", p.min_ns},
          {"samples", p.count},   {"quantiles_ns", quantiles}};
}

class Lead {
 public:
  explicit Lead(const HostOptions& host) : host_(host) {}

  Result<void> operator()() {
    Result<void> done = read_what_to_do();
    if (done) done = open();
    if (done) done = connect_bare();
    if (done) done = lead();
    for (size_t i = 0; done && i < points_.size(); ++i) done = measure(i);
    if (done) done = pause_followers();
    bare_.reset();
    if (engine_ != nullptr) engine_->close();
    engine_.reset();
    const auto gone = made_ ? unmake_replica(options_) : Result<void>{};
    return done ? gone : done;
  }

 private:
  Result<void> read_what_to_do() {
    try {
      for (const json& each : json::parse(host_.points)) {
        points_.push_back({each.at("bytes").get<uint64_t>(), each.at("batch").get<uint32_t>(),
                           each.at("inflight").get<uint32_t>(),
                           each.at("durability").get<std::string>(),
                           each.at("seconds").get<double>()});
      }
      for (const json& each : json::parse(host_.followers)) {
        followers_.push_back({each.at(0).get<std::string>(), each.at(1).get<uint16_t>()});
      }
    } catch (const json::exception& error) {
      return fail(Code::invalid, std::string("--points or --followers: ") + error.what());
    }
    return {};
  }

  // On a core of the adapter's node, or of another one; the engine's own threads anywhere else.
  Result<void> take_seat() {
    auto topology = engine::Topology::load();
    if (!topology) return tl::unexpected(topology.error());
    engine::AdapterSite site;
    if (options_.fabric == FabricKind::verbs) {
      const auto found = engine::verbs_site(options_, **topology);
      if (!found) return tl::unexpected(found.error());
      site = *found;
    }
    auto cores = (*topology)->cores(site.numa_node);
    if (host_.numa == "far") {
      std::stable_partition(cores.begin(), cores.end(), [&](const engine::PollerSeat& seat) {
        return seat.numa_node != site.numa_node;
      });
      if (site.numa_node < 0 || cores.front().numa_node == site.numa_node) {
        return fail(Code::unsupported,
                    site.numa_node < 0
                        ? "nobody knows on which NUMA node the adapter is: --numa any"
                        : "there is no core on another NUMA node than the adapter's");
      }
    }
    if (host_.numa == "near" && (site.numa_node < 0 || cores.front().numa_node != site.numa_node)) {
      return fail(Code::unsupported, "nobody knows a core on the adapter's NUMA node: --numa any");
    }
    std::vector<int> others;
    for (size_t i = 1; i < cores.size(); ++i) others.push_back(cores[i].core);
    if (!others.empty()) pin_this_thread(others);
    seat_ = cores.front();
    tools::print_json({{"cores", cores.size()},
                       {"core", seat_.core},
                       {"core_numa_node", seat_.numa_node},
                       {"adapter", site.name},
                       {"adapter_numa_node", site.numa_node},
                       {"cpu", processor_name()}});
    return {};
  }

  Result<void> open() {
    auto options = make_replica(host_.configuration);
    if (!options) return tl::unexpected(options.error());
    options_ = std::move(*options);
    made_ = true;
    options_.inline_poller = true;
    options_.idle = Idle::busy;
    if (const auto seated = take_seat(); !seated) return seated;
    auto engine = Engine::open(options_);
    if (!engine) return tl::unexpected(engine.error());
    engine_ = std::move(*engine);
    pin_this_thread({seat_.core});
    const auto log = engine_->open_log(options_.logs.front().name);
    if (!log) return tl::unexpected(log.error());
    log_ = *log;
    return {};
  }

  Result<void> connect_bare() {
    if (options_.fabric != FabricKind::verbs || followers_.empty()) return {};
    auto device = verbs::Device::open(engine::device_options(options_.verbs));
    if (!device) return tl::unexpected(device.error());
    auto loop = verbs::BareLoop::open(std::move(*device),
                                      verbs::patience_of(options_.round_trip_us * 1000));
    if (!loop) return tl::unexpected(loop.error());
    bare_ = std::move(*loop);
    for (const Follower& follower : followers_) {
      const auto offer = bare_->offer();
      if (!offer) return tl::unexpected(offer.error());
      const auto answer =
          ask(follower.host, follower.port,
              {{"ask", "connect"}, {"half", tools::to_base64(encode(*offer))}}, host_.secret);
      if (!answer) return tl::unexpected(answer.error());
      const auto told = answer->find("half");
      const auto bytes = tools::from_base64(
          told != answer->end() && told->is_string() ? told->get<std::string>() : "");
      if (!bytes) return tl::unexpected(bytes.error());
      const auto half = verbs::decode_bare_half(*bytes);
      if (!half) return tl::unexpected(half.error());
      if (const auto connected = bare_->connect(*half); !connected) return connected;
    }
    return {};
  }

  Result<std::unique_ptr<Appender>> appender() {
    auto made = log_->appender();
    if (!made) return tl::unexpected(made.error());
    return std::move(*made);
  }

  Result<void> lead() {
    const uint64_t until = monotonic_ns() + kLeadPatienceNs;
    uint64_t since = 0;
    while (monotonic_ns() < until) {
      engine_->poll();
      const Leadership now = log_->leadership();
      if (!now.is_self) since = 0;
      if (now.is_self && since == 0) since = monotonic_ns();
      if (since == 0 || monotonic_ns() - since < kSettleNs) continue;
      return first_append();
    }
    return fail(Code::no_quorum, "this host was not elected within 120 s: see the followers' logs");
  }

  // Everybody has it: everybody takes part.
  Result<void> first_append() {
    auto made = appender();
    if (!made) return tl::unexpected(made.error());
    AppendOptions all;
    all.durability = Durability::all;
    all.timeout_ns = kFirstAppendNs;
    const Completion first = (*made)->append(std::as_bytes(std::span("first", 5)), all);
    if (first.code == Code::ok) return {};
    return fail(first.code, "the first append was not persisted by every replica");
  }

  // Each slice ends when all of it is acknowledged: on a slow machine it must last.
  Result<uint64_t> slice_for(Load& load, const Point& point) {
    uint64_t full_ns = kSliceMaxNs;
    for (int i = 0; i < kSliceTrials; ++i) {
      const uint64_t began = monotonic_ns();
      if (const auto ran = load.run_count(point.inflight, nullptr); !ran) {
        return tl::unexpected(ran.error());
      }
      full_ns = std::min(full_ns, monotonic_ns() - began);
    }
    return std::clamp(kSliceRounds * full_ns, kSliceNs, kSliceMaxNs);
  }

  Result<void> measure(size_t index) {
    const Point& point = points_[index];
    const auto durability = tools::parse_durability(point.durability);
    if (!durability) return tl::unexpected(durability.error());
    auto made = appender();
    if (!made) return tl::unexpected(made.error());
    Load load(
        {point.bytes, point.inflight, point.batch, *durability, options_.logs.front().ring_bytes},
        *engine_, *log_, std::move(*made));
    if (const auto warm = load.run_for(kWarmUpNs, nullptr); !warm) return warm;
    const auto slice = slice_for(load, point);
    if (!slice) return tl::unexpected(slice.error());
    Samples samples(kSamplesMax), bare(kSamplesMax);
    const uint64_t until = monotonic_ns() + static_cast<uint64_t>(point.seconds * 1e9);
    uint64_t appends = 0, ticks = 0, operations = 0, bare_ns = 0;
    // The engine's own quorum, without the leader itself.
    const auto needed = static_cast<uint32_t>(
        point.durability == "all" ? followers_.size() : (followers_.size() + 1) / 2);
    do {
      if (const auto warm = load.run_for(kWarmUpSliceNs, nullptr); !warm) return warm;
      const uint64_t appended = load.appended(), spent = load.ticks_spent();
      if (const auto ran = load.run_for(*slice, &samples); !ran) return ran;
      appends += load.appended() - appended;
      ticks += load.ticks_spent() - spent;
      if (bare_ == nullptr) continue;
      const uint64_t began = monotonic_ns();
      const auto ran = bare_->run(
          entry_bytes(point.bytes) * point.batch, std::max(1u, point.inflight / point.batch),
          needed, std::min(*slice / 2, kBareSliceMaxNs), [&](uint64_t taken) { bare.add(taken); });
      if (!ran) return tl::unexpected(ran.error());
      operations += *ran * point.batch;
      bare_ns += monotonic_ns() - began;
      engine_->poll();
    } while (monotonic_ns() < until);
    const double seconds = static_cast<double>(ticks) / ticks_per_ns() * 1e-9;
    json line{{"point", index}, {"term", load.term().value}, {"stalls", load.stalls()}};
    line["caisson"] = summary(samples);
    line["caisson"]["per_s"] = static_cast<double>(appends) / seconds;
    if (bare_ != nullptr) {
      line["bare"] = summary(bare);
      line["bare"]["persists_by"] = bare_->flushes() ? "flush" : "read";
      line["bare"]["per_s"] = static_cast<double>(operations) * 1e9 / static_cast<double>(bare_ns);
    }
    const std::string file = host_.samples + "/point-" + std::to_string(index) + ".u32";
    if (const auto saved = samples.save(file); !saved) return saved;
    line["ticks_per_ns"] = ticks_per_ns();
    tools::print_json(line);
    return tools::finish_output();
  }

  // What is acknowledged while every follower's process is stopped, nobody's processor had a part
  // in but this one's, and the adapters'.
  Result<void> pause_followers() {
    if (options_.fabric != FabricKind::verbs || followers_.empty()) return {};
    auto made = appender();
    if (!made) return tl::unexpected(made.error());
    Load load({64, 1, 1, Durability::persisted, options_.logs.front().ring_bytes}, *engine_, *log_,
              std::move(*made));
    for (const Follower& follower : followers_) {
      const auto paused =
          ask(follower.host, follower.port, {{"ask", "pause"}, {"ms", kPauseMs}}, host_.secret);
      if (!paused) return tl::unexpected(paused.error());
    }
    const uint64_t stopped = monotonic_ns() + kPauseLeadNs;
    while (monotonic_ns() < stopped) engine_->poll();
    // A follower that has to flush by itself acknowledges nothing now.
    const json status = json::parse(log_->status_json());
    uint64_t appends = 0;
    if (status.value("persists_by", "") != "target_flush") {
      const uint64_t began = monotonic_ns();
      const auto ran = load.run_for(kPauseMs * 1'000'000 / 3, nullptr);
      if (!ran) return ran;
      appends = load.appended();
      // The last one may have waited for them to wake up.
      if (monotonic_ns() - began > kPauseMs * 1'000'000 / 2 && appends > 0) --appends;
    }
    tools::print_json({{"acknowledged_while_stopped", appends},
                       {"persists_by", status.value("persists_by", "")},
                       {"persistence", status.value("persistence", "")}});
    // They go on: who ends now would leave them behind.
    const uint64_t awake = monotonic_ns() + 2 * kPauseMs * 1'000'000;
    while (monotonic_ns() < awake) engine_->poll();
    return tools::finish_output();
  }

  const HostOptions& host_;
  std::vector<Point> points_;
  std::vector<Follower> followers_;
  EngineOptions options_;
  bool made_ = false;
  engine::PollerSeat seat_;
  std::unique_ptr<Engine> engine_;
  Log* log_ = nullptr;
  std::unique_ptr<verbs::BareLoop> bare_;
};

}  // namespace

int run_lead(const HostOptions& options) {
  const auto done = Lead(options)();
  return done ? 0 : static_cast<int>(tools::report(done.error(), true));
}

}  // namespace caisson::bench
