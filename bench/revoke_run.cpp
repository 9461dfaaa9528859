// SPDX-License-Identifier: BSD-3-Clause
#include "bench/revoke_run.hpp"

#include <utility>

#include "transport/verbs/revocation_trial.hpp"

namespace caisson::bench {

namespace {

using transport::verbs::RevocationTrial;
using transport::verbs::RevocationWay;

Result<WayToRevoke> measure(RevocationTrial& trial, RevocationWay way, uint32_t rounds,
                            const std::function<void(const std::string&)>& progress) {
  WayToRevoke found;
  found.name = name(way);
  std::vector<uint64_t> grants, revocations;
  for (uint32_t round = 0; round < rounds; ++round) {
    const auto times = trial.run(way);
    if (!times && times.error().code == Code::unsupported) {
      found.why_not = times.error().message;
      return found;
    }
    if (!times) return tl::unexpected(times.error());
    grants.push_back(times->grant_ns);
    revocations.push_back(times->revoke_ns);
    progress(found.name + ": " + std::to_string(round + 1) + " of " + std::to_string(rounds));
  }
  found.grant = percentiles_of(std::move(grants));
  found.revoke = percentiles_of(std::move(revocations));
  return found;
}

nlohmann::ordered_json row(const Percentiles& times) {
  return {{"p50_ns", times.p50_ns}, {"p99_ns", times.p99_ns}, {"max_ns", times.max_ns}};
}

}  // namespace

Result<RevokeRunResult> run_revoke(const RevokeRunOptions& options,
                                   const std::function<void(const std::string&)>& progress) {
  transport::verbs::DeviceOptions wanted;
  wanted.address = options.address;
  wanted.name = options.device;
  auto device = transport::verbs::Device::open(wanted);
  if (!device) return tl::unexpected(device.error());
  RevokeRunResult result;
  result.options = options;
  result.adapter = (*device)->name();
  auto trial = RevocationTrial::open(std::move(*device), options.region_bytes);
  if (!trial) return tl::unexpected(trial.error());
  for (const RevocationWay way : transport::verbs::kRevocationWays) {
    auto measured = measure(**trial, way, options.rounds, progress);
    if (!measured) return tl::unexpected(measured.error());
    result.ways.push_back(std::move(*measured));
  }
  return result;
}

nlohmann::ordered_json to_json(const RevokeRunResult& result) {
  nlohmann::ordered_json ways = nlohmann::ordered_json::array();
  for (const WayToRevoke& way : result.ways) {
    nlohmann::ordered_json each{{"way", way.name}, {"offered", way.why_not.empty()}};
    if (way.why_not.empty()) {
      each["grant"] = row(way.grant);
      each["revoke"] = row(way.revoke);
    } else {
      each["why_not"] = way.why_not;
    }
    ways.push_back(std::move(each));
  }
  return {{"ok", true},
          {"adapter", result.adapter},
          {"region_bytes", result.options.region_bytes},
          {"rounds", result.options.rounds},
          {"ways", ways}};
}

}  // namespace caisson::bench
