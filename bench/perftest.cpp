// SPDX-License-Identifier: BSD-3-Clause
#include "bench/perftest.hpp"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "transport/verbs/queue_pair.hpp"

namespace caisson::bench {

namespace {

using Json = nlohmann::ordered_json;
using std::chrono::seconds;
using tools::BenchHost;
using tools::HostsFile;
using tools::RemoteCommand;

constexpr seconds kPatience{180};
constexpr int kRounds = 2000;
constexpr int kAttempts = 4;
constexpr int kPerftestPatience = 14;  // unless it is told
constexpr int kPort = 18'600;
constexpr double kBytesOfGbit = 1e9 / 8;

// Whoever has not found out how fast its clock is reports nothing, or what divides by it.
bool measured(double value) { return std::isfinite(value) && value > 0; }

// Its reports are almost JSON: some versions leave commas out, or too many in.
std::optional<double> number_in(const std::string& report, const std::string& name) {
  const std::string key = '"' + name + "\":";
  const size_t at = report.rfind(key);
  if (at == std::string::npos) return std::nullopt;
  char* end = nullptr;
  const char* const text = report.c_str() + at + key.size();
  const double value = std::strtod(text, &end);
  return end == text ? std::nullopt : std::optional<double>(value);
}

class Pair {
 public:
  Pair(const HostsFile& hosts, size_t to, std::string words, const std::filesystem::path& kept)
      : hosts_(hosts), to_(to), words_(std::move(words)), errors_(kept / "perftest.log") {}

  Result<void> start() {
    const std::string port = " -p " + std::to_string(kPort + static_cast<int>(to_));
    const std::string limit = "timeout " + std::to_string(kPatience.count()) + " ";
    auto server =
        RemoteCommand::start(hosts_, host(to_), limit + words_ + port + " >/dev/null", errors_);
    if (!server) return tl::unexpected(server.error());
    server_ = std::make_unique<RemoteCommand>(std::move(*server));
    // The server may not listen yet.
    const std::string report = hosts_.directory + "/caisson-perftest-" + std::to_string(to_);
    const std::string client =
        limit + words_ + port + " --out_json --out_json_file=" + report + " " + host(to_).address;
    auto started = RemoteCommand::start(
        hosts_, host(0),
        "rm -f " + report + "; for i in $(seq 20); do sleep 2; if " + client + " >&2; then cat " +
            report + "; rm -f " + report + "; exit 0; fi; done; exit 1",
        errors_);
    if (!started) return tl::unexpected(started.error());
    client_ = std::make_unique<RemoteCommand>(std::move(*started));
    return {};
  }
  Result<std::string> report() {
    auto said = client_->wait(kPatience);
    (void)server_->wait(seconds(5));
    return said;
  }

 private:
  const BenchHost& host(size_t i) const { return hosts_.hosts[i]; }

  const HostsFile& hosts_;
  const size_t to_;
  const std::string words_;
  const std::filesystem::path errors_;
  std::unique_ptr<RemoteCommand> server_;
  std::unique_ptr<RemoteCommand> client_;
};

// As patient as the engine where a network is slow: rather than send it all again.
std::string patience_of(const HostsFile& hosts) {
  const int engine = transport::verbs::patience_of(hosts.round_trip_us * 1000).ack_timeout;
  return engine > kPerftestPatience ? " -u " + std::to_string(engine) : "";
}

// To each of them at the same time. 0: one of them measured nothing.
Result<double> bandwidth_once(const HostsFile& hosts, uint32_t replicas, const std::string& size,
                              const std::filesystem::path& kept) {
  std::string words = "ib_write_bw -R -F --report_gbits" + patience_of(hosts) + size;
  for (const std::string& word : hosts.bandwidth) words += ' ' + tools::shell_word(word);
  std::vector<std::unique_ptr<Pair>> pairs;
  for (uint32_t i = 1; i < replicas; ++i) {
    pairs.push_back(std::make_unique<Pair>(hosts, i, words, kept));
    if (const auto started = pairs.back()->start(); !started) {
      return tl::unexpected(started.error());
    }
  }
  double sum = 0;
  bool all = true;
  for (const auto& pair : pairs) {
    const auto report = pair->report();
    if (!report) return tl::unexpected(report.error());
    const auto gbit = number_in(*report, "BW_average");
    if (!gbit) return fail(Code::io, "ib_write_bw reports no BW_average: " + *report);
    sum += *gbit * kBytesOfGbit;
    all = all && measured(*gbit);
  }
  return all ? sum : 0;
}

Result<double> bandwidth(const HostsFile& hosts, uint32_t replicas, const std::string& size,
                         const std::filesystem::path& kept) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto found = bandwidth_once(hosts, replicas, size, kept);
    if (!found || *found > 0) return found;
  }
  return fail(Code::io, "ib_write_bw reports no bandwidth, however often it is asked");
}

// Null: it measured nothing.
Result<Json> latency_once(const HostsFile& hosts, const std::string& size,
                          const std::filesystem::path& kept) {
  Pair pair(hosts, 1,
            "ib_write_lat -R -F" + patience_of(hosts) + " -n " + std::to_string(kRounds) + size,
            kept);
  if (const auto started = pair.start(); !started) return tl::unexpected(started.error());
  const auto report = pair.report();
  if (!report) return tl::unexpected(report.error());
  Json found;
  for (const auto& [name, key] : {std::pair{"typical_ns", "t_typical"},
                                  {"min_ns", "t_min"},
                                  {"p99_ns", "percentile_99"},
                                  {"p999_ns", "percentile_99.9"}}) {
    const auto us = number_in(*report, key);
    if (!us) return fail(Code::io, std::string("ib_write_lat reports no ") + key + ": " + *report);
    if (!measured(*us)) return Json();
    found[name] = *us * 1000;
  }
  return found;
}

Result<Json> latency(const HostsFile& hosts, const std::string& size,
                     const std::filesystem::path& kept) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto found = latency_once(hosts, size, kept);
    if (!found || !found->is_null()) return found;
  }
  return fail(Code::io, "ib_write_lat reports no latency, however often it is asked");
}

}  // namespace

Json run_perftest(const HostsFile& hosts, uint32_t replicas, uint64_t bytes,
                  const std::filesystem::path& kept) {
  Json result{{"replicas", replicas}, {"bytes", bytes}};
  if (hosts.fabric != FabricKind::verbs) {
    result["why_not"] = "these hosts are joined by shared memory";
    return result;
  }
  const std::string size = " -s " + std::to_string(bytes);
  const auto bw = bandwidth(hosts, replicas, size, kept);
  if (!bw) {
    result["why_not"] = bw.error().message;
    return result;
  }
  result["bw_bytes_per_s"] = *bw;
  const auto lat = latency(hosts, size, kept);
  if (lat) {
    result["lat"] = *lat;
  } else {
    result["why_not"] = lat.error().message;
  }
  return result;
}

}  // namespace caisson::bench
