// SPDX-License-Identifier: BSD-3-Clause
// `caisson bench cluster` with all hosts on this machine, joined by shared memory: everything but
// the adapters. scripts/guest/bench runs it on virtual machines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/program.hpp"
#include "tools/encoding.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;

int code(Exit exit) { return static_cast<int>(exit); }

class BenchCluster : public testing::Test {
 protected:
  std::string hosts(const std::string& more = "",
                    const std::string& launcher = R"(["sh", "-c", "{command}"])") const {
    const auto file = scratch_.path() / "hosts.toml";
    std::string text = "launcher = " + launcher + "\nprogram = \"" + program() +
                       "\"\ndirectory = \"" + there().string() + "\"\nfabric = \"shm\"\nport = " +
                       std::to_string(20'000 + getpid() % 1'000 * 10) + "\n" + more;
    for (const char* name : {"one", "two", "three"}) {
      text += "[[host]]\nname = \"" + std::string(name) + "\"\naddress = \"127.0.0.1\"\n";
    }
    write_file(file, text);
    return file;
  }
  std::filesystem::path there() const {
    const auto path = scratch_.path() / "there";
    std::filesystem::create_directories(path);
    return path;
  }
  std::filesystem::path out() const { return scratch_.path() / "out"; }
  Outcome bench(const std::string& file, Arguments more = {}) const {
    Arguments all{"bench", "cluster", "--hosts", file, "--out", out(), "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }

  const Scratch scratch_;
};

TEST_F(BenchCluster, MeasuresEveryPointAndDrawsThem) {
  const auto page = scratch_.path() / "page.html";
  const Outcome done = bench(
      hosts(), {"--size", "64,4KiB", "--inflight", "1,16", "--durability", "replicated,persisted",
                "--seconds", "0.2", "--ring-bytes", "4MiB", "--html", page});
  ASSERT_EQ(done.exit, 0) << done.output << done.errors;
  const Json result = done.json();
  ASSERT_EQ(result["points"].size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const Json& point = result["points"][i];
    EXPECT_EQ(point["replicas"], 3);
    EXPECT_GT(point["caisson"]["p50_ns"], 0);
    EXPECT_GE(point["caisson"]["p99_ns"], point["caisson"]["p50_ns"]);
    EXPECT_GT(point["caisson"]["per_s"], 0);
    const auto file = out() / "replicas-3-any" / ("point-" + std::to_string(i) + ".u32");
    EXPECT_EQ(std::filesystem::file_size(file), 4 * point["caisson"]["samples"].get<uint64_t>());
  }
  EXPECT_EQ(result["leaders"].size(), 1u);
  ASSERT_EQ(result["perftest"].size(), 2u);
  EXPECT_THAT(result["perftest"][0]["why_not"].get<std::string>(), HasSubstr("shared memory"));
  EXPECT_EQ(Json::parse(read_file(out() / "result.json")), result);
  const std::string drawn = read_file(page);
  EXPECT_EQ(drawn, read_file(out() / "report.html"));
  EXPECT_THAT(drawn, HasSubstr("<polyline"));
  EXPECT_THAT(drawn, testing::Not(HasSubstr("http")));
  EXPECT_TRUE(std::filesystem::is_empty(there())) << "something was left on the hosts";
}

TEST_F(BenchCluster, AHostThatCannotBeUsedIsNamed) {
  const Outcome refused =
      bench(hosts("", R"(["sh", "-c", "echo {host} is off >&2; exit 7", "{command}"])"));
  EXPECT_EQ(refused.exit, code(Exit::io)) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr("one is off"));
  EXPECT_THAT(refused.errors, HasSubstr("exit code 7"));
  const Outcome missing = bench(hosts("", R"(["no-such-launcher", "{host}", "{command}"])"));
  EXPECT_NE(missing.exit, 0);
  EXPECT_THAT(missing.errors, HasSubstr("no-such-launcher"));
}

TEST_F(BenchCluster, AFileOfHostsThatMakesNoSenseIsRefusedByLine) {
  const auto refused = [&](const std::string& file, const std::string& words) {
    const Outcome done = bench(file);
    EXPECT_NE(done.exit, 0);
    EXPECT_THAT(done.errors, HasSubstr(words));
  };
  refused(hosts("colour = \"blue\"\n"), "hosts.toml:6: colour: is no known key");
  refused(hosts("persistence = \"hopeful\"\n"), "use one of \"emulated\", \"real\"");
  refused(hosts("round_trip_us = 1\n"),
          "round_trip_us: 1 is not allowed: use a whole number from 100");
  refused(hosts("", R"(["ssh", "{host}"])"), "no word {command}");
  refused(hosts("", "\"ssh\""), "launcher: \"ssh\" is no list of words");
  refused(hosts("ib_write_bw = \"-D 8\"\n"), "is no list of words: use [\"-D\", \"8\"]");
  refused((scratch_.path() / "nowhere.toml").string(), "nowhere.toml");
  const auto empty = scratch_.path() / "empty.toml";
  write_file(empty, "fabric = \"shm\"\n");
  refused(empty, "write a [[host]]");
  write_file(empty, "directory = \"tmp\"\n");
  refused(empty, "write the whole path");
  write_file(empty, "directory = \"/tmp/$HOME\"\n");
  refused(empty, "mean something to a shell");
  write_file(empty, "[[host]]\nname = \"a;b\"\n");
  refused(empty, "empty.toml:1: host[0].address: is missing");
  write_file(empty, "[[host]]\nname = \"a\"\naddress = \"a;b\"\n");
  refused(empty, "empty.toml:3: host[0].address: has characters");
  write_file(empty, "fabric = \n");
  refused(empty, "empty.toml:1");
  write_file(empty, "[[|log]]\n");
  refused(empty, "empty.toml:1: not valid TOML");
  const Outcome few = bench(hosts(), {"--replicas", "5"});
  EXPECT_THAT(few.errors, HasSubstr("names 3 hosts"));
  const Outcome large = bench(hosts(), {"--size", "1GiB"});
  EXPECT_THAT(large.errors, HasSubstr("sixteenth"));
}

TEST(Base64, IsReadAsItWasWritten) {
  for (size_t n = 0; n < 100; ++n) {
    std::vector<std::byte> bytes(n);
    for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 37 + n);
    const auto back = tools::from_base64(tools::to_base64(bytes));
    ASSERT_TRUE(back) << n;
    EXPECT_EQ(*back, bytes);
  }
  for (const char* text : {"a", "ab", "abc", "ab!=", "====", "a==="}) {
    EXPECT_FALSE(tools::from_base64(text)) << text;
  }
}

}  // namespace
}  // namespace caisson::test
