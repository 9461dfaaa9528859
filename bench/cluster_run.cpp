// SPDX-License-Identifier: BSD-3-Clause
#include "bench/cluster_run.hpp"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include "bench/perftest.hpp"
#include "bench/scratch_directory.hpp"
#include "caisson/caisson.hpp"
#include "core/engine/certs.hpp"
#include "core/engine/config.hpp"
#include "tools/encoding.hpp"
#include "tools/files.hpp"

namespace caisson::bench {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using tools::BenchHost;
using tools::RemoteCommand;

constexpr seconds kShort{60};
constexpr seconds kReady{180};
constexpr seconds kStop{30};
constexpr milliseconds kLook{500};
constexpr uint64_t kSuspectAfterUs = 5'000'000;  // slices of the bare loop must not cost the term
constexpr uint32_t kPortsOfAHost = 2;            // links of the engine, questions of the leader

struct Point {
  uint64_t bytes;
  uint32_t batch;
  uint32_t inflight;
  std::string durability;
};

std::vector<Point> points_of(const ClusterRunOptions& options) {
  std::vector<Point> points;
  for (const std::string& durability : options.durabilities) {
    for (const uint64_t bytes : options.sizes) {
      for (const uint32_t batch : options.batches) {
        for (const uint32_t inflight : options.inflight) {
          if (batch <= inflight) points.push_back({bytes, batch, inflight, durability});
        }
      }
    }
  }
  return points;
}

std::string random_hex() {
  engine::ClusterUuid bytes{};
  (void)getrandom(bytes.data(), bytes.size(), 0);
  return engine::to_hex(bytes);
}

// One cluster, from its configurations to the last trace of it on the hosts.
class Cluster {
 public:
  Cluster(const ClusterRunOptions& options, uint32_t replicas, std::string numa, fs::path kept)
      : options_(options),
        hosts_(options.hosts),
        replicas_(replicas),
        numa_(std::move(numa)),
        kept_(std::move(kept)),
        local_(fs::temp_directory_path(), "caisson-bench-cluster"),
        secret_(random_hex()),
        name_("caisson-bench-" + random_hex().substr(0, 12)) {}
  ~Cluster() { end(); }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Result<void> prepare() {
    if (const auto made = local_.make(); !made) return made;
    if (const auto made = tools::make_directories(kept_); !made) return made;
    const auto uuid = engine::parse_cluster_uuid(random_hex());
    if (!uuid) return tl::unexpected(uuid.error());
    uuid_ = *uuid;
    if (const auto made = engine::make_authority(uuid_, authority()); !made) return made;
    for (uint32_t i = 0; i < replicas_; ++i) {
      if (const auto sent = send(i); !sent) return sent;
    }
    return {};
  }

  Result<void> start_followers() {
    for (uint32_t i = 1; i < replicas_; ++i) {
      std::string command = in_home(i) + program("bench-follow") + " --port " +
                            std::to_string(bench_port(i)) + " --scratch ";
      command +=
          host(i).scratch_device.empty() ? "scratch" : host(i).scratch_device + " --scratch-device";
      command += " >said 2>log";
      auto started = RemoteCommand::start(hosts_, host(i), command, errors(i));
      if (!started) return tl::unexpected(started.error());
      followers_.push_back(std::make_unique<RemoteCommand>(std::move(*started)));
    }
    for (uint32_t i = 1; i < replicas_; ++i) {
      if (const auto ready = await_ready(i); !ready) return ready;
    }
    return {};
  }

  // Every line that the leader printed.
  Result<std::vector<Json>> lead(const std::vector<Point>& points) {
    Json list = Json::array();
    for (const Point& point : points) {
      list.push_back({{"bytes", point.bytes},
                      {"batch", point.batch},
                      {"inflight", point.inflight},
                      {"durability", point.durability},
                      {"seconds", options_.seconds}});
    }
    Json followers = Json::array();
    for (uint32_t i = 1; i < replicas_; ++i) followers.push_back({host(i).address, bench_port(i)});
    const std::string command = in_home(0) + program("bench-lead") + " --samples . --numa " +
                                numa_ + " --points " + tools::shell_word(list.dump()) +
                                " --followers " + tools::shell_word(followers.dump()) + " 2>log";
    led_ = true;
    const auto said = tools::run_on(hosts_, host(0), command, patience() + kShort, errors(0));
    if (!said) return tl::unexpected(explained(said.error(), 0));
    led_ = false;
    const auto kept = tools::write_text(kept_ / "leader.jsonl", *said);
    if (!kept) return tl::unexpected(kept.error());
    std::vector<Json> lines;
    std::istringstream text(*said);
    for (std::string line; std::getline(text, line);) {
      Json each = Json::parse(line, nullptr, false);
      if (each.is_object()) lines.push_back(std::move(each));
    }
    return lines;
  }

  // The raw samples, as they lie on the leader's host.
  Result<void> fetch(size_t points) {
    for (size_t i = 0; i < points; ++i) {
      const std::string file = "point-" + std::to_string(i) + ".u32";
      const auto text =
          tools::run_on(hosts_, host(0), "base64 -w 0 " + home(0) + "/" + file, kShort, errors(0));
      if (!text) return tl::unexpected(text.error());
      const auto bytes = tools::from_base64(*text);
      if (!bytes) return tl::unexpected(bytes.error());
      std::ofstream out(kept_ / file, std::ios::binary);
      out.write(reinterpret_cast<const char*>(bytes->data()),
                static_cast<std::streamsize>(bytes->size()));
      if (!out.flush())
        return fail(Code::io, "'" + (kept_ / file).string() + "' cannot be written");
    }
    return {};
  }

  // Ends the followers, and takes away what was made. What fails here leaves a directory behind
  // whose name is never used again.
  void end() {
    const auto stop = [&](uint32_t i) {
      (void)tools::run_on(hosts_, host(i), "kill -TERM $(cat " + home(i) + "/pid) 2>/dev/null",
                          kShort, errors(i));
    };
    if (led_) stop(0);
    for (uint32_t i = 0; i < followers_.size(); ++i) stop(i + 1);
    for (uint32_t i = 0; i < followers_.size(); ++i) {
      // It may have begun after it was told to end.
      if (!followers_[i]->wait(kStop)) stop(i + 1);
    }
    followers_.clear();
    for (; sent_ > 0; --sent_) {
      (void)tools::run_on(hosts_, host(sent_ - 1), "rm -rf " + home(sent_ - 1), kShort,
                          errors(sent_ - 1));
    }
  }

 private:
  const BenchHost& host(uint32_t i) const { return hosts_.hosts[i]; }
  std::string home(uint32_t i) const {
    return hosts_.directory + "/" + name_ + "-" + std::to_string(i + 1);
  }
  // Hosts may be one machine.
  uint16_t link_port(uint32_t i) const {
    return static_cast<uint16_t>(hosts_.port + i * kPortsOfAHost);
  }
  uint16_t bench_port(uint32_t i) const { return static_cast<uint16_t>(link_port(i) + 1); }
  fs::path errors(uint32_t i) const { return kept_ / ("host-" + std::to_string(i + 1) + ".log"); }
  engine::KeyPairFiles authority() const {
    return {local_.path() / "authority.crt", local_.path() / "authority.key"};
  }
  // Nothing that is started on a host outlives the benchmark for long, whatever becomes of us.
  seconds patience() const {
    const auto points = static_cast<double>(points_of(options_).size());
    return kReady + seconds(static_cast<int64_t>(points * (2 * options_.seconds + 20)));
  }
  std::string in_home(uint32_t i) const {
    return "cd " + home(i) + " && echo $$ >pid && exec timeout -k 10 " +
           std::to_string(2 * patience().count()) + " ";
  }
  std::string program(const std::string& command) const {
    return tools::shell_word(hosts_.program) + " " + command + " --config node.toml --secret " +
           secret_;
  }

  EngineOptions node_options(uint32_t i) const {
    EngineOptions node;
    node.cluster = uuid_;
    node.replica = ReplicaId{static_cast<uint8_t>(i + 1)};
    node.directory = "data";
    node.listen_host = hosts_.fabric == FabricKind::shm ? "127.0.0.1" : "0.0.0.0";
    node.listen_port = link_port(i);
    node.fabric = hosts_.fabric;
    node.persistence = hosts_.persistence;
    node.verbs = hosts_.verbs;
    if (node.fabric == FabricKind::verbs) node.verbs.address = host(i).address;
    node.round_trip_us = hosts_.round_trip_us;
    node.suspect_after_us = kSuspectAfterUs;
    node.link_hint_us = kSuspectAfterUs / 2;
    node.cross_numa = true;  // that is what is measured
    node.tls = {true, "authority.crt", "node.crt", "node.key"};
    for (uint32_t peer = 0; peer < replicas_; ++peer) {
      PeerOptions each;
      each.id = ReplicaId{static_cast<uint8_t>(peer + 1)};
      each.host = host(peer).address;
      each.port = link_port(peer);
      if (node.fabric == FabricKind::shm) each.directory = home(peer) + "/data";
      node.peers.push_back(each);
    }
    LogOptions log;
    log.name = "bench";
    log.id = 1;
    log.ring_bytes = options_.ring_bytes;
    log.salvage_bytes = std::min<uint64_t>(options_.ring_bytes, 16ull << 20);
    log.device = host(i).device;
    node.logs.push_back(log);
    return node;
  }

  // Configuration and certificate of a host, as words of a command: a launcher need not have a
  // standard input.
  Result<void> send(uint32_t i) {
    const fs::path mine = local_.path() / std::to_string(i + 1);
    if (const auto made = tools::make_directories(mine); !made) return made;
    const EngineOptions node = node_options(i);
    const auto issued =
        engine::issue_certificate(authority(), engine::Identity::of_node(uuid_, node.replica),
                                  {mine / "node.crt", mine / "node.key"});
    if (!issued) return issued;
    std::string command =
        "umask 077 && mkdir " + home(i) + " " + home(i) + "/data && cd " + home(i);
    const auto add = [&](const std::string& name, const std::string& text) {
      command += " && printf %s " + tools::to_base64(std::as_bytes(std::span(text))) +
                 " | base64 -d >" + name;
    };
    const std::string configuration = engine::to_toml(node);
    const auto kept =
        tools::write_text(kept_ / ("node-" + std::to_string(i + 1) + ".toml"), configuration);
    if (!kept) return kept;
    add("node.toml", configuration);
    for (const auto& [name, from] :
         {std::pair<std::string, fs::path>{"authority.crt", authority().certificate},
          {"node.crt", mine / "node.crt"},
          {"node.key", mine / "node.key"}}) {
      const auto text = tools::read_text(from);
      if (!text) return tl::unexpected(text.error());
      add(name, *text);
    }
    sent_ = i + 1;
    const auto done = tools::run_on(hosts_, host(i), command, kShort, errors(i));
    return done ? Result<void>{} : tl::unexpected(done.error());
  }

  Result<void> await_ready(uint32_t i) {
    const auto until = std::chrono::steady_clock::now() + kReady;
    do {
      const auto said = tools::run_on(hosts_, host(i), "cat " + home(i) + "/said 2>/dev/null; true",
                                      kShort, errors(i));
      if (!said) return tl::unexpected(said.error());
      const Json word = Json::parse(*said, nullptr, false);
      if (word.is_object() && word.value("ready", false)) return {};
      if (word.is_object()) {
        return tl::unexpected(explained(Error{Code::io, word.dump()}, i));
      }
      std::this_thread::sleep_for(kLook);
    } while (std::chrono::steady_clock::now() < until);
    return tl::unexpected(explained(
        Error{Code::timed_out,
              host(i).name + " was not ready within " + std::to_string(kReady.count()) + " s"},
        i));
  }

  // With the last words of the process there.
  Error explained(Error error, uint32_t i) const {
    const auto log =
        tools::run_on(hosts_, host(i), "tail -c 2000 " + home(i) + "/log", kShort, errors(i));
    error.message += log && !log->empty() ? "; " + host(i).name + " says: " + *log : "";
    return error;
  }

  const ClusterRunOptions& options_;
  const tools::HostsFile& hosts_;
  const uint32_t replicas_;
  const std::string numa_;
  const fs::path kept_;
  ScratchDirectory local_;
  const std::string secret_;
  const std::string name_;
  engine::ClusterUuid uuid_{};
  uint32_t sent_ = 0;  // hosts that have a directory
  bool led_ = false;   // the leader may still run
  std::vector<std::unique_ptr<RemoteCommand>> followers_;
};

class Run {
 public:
  Run(const ClusterRunOptions& options, const std::function<void(const std::string&)>& progress)
      : options_(options), progress_(progress) {}

  Result<Json> operator()() {
    if (const auto made = tools::make_directories(options_.out); !made) {
      return tl::unexpected(made.error());
    }
    begin();
    std::vector<uint32_t> counts = options_.replicas;
    if (counts.empty()) counts = {static_cast<uint32_t>(options_.hosts.hosts.size())};
    for (const uint32_t replicas : counts) {
      if (options_.perftest && replicas > 1) measure_floor(replicas);
      for (const std::string& numa : options_.numa) {
        if (const auto measured = measure(replicas, numa); !measured) {
          return tl::unexpected(measured.error());
        }
      }
    }
    const auto written =
        tools::write_text(options_.out / "result.json",
                          result_.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    if (!written) return tl::unexpected(written.error());
    return std::move(result_);
  }

 private:
  void begin() {
    Json hosts = Json::array();
    for (const BenchHost& host : options_.hosts.hosts) {
      hosts.push_back({{"name", host.name}, {"address", host.address}, {"device", host.device}});
    }
    result_ = {{"ok", true},
               {"benchmark", "cluster"},
               {"version", std::string(version())},
               {"hosts", hosts},
               {"launcher", options_.hosts.launcher},
               {"fabric", engine::name(options_.hosts.fabric)},
               {"persistence", engine::name(options_.hosts.persistence)},
               {"ring_bytes", options_.ring_bytes},
               {"seconds", options_.seconds},
               {"leaders", Json::array()},
               {"perftest", Json::array()},
               {"points", Json::array()},
               {"samples_path", options_.out.string()}};
  }

  // What the same adapters carry with no log at all. Where it cannot be told, it is said why.
  void measure_floor(uint32_t replicas) {
    for (const uint64_t bytes : options_.sizes) {
      progress_("ib_write_bw and ib_write_lat of " + std::to_string(bytes) + " bytes, " +
                std::to_string(replicas) + " replicas");
      result_["perftest"].push_back(run_perftest(options_.hosts, replicas, bytes, options_.out));
    }
  }

  Result<void> measure(uint32_t replicas, const std::string& numa) {
    const std::vector<Point> points = points_of(options_);
    const std::string what = std::to_string(replicas) + " replicas, NUMA node " + numa;
    progress_(what + ": starting");
    Cluster cluster(options_, replicas, numa,
                    options_.out / ("replicas-" + std::to_string(replicas) + "-" + numa));
    if (const auto prepared = cluster.prepare(); !prepared) return prepared;
    if (const auto started = cluster.start_followers(); !started) return started;
    progress_(what + ": " + std::to_string(points.size()) + " points of " +
              std::to_string(static_cast<int>(options_.seconds)) + " s");
    const auto lines = cluster.lead(points);
    if (!lines) return tl::unexpected(lines.error());
    progress_(what + ": fetching samples");
    if (const auto fetched = cluster.fetch(points.size()); !fetched) return fetched;
    return take(replicas, numa, points, *lines);
  }

  Result<void> take(uint32_t replicas, const std::string& numa, const std::vector<Point>& points,
                    const std::vector<Json>& lines) {
    Json leader{{"replicas", replicas}, {"numa", numa}};
    size_t taken = 0;
    for (const Json& line : lines) {
      if (!line.contains("point")) {
        leader.update(line);
        continue;
      }
      const Point& point = points.at(line["point"].get<size_t>());
      Json entry{{"replicas", replicas},       {"numa", numa},
                 {"bytes", point.bytes},       {"batch", point.batch},
                 {"inflight", point.inflight}, {"durability", point.durability}};
      entry.update(line);
      add_ratios(entry);
      result_["points"].push_back(entry);
      ++taken;
    }
    result_["leaders"].push_back(leader);
    if (taken == points.size()) return {};
    return fail(Code::internal, "the leader measured " + std::to_string(taken) + " of " +
                                    std::to_string(points.size()) + " points");
  }

  // Against the bare loop of the same process, and against ib_write_bw from the same machine.
  void add_ratios(Json& entry) const {
    const double per_s = entry["caisson"].value("per_s", 0.0);
    const auto bytes = static_cast<double>(entry.value("bytes", uint64_t{0}));
    const double followers = entry.value("replicas", 1.0) - 1;
    entry["goodput_bytes_per_s"] = per_s * bytes;
    entry["wire_bytes_per_s"] = per_s * bytes * followers;
    if (entry.contains("bare")) {
      entry["ratio_p50"] =
          entry["caisson"].value("p50_ns", 0.0) / entry["bare"].value("p50_ns", 1.0);
      entry["ratio_p99"] =
          entry["caisson"].value("p99_ns", 0.0) / entry["bare"].value("p99_ns", 1.0);
      entry["ratio_rate"] = per_s / entry["bare"].value("per_s", 1.0);
    }
    for (const Json& floor : result_["perftest"]) {
      if (floor["replicas"] != entry["replicas"] || floor["bytes"] != entry["bytes"]) continue;
      const double line = floor.value("bw_bytes_per_s", 0.0);
      if (line > 0) entry["ratio_line"] = per_s * bytes * followers / line;
    }
  }

  const ClusterRunOptions& options_;
  const std::function<void(const std::string&)>& progress_;
  Json result_;
};

}  // namespace

Result<ClusterRunResult> run_cluster(const ClusterRunOptions& options,
                                     const std::function<void(const std::string&)>& progress) {
  try {
    return Run(options, progress)();
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::io, std::string("a host printed what makes no sense: ") + error.what());
  }
}

}  // namespace caisson::bench
