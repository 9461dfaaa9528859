// SPDX-License-Identifier: BSD-3-Clause
// Configuration files: what they say is what is read, and what is wrong is named with its line and
// cure.
#include "core/engine/config.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

namespace caisson::engine {
namespace {

constexpr const char* kUuid = "0123456789abcdef0123456789abcdef";

// A small valid file; `changes` replaces text in it.
std::string file_with(std::initializer_list<std::pair<std::string, std::string>> changes = {}) {
  std::string text =
      "[cluster]\n"                                    // line 1
      "uuid = \"0123456789abcdef0123456789abcdef\"\n"  // 2
      "[node]\n"                                       // 3
      "replica = 2\n"                                  // 4
      "directory = \"/data/2\"\n"                      // 5
      "persistence = \"emulated\"\n"                   // 6
      "[tls]\n"                                        // 7
      "enabled = false\n"                              // 8
      "[[peer]]\n"                                     // 9
      "id = 2\n"                                       // 10
      "host = \"127.0.0.1\"\n"                         // 11
      "port = 7712\n"                                  // 12
      "directory = \"/data/2\"\n"                      // 13
      "[[peer]]\n"                                     // 14
      "id = 1\n"                                       // 15
      "host = \"127.0.0.1\"\n"                         // 16
      "port = 7711\n"                                  // 17
      "directory = \"/data/1\"\n"                      // 18
      "[[log]]\n"                                      // 19
      "name = \"main\"\n"                              // 20
      "id = 1\n"                                       // 21
      "ring_bytes = \"1 MiB\"\n";                      // 22
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
  }
  return text;
}

EngineOptions parsed(const std::string& text) {
  auto options = parse_config(text, "test.toml");
  EXPECT_TRUE(options.has_value()) << options.error().message;
  return options ? *options : EngineOptions{};
}

// The change makes the file wrong at `line`; the message holds `words`.
void expect_refused(std::initializer_list<std::pair<std::string, std::string>> changes, int line,
                    const std::string& words, Code code = Code::invalid) {
  const auto options = parse_config(file_with(changes), "test.toml");
  ASSERT_FALSE(options.has_value()) << words;
  EXPECT_EQ(options.error().code, code) << options.error().message;
  const std::string place = "test.toml:" + std::to_string(line) + ": ";
  EXPECT_EQ(options.error().message.substr(0, place.size()), place) << options.error().message;
  EXPECT_NE(options.error().message.find(words), std::string::npos) << options.error().message;
}

TEST(Config, ASmallFileIsEnough) {
  const EngineOptions options = parsed(file_with());
  EXPECT_EQ(to_hex(options.cluster), kUuid);
  EXPECT_EQ(options.replica, ReplicaId{2});
  EXPECT_EQ(options.directory, "/data/2");
  EXPECT_EQ(options.listen_host, "127.0.0.1") << "that of its own peer";
  EXPECT_EQ(options.listen_port, 7712);
  EXPECT_EQ(options.persistence, PersistenceMode::emulated);
  EXPECT_EQ(options.fabric, FabricKind::shm);
  ASSERT_EQ(options.peers.size(), 2u);
  EXPECT_EQ(options.peers[0].id, ReplicaId{1}) << "ascending";
  EXPECT_EQ(options.peers[1].port, 7712);
  ASSERT_EQ(options.logs.size(), 1u);
  EXPECT_EQ(options.logs[0].ring_bytes, kMiB);
  EXPECT_EQ(salvage_bytes_of(options.logs[0]), kMiB);
  EXPECT_EQ(entry_bytes_max_of(options.logs[0]), kMiB / 8);
  EXPECT_TRUE(options.poller_cores.empty());
  EXPECT_FALSE(options.tls.enabled);
}

TEST(Config, EveryKeyIsRead) {
  const EngineOptions options = parsed(file_with(
      {{"persistence = \"emulated\"",
        "persistence = \"real\"\nlisten_host = \"0.0.0.0\"\nlisten_port = 9\nfabric = \"shm\""},
       {"enabled = false",
        "enabled = true\nca = \"/c/ca.pem\"\ncertificate = \"/c/c.pem\"\nkey = \"/c/k.pem\""},
       {"ring_bytes = \"1 MiB\"\n",
        "ring_bytes = 2097152\nsegment_bytes = \"64KiB\"\nsalvage_bytes = \"8 MiB\"\n"
        "entry_bytes_max = 1000\noutstanding_max = 32\nauto_apply = false\n"
        "slow = \"demote\"\nslow_patience_ms = 30\nvoters_min = 3\n"
        "quorum = \"flexible\"\ncommit_quorum = 2\n"
        "standby_policy = \"error\"\nstandby_lag_bytes = \"1 MiB\"\n"
        "standby_lag_entries = 500\nstandby_lag_ms = 250\n"
        "catch_up_bytes_per_s = \"2 MiB\"\nscrub_bytes_per_s = 0\n"
        "[poller]\ninline = true\ncores = [3, -1]\nidle = \"busy\"\nspin_us = 7\n"
        "priority = 0\n"
        "[failure_detection]\nsuspect_after_us = 1000\nlink_hint_us = 999\nround_trip_us = 250\n"
        "[logging]\nlevel = \"debug\"\nfile = \"/l/log\"\n"}}));
  EXPECT_EQ(options.persistence, PersistenceMode::real);
  EXPECT_EQ(options.listen_host, "0.0.0.0");
  EXPECT_EQ(options.listen_port, 9);
  EXPECT_TRUE(options.tls.enabled);
  EXPECT_EQ(options.tls.ca_file, "/c/ca.pem");
  EXPECT_EQ(options.tls.certificate_file, "/c/c.pem");
  EXPECT_EQ(options.tls.key_file, "/c/k.pem");
  const LogOptions& log = options.logs.at(0);
  EXPECT_EQ(log.ring_bytes, 2 * kMiB);
  EXPECT_EQ(log.segment_bytes, 64 * kKiB);
  EXPECT_EQ(log.salvage_bytes, 8 * kMiB);
  EXPECT_EQ(log.entry_bytes_max, 1000u);
  EXPECT_EQ(log.outstanding_max, 32u);
  EXPECT_FALSE(log.auto_apply);
  EXPECT_EQ(log.slow, SlowPolicy::demote);
  EXPECT_EQ(log.slow_patience_ms, 30u);
  EXPECT_EQ(log.standby_policy, StandbyPolicy::error);
  EXPECT_EQ(log.standby_lag, (StandbyBounds{kMiB, 500, 250}));
  EXPECT_EQ(voters_min_of(options, log), 3u);
  EXPECT_EQ(log.quorum, Quorums::flexible);
  EXPECT_EQ(log.commit_quorum, 2u);
  EXPECT_EQ(log.catch_up_bytes_per_s, 2 * kMiB);
  EXPECT_EQ(log.scrub_bytes_per_s, 0u);
  EXPECT_TRUE(options.inline_poller);
  EXPECT_EQ(options.poller_cores, (std::vector<int>{3, -1}));
  EXPECT_EQ(options.idle, Idle::busy);
  EXPECT_EQ(options.spin_us, 7u);
  EXPECT_EQ(options.suspect_after_us, 1000u);
  EXPECT_EQ(options.link_hint_us, 999u);
  EXPECT_EQ(options.round_trip_us, 250u);
  EXPECT_EQ(options.log_level, "debug");
  EXPECT_EQ(options.log_file, "/l/log");
}

TEST(Config, RelativePathsStartAtTheFile) {
  const auto options =
      parse_config(file_with({{"\"/data/2\"", "\"data/../two\""}, {"\"/data/2\"", "\"two\""}}),
                   "test.toml", "/etc/x");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  EXPECT_EQ(options->directory, "/etc/x/two");
  EXPECT_EQ(options->peers[1].directory, "/etc/x/two");
}

TEST(Config, TheExampleIsValid) {
  const char* source = std::getenv("CAISSON_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run by ctest, which says where the sources are";
  const auto options = load_config(std::filesystem::path(source) / "examples" / "node.toml");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  EXPECT_EQ(options->peers.size(), 3u);
  EXPECT_EQ(options->logs.size(), 2u);
  EXPECT_TRUE(options->tls.enabled);
  const EngineOptions defaults;
  EXPECT_EQ(options->suspect_after_us, defaults.suspect_after_us)
      << "the example shows the defaults";
  EXPECT_EQ(options->link_hint_us, defaults.link_hint_us);
  EXPECT_EQ(options->spin_us, defaults.spin_us);
}

// ---- Refusals ----------------------------------------------------------------------------------

TEST(Config, NamesTheLineOfTomlThatIsNone) {
  expect_refused({{"replica = 2", "replica = = 2"}}, 4, "not valid TOML");
  expect_refused({{"[[log]]", "[[log]"}}, 19, "not valid TOML");
  expect_refused({{"replica = 2", "replica = 2\nreplica = 2"}}, 5, "not valid TOML");
}

TEST(Config, BrokenTomlThatUpsetsTheParserIsAnErrorToo) {
  for (const char* text : {"[[|log]]",
                           "[|a]",
                           "[",
                           "[[",
                           "[]",
                           "[[]]",
                           "[a.|b]",
                           "a.|b = 1",
                           "\xff",
                           "a = \"\\uD800\"",
                           "a = 99999999999999999999",
                           "[\xc3\xa9]",
                           "a = [[[[",
                           "a = {b = {c = {",
                           "\xef\xbb\xbf[",
                           "a = 1979-13-40",
                           "a = 0x",
                           "'",
                           "\"\"\"",
                           "a = \"\"\"\\\xcd\xbe\"\"\"",
                           "a = '''\n\xcd\xbe'''",
                           "a = {\"\"\"\\\xcd\xbe\"\"\" = 1}",
                           "a =-[\"sr\xef\xb3\xbfun\"]",
                           "a = \xc3\xa9",
                           "a = \"\xf4\x80\x82\x80\"",
                           "a = \"\\U00100080\"",
                           "a = \"\xed\xa0\x80\"",
                           "a = \"\xc0\x80\""}) {
    const auto options = parse_config(text, "test.toml");
    ASSERT_FALSE(options.has_value()) << text;
    EXPECT_EQ(options.error().code, Code::invalid);
    EXPECT_NE(options.error().message.find("test.toml"), std::string::npos)
        << options.error().message;
  }
}

TEST(Config, TextsHoldWhatLettersTheyLike) {
  const std::string path = "/é/ж/€/\uFCFF/\uFEFF/\U0001F5FF";
  const std::string quoted = '"' + path + '"';
  const EngineOptions options =
      parsed(file_with({{"\"/data/2\"", quoted}, {"\"/data/2\"", quoted}}));
  EXPECT_EQ(options.directory, path);
  expect_refused({{"replica = 2", "replica = \"\uFCFF\""}}, 4, "\"\uFCFF\" is not allowed");
  expect_refused({{"replica = 2", "replica = 2\n\"é\" = 3"}}, 5, "é: is no known key");
}

TEST(Config, RefusesUnknownKeysAndTables) {
  expect_refused({{"replica = 2", "replica = 2\nrepllica = 3"}}, 5,
                 "node.repllica: is no known key: remove it, or use one of replica, directory");
  expect_refused({{"[tls]", "[tsl]"}}, 7, "tsl: is no known key");
  expect_refused({{"id = 1\nring", "id = 1\nring_byte = 3\nring"}}, 22, "log[0].ring_byte");
}

TEST(Config, RefusesWrongTypes) {
  expect_refused({{"replica = 2", "replica = \"2\""}}, 4, "node.replica: \"2\" is not allowed");
  expect_refused({{"replica = 2", "replica = 2.0"}}, 4, "2.0 is not allowed");
  expect_refused({{"replica = 2", "replica = -1"}}, 4, "-1 is not allowed: use a whole number");
  expect_refused({{"replica = 2", "replica = -1"}}, 4, "from 1 to 63");
  expect_refused({{"replica = 2", "replica = 2\nlisten_port = 0"}}, 5, "from 1 to 65535");
  expect_refused({{"replica = 2", "replica = 2\nlisten_port = 70000"}}, 5, "from 1 to 65535");
  expect_refused({{"[tls]", "[poller]\nspin_us = -5\n[tls]"}}, 8, "from 0 to 1000000");
  expect_refused({{"\"/data/2\"", "17"}}, 5, "17 is no text: put it in double quotes");
  expect_refused({{"enabled = false", "enabled = 0"}}, 8, "use true or false");
  expect_refused({{"[tls]\nenabled = false", "tls = 3"}}, 7, "");
  expect_refused({{"ring_bytes = \"1 MiB\"", "ring_bytes = \"1 MB\""}}, 22, "is no size");
  expect_refused({{"ring_bytes = \"1 MiB\"", "ring_bytes = \"99999999 TiB\""}}, 22, "is no size");
  expect_refused({{"ring_bytes = \"1 MiB\"", "ring_bytes = -5"}}, 22, "-5 is no size");
}

TEST(Config, RefusesMissingKeysAtTheirTable) {
  expect_refused({{"replica = 2\n", ""}}, 3, "node.replica: is missing");
  expect_refused({{"persistence = \"emulated\"\n", ""}}, 3,
                 "node.persistence: is missing, and never guessed");
  expect_refused({{"uuid = \"0123456789abcdef0123456789abcdef\"\n", ""}}, 1,
                 "cluster.uuid: is missing");
  expect_refused({{"host = \"127.0.0.1\"\n", ""}}, 9, "peer[0].host: is missing");
  expect_refused({{"name = \"main\"\n", ""}}, 19, "log[0].name: is missing");
  expect_refused({{"[[log]]\nname = \"main\"\nid = 1\nring_bytes = \"1 MiB\"\n", ""}}, 1,
                 "log: names 0 logs");
}

TEST(Config, RefusesWhatIsNotOffered) {
  expect_refused({{"persistence = \"emulated\"", "persistence = \"hopeful\""}}, 6,
                 "use one of \"emulated\", \"real\"");
  for (const char* fabric : {"dpdk", "carrier pigeon"}) {
    expect_refused({{"persistence", "fabric = \"" + std::string(fabric) + "\"\npersistence"}}, 6,
                   "use one of \"shm\", \"verbs\"");
  }
}

TEST(Config, AnAdapterIsChosenAndADeviceForALog) {
  const EngineOptions options = parsed(
      file_with({{"persistence", "fabric = \"verbs\"\npersistence"},
                 {"[[peer]]\n",
                  "[verbs]\naddress = \"10.0.0.2\"\ngid_index = 3\ntraffic_class = "
                  "104\npast_caches = true\npersists_by = \"target_flush\"\n[[peer]]\n"},
                 {"directory = \"/data/1\"\n", ""},
                 {"ring_bytes = \"1 MiB\"", "device = \"/dev/dax0.0\"\nring_bytes = \"8 MiB\""}}));
  EXPECT_EQ(options.fabric, FabricKind::verbs);
  EXPECT_EQ(options.verbs.address, "10.0.0.2");
  EXPECT_EQ(options.verbs.gid_index, 3);
  EXPECT_TRUE(options.verbs.past_caches);
  EXPECT_EQ(options.peers[0].directory, "") << "on a machine of its own";
  EXPECT_EQ(options.logs[0].device, "/dev/dax0.0");
  EXPECT_EQ(segment_bytes_of(options.logs[0]), 2 * kMiB);
  const EngineOptions again = parsed(to_toml(options));
  EXPECT_EQ(again.verbs.address, options.verbs.address);
  EXPECT_EQ(again.verbs.gid_index, 3);
  EXPECT_EQ(again.verbs.traffic_class, 104u);
  EXPECT_TRUE(again.verbs.past_caches);
  EXPECT_EQ(again.verbs.persists_by, RemotePersistence::target_flush);
  EXPECT_EQ(again.logs[0].device, "/dev/dax0.0");
}

TEST(Config, AnAdapterThatIsNoneIsRefused) {
  const std::string verbs = "fabric = \"verbs\"\npersistence";
  expect_refused({{"persistence", verbs}}, 1, "one of address and device is needed");
  const auto with = [&](const std::string& keys, int line, const std::string& words) {
    expect_refused({{"persistence", verbs}, {"[[peer]]\n", "[verbs]\n" + keys + "\n[[peer]]\n"}},
                   line, words);
  };
  with("device = \"mlx5_0\"\nport = 256", 12, "256 is no port");
  with("device = \"mlx5_0\"\nport = -1", 12, "use a whole number from 1 to 255");
  with("device = \"mlx5_0\"\ngid_index = 256", 12, "256 is no GID's index");
  with("device = \"two words\"", 11, "is no name or address");
  with("queue = 3", 11, "is no known key");
}

TEST(Config, RefusesStandbysThatCannotBeBounded) {
  const std::string ring = "ring_bytes = \"1 MiB\"";
  expect_refused({{ring, ring + "\nstandby_lag_bytes = \"2 MiB\""}}, 23, "2 MiB is not allowed");
  expect_refused({{ring, ring + "\nstandby_lag_bytes = 64"}}, 23, "the largest entry");
  expect_refused({{ring, ring + "\nstandby_policy = \"hope\""}}, 23, "use one of \"stall\"");
}

TEST(Config, RefusesBadIdentities) {
  expect_refused({{kUuid, "0123"}}, 2, "is no cluster uuid");
  expect_refused({{kUuid, std::string(32, '0')}}, 2, "not all 0");
  expect_refused({{"replica = 2", "replica = 3"}}, 4, "3 is not among the peers");
  expect_refused({{"replica = 2", "replica = 64"}}, 4, "64 is no replica id");
  expect_refused({{"id = 2", "id = 0"}}, 10, "peer[0].id: 0 is no replica id");
}

TEST(Config, RefusesPeersThatAreNotDistinct) {
  expect_refused({{"id = 1\nhost", "id = 2\nhost"}}, 15, "also the id of an earlier peer");
  expect_refused({{"port = 7711", "port = 7712"}}, 17, "also the address of peer 2");
  expect_refused({{"\"/data/1\"", "\"/data/2\""}}, 18, "also the directory of peer 2");
  expect_refused({{"port = 7711", "port = 0"}}, 17, "0 is no port");
  expect_refused({{"port = 7711", "port = 65536"}}, 17, "65536 is not allowed");
  expect_refused({{"directory = \"/data/1\"\n", ""}}, 14, "peer[1].directory: is missing");
  expect_refused({{"directory = \"/data/2\"\n[[peer]]", "directory = \"/data/3\"\n[[peer]]"}}, 13,
                 "differs from node.directory");
  expect_refused({{"host = \"127.0.0.1\"", "host = \"a b\""}}, 11, "is no host");
  const auto more = [](int last) {
    std::string many;
    for (int i = 3; i <= last; ++i) {
      many += "[[peer]]\nid = " + std::to_string(i) +
              "\nhost = \"h\"\nport = " + std::to_string(i) + "\ndirectory = \"/data/" +
              std::to_string(i) + "\"\n";
    }
    return many + "[[log]]";
  };
  expect_refused({{"[[log]]", more(9)}}, 9, "list 1 to 7 voters");
  expect_refused({{"[[log]]", more(18)}}, 9, "at most 16");
}

TEST(Config, RefusesTlsWithoutItsFiles) {
  expect_refused({{"enabled = false", "ca = \"a\"\nkey = \"k\""}}, 7,
                 "tls.certificate: is missing");
  expect_refused({{"[tls]\nenabled = false\n", ""}}, 1, "tls.ca: is missing");
}

TEST(Config, RefusesSizesOutOfProportion) {
  const auto ring = [](const std::string& text) {
    return std::pair<std::string, std::string>{"ring_bytes = \"1 MiB\"", text};
  };
  expect_refused(
      {ring("ring_bytes = \"3 MiB\"")}, 22,
      "3 MiB is not allowed: use a power of two from 1 MiB to 1 TiB, for example \"4 MiB\"");
  expect_refused({ring("ring_bytes = 0")}, 22, "for example \"1 MiB\"");
  expect_refused({ring("ring_bytes = \"512 KiB\"")}, 22, "for example \"1 MiB\"");
  expect_refused({ring("ring_bytes = \"2 TiB\"")}, 22, "for example \"1 TiB\"");
  expect_refused({ring("ring_bytes = \"1 MiB\"\nsegment_bytes = \"512 KiB\"")}, 23,
                 "segment_bytes");
  expect_refused({ring("ring_bytes = \"1 MiB\"\nsegment_bytes = 4096")}, 23, "segment_bytes");
  expect_refused({ring("ring_bytes = \"1 MiB\"\nentry_bytes_max = \"256 KiB\"")}, 23,
                 "at most 262080 B");
  expect_refused({ring("ring_bytes = \"1 GiB\"\nentry_bytes_max = \"2 MiB\"")}, 23,
                 "at most 1 MiB");
  expect_refused({ring("ring_bytes = \"1 GiB\"\nentry_bytes_max = \"8 GiB\"")}, 23,
                 "at most 1 MiB");
  expect_refused({ring("ring_bytes = \"1 MiB\"\nsalvage_bytes = 4096")}, 23, "salvage_bytes");
  expect_refused({ring("ring_bytes = \"1 MiB\"\nsalvage_bytes = 1000001")}, 23, "salvage_bytes");
  expect_refused({ring("ring_bytes = \"1 MiB\"\noutstanding_max = 1000")}, 23, "power of two");
}

TEST(Config, RefusesLogsThatAreNotDistinctOrNamesThatAreNone) {
  const std::string second = "ring_bytes = \"1 MiB\"\n[[log]]\nname = \"other\"\nid = 2\n";
  EXPECT_EQ(parsed(file_with({{"ring_bytes = \"1 MiB\"\n", second}})).logs.size(), 2u);
  expect_refused({{"ring_bytes = \"1 MiB\"\n", second}, {"other", "main"}}, 24,
                 "also the name of an earlier log");
  expect_refused({{"ring_bytes = \"1 MiB\"\n", second},
                  {"name = \"other\"\nid = 2", "name = \"other\"\nid = 1"}},
                 25, "also the id of an earlier log");
  for (const char* name : {"", "../x", "a b", "A", "-a", "a/b"}) {
    expect_refused({{"\"main\"", '"' + std::string(name) + '"'}}, 20, "is no log name");
  }
  expect_refused({{"\"main\"", '"' + std::string(65, 'a') + '"'}}, 20, "is no log name");
  expect_refused({{"id = 1\nring", "id = 0\nring"}}, 21, "0 is no log id");
}

TEST(Config, RefusesPollersAndTimesOutOfRange) {
  const auto more = [](const std::string& text) {
    return std::pair<std::string, std::string>{"ring_bytes = \"1 MiB\"\n",
                                               "ring_bytes = \"1 MiB\"\n" + text};
  };
  expect_refused({more("[poller]\ncores = []\n")}, 24, "use \"auto\" or a list");
  expect_refused({more("[poller]\ncores = \"all\"\n")}, 24, "use \"auto\" or a list");
  expect_refused({more("[poller]\ncores = [1, 1]\n")}, 24, "names core 1 twice");
  expect_refused({more("[poller]\ncores = [5000]\n")}, 24, "5000 is no core");
  expect_refused({more("[poller]\ncores = [\"1\"]\n")}, 24, "is no core");
  expect_refused({more("[poller]\nidle = \"lazy\"\n")}, 24, "\"busy\", \"yield\", \"adaptive\"");
  expect_refused({more("[poller]\nspin_us = 1000001\n")}, 24, "too long");
  expect_refused({more("[poller]\npriority = 100\n")}, 24, "use 1 to 99");
  expect_refused({more("[poller]\ninline = true\npriority = 1\n")}, 25, "the application's own");
  expect_refused({more("[failure_detection]\nsuspect_after_us = 99\n")}, 24, "use 100 to 60000000");
  expect_refused({more("[failure_detection]\nsuspect_after_us = 500\nlink_hint_us = 501\n")}, 25,
                 "is longer than suspect_after_us");
  expect_refused({more("[logging]\nlevel = \"loud\"\n")}, 24, "is no level");
  EXPECT_EQ(parsed(file_with({more("[failure_detection]\nsuspect_after_us = 500\n")})).link_hint_us,
            500u)
      << "the default hint never exceeds the bound";
}

TEST(Config, RefusesAFileThatIsTooLong) {
  const auto options = parse_config(std::string(kConfigBytesMax + 1, '#'), "test.toml");
  ASSERT_FALSE(options.has_value());
  EXPECT_EQ(options.error().code, Code::too_large);
}

TEST(Config, AStructIsHeldToTheSameRules) {
  EngineOptions options = parsed(file_with());
  EXPECT_TRUE(check(options).has_value());
  options.persistence = PersistenceMode::unset;
  EXPECT_EQ(check(options).error().code, Code::invalid);
  options = parsed(file_with());
  options.logs.clear();
  ASSERT_FALSE(check(options).has_value());
  EXPECT_NE(check(options).error().message.find("log: names 0 logs"), std::string::npos);
  EXPECT_FALSE(check(EngineOptions{}).has_value());
}

TEST(Config, MissingFilesAndDirectoriesAreNamed) {
  const auto missing = load_config("/nonexistent/node.toml");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_NE(missing.error().message.find("/nonexistent/node.toml"), std::string::npos);
  EXPECT_FALSE(load_config(std::filesystem::temp_directory_path()).has_value());
}

// ---- Properties --------------------------------------------------------------------------------

EngineOptions any_options() {
  EngineOptions options = *parse_config(file_with(), "test.toml");
  const auto word = [] {
    return "x" + *rc::gen::container<std::string>(
                     rc::gen::elementOf(std::string("abcXYZ019 _-\"'\\\t\n#=[]{}\x7f\xc3\xa9")));
  };
  const auto valid_utf8 = [](std::string text) {
    std::string out;
    for (const char c : text) {
      if (static_cast<unsigned char>(c) < 0x80) out += c;
    }
    return out;
  };
  options.replica = options.peers[1].id = ReplicaId{static_cast<uint8_t>(*rc::gen::inRange(3, 64))};
  options.directory = options.peers[1].directory = "/" + valid_utf8(word());
  options.listen_port = *rc::gen::inRange<uint16_t>(1, 65535);
  options.persistence = *rc::gen::element(PersistenceMode::emulated, PersistenceMode::real);
  options.tls = {*rc::gen::arbitrary<bool>(), "/ca" + valid_utf8(word()), "/c", "/k"};
  LogOptions& log = options.logs[0];
  log.ring_bytes = uint64_t{1} << *rc::gen::inRange(20, 41);
  log.segment_bytes = *rc::gen::element<uint64_t>(64 * kKiB, 256 * kKiB);
  log.entry_bytes_max = *rc::gen::inRange<uint32_t>(0, 200'000);
  log.salvage_bytes = *rc::gen::element<uint64_t>(0, 8 * kMiB, 300 * 4096);
  log.outstanding_max = 1u << *rc::gen::inRange(4, 21);
  log.auto_apply = *rc::gen::arbitrary<bool>();
  log.slow = *rc::gen::element(SlowPolicy::back_pressure, SlowPolicy::demote);
  log.slow_patience_ms = *rc::gen::inRange<uint64_t>(1, 10'000);
  log.standby_policy = *rc::gen::element(StandbyPolicy::stall, StandbyPolicy::error);
  log.standby_lag = {*rc::gen::element<uint64_t>(0, log.ring_bytes),
                     *rc::gen::inRange<uint64_t>(0, 10'000), *rc::gen::inRange<uint64_t>(0, 9'000)};
  log.voters_min = *rc::gen::inRange<uint32_t>(0, 8);
  log.quorum = *rc::gen::element(Quorums::majority, Quorums::all);
  log.catch_up_bytes_per_s = *rc::gen::inRange<uint64_t>(kCatchUpRateMin, kCatchUpRateMin << 12);
  log.scrub_bytes_per_s = *rc::gen::inRange<uint64_t>(0, kMiB << 12);
  options.poller_cores =
      *rc::gen::elementOf(std::vector<std::vector<int>>{{}, {0}, {3, 1, -1, -1}});
  options.inline_poller = *rc::gen::arbitrary<bool>();
  options.idle = *rc::gen::element(Idle::busy, Idle::yield, Idle::adaptive);
  options.suspect_after_us = *rc::gen::inRange<uint64_t>(100, 1000);
  options.link_hint_us = *rc::gen::inRange<uint64_t>(0, 100);
  options.log_level = *rc::gen::element<std::string>("trace", "off");
  return options;
}

RC_GTEST_PROP(Config, WhatIsWrittenIsReadBack, ()) {
  const EngineOptions options = any_options();
  RC_ASSERT(check(options).has_value());
  const std::string text = to_toml(options);
  const auto again = parse_config(text, "test.toml");
  RC_ASSERT(again.has_value());
  RC_ASSERT(to_toml(*again) == text);
  RC_ASSERT(again->replica == options.replica);
  RC_ASSERT(again->directory == std::filesystem::path(options.directory).lexically_normal());
  RC_ASSERT(again->logs[0].ring_bytes == options.logs[0].ring_bytes);
  RC_ASSERT(again->logs[0].salvage_bytes == options.logs[0].salvage_bytes);
  RC_ASSERT(again->poller_cores == options.poller_cores);
}

RC_GTEST_PROP(Config, ChangedFilesAreRefusedOrValid, ()) {
  std::string text = file_with();
  const int changes = *rc::gen::inRange(1, 5);
  for (int i = 0; i < changes; ++i) {
    const size_t at = *rc::gen::inRange<size_t>(0, text.size());
    switch (*rc::gen::inRange(0, 3)) {
      case 0: text[at] = *rc::gen::arbitrary<char>(); break;
      case 1: text.erase(at, *rc::gen::inRange<size_t>(1, 20)); break;
      default: text.insert(at, 1, *rc::gen::elementOf(std::string("[]{}=\"'.,\n#|\\"))); break;
    }
  }
  const auto options = parse_config(text, "test.toml");
  if (options) {
    RC_ASSERT(check(*options).has_value());
  } else {
    RC_ASSERT(options.error().message.find("test.toml") == 0);
  }
}

TEST(ClusterUuid, TakesDashesAndBothCases) {
  EXPECT_EQ(to_hex(*parse_cluster_uuid("01234567-89AB-cdef-0123-456789abcdef")), kUuid);
  for (const char* text :
       {"", "0", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0",
        "g123456789abcdef0123456789abcdef", "----", "00000000000000000000000000000000"}) {
    EXPECT_FALSE(parse_cluster_uuid(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace caisson::engine
