// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <fstream>

#include "bench/append_run.hpp"

namespace caisson::bench {

namespace {

using Json = nlohmann::ordered_json;

double ratio(double value, double base) { return base > 0 ? value / base : 0; }

double variant_goodput(const FloorVariant& variant, uint64_t payload_bytes) {
  return variant.entries_per_s() * static_cast<double>(payload_bytes);
}

Json optional_number(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json floor_object(const AppendRunResult& result) {
  const FloorVariant& latency = result.floor[result.floor_latency];
  const FloorVariant& rate = result.floor[result.floor_rate];
  Json variants = Json::array();
  for (const FloorVariant& variant : result.floor) {
    const Percentiles p = variant.samples.percentiles();
    variants.push_back({{"name", variant.name},
                        {"p50_ns", p.p50_ns},
                        {"p99_ns", p.p99_ns},
                        {"p999_ns", p.p999_ns},
                        {"max_ns", p.max_ns},
                        {"appends_per_s", variant.entries_per_s()},
                        {"bytes_per_s", variant_goodput(variant, result.options.payload_bytes)},
                        {"samples", p.count}});
  }
  const Percentiles p = latency.samples.percentiles();
  return {
      {"p50_ns", p.p50_ns},
      {"p99_ns", p.p99_ns},
      {"bytes_per_s", variant_goodput(rate, result.options.payload_bytes)},
      {"appends_per_s", rate.entries_per_s()},
      {"what", "payload and 64 bytes of header, rounded to 64, stored into " +
                   std::to_string(result.options.replicas) + " mapped files of " +
                   std::to_string(result.options.ring_bytes) + " bytes, " +
                   std::to_string(result.options.inflight) +
                   " entries and one store fence an operation; p50 and p99 of the variant with the "
                   "lowest median (" +
                   latency.name + "), rates of the fastest (" + rate.name + ")"},
      {"latency_variant", latency.name},
      {"rate_variant", rate.name},
      {"variants", variants}};
}

Json follower_detail(const AppendRunResult& result) {
  const auto acknowledged =
      static_cast<double>(std::max<uint64_t>(result.acknowledged_while_stopped, 1));
  return {{"acknowledged_while_stopped", result.acknowledged_while_stopped},
          {"cpu_seconds_while_stopped", result.follower_cpu_while_stopped_s},
          {"cpu_ns_per_append_on_acknowledgement_path",
           result.follower_cpu_while_stopped_s * 1e9 / acknowledged},
          {"cpu_seconds_validating_and_delivering", result.follower_cpu_s},
          {"how",
           "every follower stopped by SIGSTOP, appends acknowledged all the same; processor time "
           "from /proc/PID/stat"}};
}

}  // namespace

double AppendRunResult::appends_per_s() const {
  return engine_seconds > 0 ? static_cast<double>(appends) / engine_seconds : 0;
}
double AppendRunResult::goodput() const {
  return appends_per_s() * static_cast<double>(options.payload_bytes);
}
double AppendRunResult::floor_goodput() const {
  return variant_goodput(floor[floor_rate], options.payload_bytes);
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

Json to_json(const AppendRunResult& result) {
  const AppendRunOptions& options = result.options;
  const Percentiles floor = result.floor[result.floor_latency].samples.percentiles();
  return {{"ok", true},
          {"benchmark", "append"},
          {"size_bytes", options.payload_bytes},
          {"replicas", options.replicas},
          {"quorum", options.replicas / 2 + 1},
          {"inflight", options.inflight},
          {"batch", options.batch},
          {"durability", name(options.durability)},
          {"fabric", "shm"},
          {"persistence", result.persistence},
          {"ring_bytes", options.ring_bytes},
          {"laps", result.laps},
          {"cpu", processor_name()},
          {"leader_core", result.leader_core},
          {"follower_cores", result.follower_cores},
          {"p50_ns", result.engine.p50_ns},
          {"p90_ns", result.engine.p90_ns},
          {"p99_ns", result.engine.p99_ns},
          {"p999_ns", result.engine.p999_ns},
          {"min_ns", result.engine.min_ns},
          {"max_ns", result.engine.max_ns},
          {"samples", result.engine.count},
          {"appends", result.appends},
          {"appends_per_s", result.appends_per_s()},
          {"goodput_bytes_per_s", result.goodput()},
          {"verified_entries", result.verified_entries},
          {"all_verified", result.all_verified},
          {"floor", floor_object(result)},
          {"ratio_p50", ratio(result.engine.p50_ns, floor.p50_ns)},
          {"ratio_p99", ratio(result.engine.p99_ns, floor.p99_ns)},
          {"ratio_bytes", ratio(result.goodput(), result.floor_goodput())},
          {"syscalls_per_append", optional_number(result.system_calls_per_append)},
          {"syscalls_how", result.system_calls_how},
          {"syscalls_by_thread", result.system_calls_by_thread},
          {"allocations_per_append", optional_number(result.allocations_per_append)},
          {"counted_appends", result.counted},
          {"follower_cpu", result.follower_cpu_while_stopped_s},
          {"follower_cpu_detail", follower_detail(result)},
          {"stalls", result.stalls},
          {"term", result.term.value},
          {"samples_path", options.samples.string()}};
}

}  // namespace caisson::bench
