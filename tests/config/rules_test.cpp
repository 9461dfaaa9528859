// SPDX-License-Identifier: BSD-3-Clause
// An EngineOptions that a program fills in by itself is held to every rule, and told which key is
// wrong.
#include <gtest/gtest.h>

#include <functional>

#include "core/engine/config.hpp"

namespace caisson::engine {
namespace {

EngineOptions sound() {
  EngineOptions options;
  options.cluster = {1};
  options.replica = ReplicaId{1};
  options.directory = "/data/1";
  options.listen_port = 7711;
  options.persistence = PersistenceMode::emulated;
  options.tls.enabled = false;
  for (uint8_t id = 1; id <= 3; ++id) {
    options.peers.push_back({ReplicaId{id}, "127.0.0.1", static_cast<uint16_t>(7710 + id),
                             "/data/" + std::to_string(id)});
  }
  LogOptions log;
  log.name = "main";
  log.id = 1;
  log.ring_bytes = kMiB;
  options.logs.push_back(log);
  return options;
}

struct Rule {
  const char* key;
  std::function<void(EngineOptions&)> broken;
};

void expect_each(const std::vector<Rule>& rules) {
  for (const Rule& rule : rules) {
    EngineOptions options = sound();
    ASSERT_TRUE(check(options)) << check(options).error().message;
    rule.broken(options);
    const auto violation = find_violation(options);
    ASSERT_TRUE(violation) << rule.key;
    EXPECT_EQ(violation->key, rule.key) << violation->sentence;
    EXPECT_EQ(violation->code, Code::invalid) << rule.key;
    EXPECT_EQ(check(options).error().code, Code::invalid) << rule.key;
  }
}

TEST(Rules, OfANodeAndItsPeers) {
  expect_each({{"node.directory", [](auto& o) { o.directory.clear(); }},
               {"node.listen_host", [](auto& o) { o.listen_host = "two words"; }},
               {"node.listen_host", [](auto& o) { o.listen_host.clear(); }},
               {"node.listen_host", [](auto& o) { o.listen_host = std::string(256, 'h'); }},
               {"node.listen_host", [](auto& o) { o.listen_host = "h\x7f"; }},
               {"node.listen_port", [](auto& o) { o.listen_port = 0; }},
               {"peer[1].directory", [](auto& o) { o.peers[1].directory.clear(); }},
               {"peer[2].directory", [](auto& o) { o.peers[2].directory = "/data/2"; }},
               {"peer[0].directory", [](auto& o) { o.peers[0].directory = "/elsewhere"; }},
               {"peer[2].port", [](auto& o) { o.peers[2].port = 7712; }},
               {"peer", [](auto& o) {
                  for (uint8_t id = 4; id <= kPeersMax + 1; ++id) {
                    o.peers.push_back({ReplicaId{id}, "127.0.0.1", static_cast<uint16_t>(7710 + id),
                                       "/data/" + std::to_string(id), true});
                  }
                }}});
}

TEST(Rules, OfAnAdapter) {
  const auto with_verbs = [](const auto& broken) {
    return [broken](auto& o) {
      o.fabric = FabricKind::verbs;
      o.verbs.device = "mlx5_0";
      broken(o);
    };
  };
  expect_each({{"verbs", [](auto& o) { o.verbs.address = "10.0.0.1"; }},
               {"verbs.address", with_verbs([](auto& o) { o.verbs.device.clear(); })},
               {"verbs.address", with_verbs([](auto& o) { o.verbs.address = "10.0.0.1"; })},
               {"verbs.device", with_verbs([](auto& o) { o.verbs.device = "two words"; })},
               {"verbs.port", with_verbs([](auto& o) { o.verbs.port = 0; })},
               {"verbs.port", with_verbs([](auto& o) { o.verbs.port = 256; })},
               {"verbs.gid_index", with_verbs([](auto& o) { o.verbs.gid_index = -2; })},
               {"verbs.gid_index", with_verbs([](auto& o) { o.verbs.gid_index = 256; })},
               {"verbs.traffic_class", with_verbs([](auto& o) { o.verbs.traffic_class = 256; })},
               {"log[0].device", [](auto& o) { o.logs[0].device = "/dev/dax0.0"; }},
               {"log[0].segment_bytes", with_verbs([](auto& o) {
                  o.logs[0].device = "/dev/dax0.0";  // and a ring of 1 MiB
                })},
               {"log[1].device", with_verbs([](auto& o) {
                  o.logs[0].device = "/dev/dax0.0";
                  o.logs[0].ring_bytes = 8 * kMiB;
                  o.logs.push_back(o.logs[0]);
                  o.logs[1].name = "other";
                  o.logs[1].id = 2;
                })}});
}

TEST(Rules, PortsOfDifferentHostsMayBeTheSame) {
  EngineOptions options = sound();
  options.peers[2].host = "127.0.0.2";
  options.peers[2].port = 7712;
  EXPECT_TRUE(check(options)) << check(options).error().message;
}

TEST(Rules, OfALog) {
  expect_each(
      {{"log", [](auto& o) { o.logs.resize(kLogsMax + 1, o.logs[0]); }},
       {"log[0].id", [](auto& o) { o.logs[0].id = 0; }},
       {"log[0].id", [](auto& o) { o.logs[0].id = uint64_t{1} << 32; }},
       {"log[0].name", [](auto& o) { o.logs[0].name = "Main"; }},
       {"log[0].name", [](auto& o) { o.logs[0].name = "_main"; }},
       {"log[0].salvage_bytes", [](auto& o) { o.logs[0].salvage_bytes = 4096 * 300 + 1; }},
       {"log[0].salvage_bytes", [](auto& o) { o.logs[0].salvage_bytes = 4096; }},
       {"log[0].salvage_bytes", [](auto& o) { o.logs[0].salvage_bytes = 2 * kRingBytesMax; }},
       {"log[0].outstanding_max", [](auto& o) { o.logs[0].outstanding_max = kOutstandingMin / 2; }},
       {"log[0].outstanding_max", [](auto& o) { o.logs[0].outstanding_max = kOutstandingMax * 2; }},
       {"log[0].outstanding_max", [](auto& o) { o.logs[0].outstanding_max = 17; }},
       {"log[0].quorum", [](auto& o) { o.logs[0].quorum = static_cast<Quorums>(9); }},
       {"log[0].commit_quorum", [](auto& o) { o.logs[0].commit_quorum = 2; }}});
}

TEST(Rules, OfALogsPaceAndItsStandbys) {
  expect_each(
      {{"log[0].slow", [](auto& o) { o.logs[0].slow = static_cast<SlowPolicy>(9); }},
       {"log[0].slow_patience_ms", [](auto& o) { o.logs[0].slow_patience_ms = 0; }},
       {"log[0].slow_patience_ms",
        [](auto& o) { o.logs[0].slow_patience_ms = kSlowPatienceMsMax + 1; }},
       {"log[0].voters_min", [](auto& o) { o.logs[0].voters_min = kVotersMax + 1; }},
       {"log[0].catch_up_bytes_per_s", [](auto& o) { o.logs[0].catch_up_bytes_per_s = 1; }},
       {"log[0].catch_up_bytes_per_s",
        [](auto& o) { o.logs[0].catch_up_bytes_per_s = kRingBytesMax + 1; }},
       {"log[0].scrub_bytes_per_s",
        [](auto& o) { o.logs[0].scrub_bytes_per_s = kRingBytesMax + 1; }},
       {"log[0].standby_policy",
        [](auto& o) { o.logs[0].standby_policy = static_cast<StandbyPolicy>(9); }},
       {"log[0].standby_lag_bytes", [](auto& o) { o.logs[0].standby_lag.bytes = 64; }},
       {"log[0].standby_lag_bytes", [](auto& o) { o.logs[0].standby_lag.bytes = 2 * kMiB; }},
       {"log[0].standby_lag_entries",
        [](auto& o) { o.logs[0].standby_lag.entries = kStandbyLagEntriesMax + 1; }},
       {"log[0].standby_lag_ms",
        [](auto& o) { o.logs[0].standby_lag.ms = kStandbyLagMsMax + 1; }}});
}

TEST(Rules, OfPollersAndTimes) {
  expect_each(
      {{"poller.cores", [](auto& o) { o.poller_cores = {-2}; }},
       {"poller.cores", [](auto& o) { o.poller_cores = {kCoreMax + 1}; }},
       {"failure_detection.suspect_after_us",
        [](auto& o) { o.suspect_after_us = kSuspectUsMax + 1; }},
       {"failure_detection.round_trip_us", [](auto& o) { o.round_trip_us = 99; }},
       {"failure_detection.round_trip_us", [](auto& o) { o.round_trip_us = kRoundTripUsMax + 1; }},
       {"state_bytes_per_s", [](auto& o) { o.state_bytes_per_s = 1; }},
       {"logging.level", [](auto& o) { o.log_level = "loud"; }}});
}

}  // namespace
}  // namespace caisson::engine
