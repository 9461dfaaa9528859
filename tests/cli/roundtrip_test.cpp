// SPDX-License-Identifier: BSD-3-Clause
// What goes in through `append` comes out of `read`, from every replica.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <random>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;

int code(Exit exit) { return static_cast<int>(exit); }

Arguments through(const Outcome& appended) {
  const std::string last = std::to_string(appended.json()["last_position"].get<uint64_t>());
  return {"--wait-for", last, "--to", last};
}

std::string frame(const std::string& payload) {
  const auto length = static_cast<uint32_t>(payload.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + payload;
}

TEST(RoundTrip, LinesComeBackByteForByteFromEveryReplica) {
  const Replicas replicas;
  const std::string text = some_lines(20'000) + "\n\nno final newline";
  const Outcome appended = replicas.append(text);
  ASSERT_EQ(appended.exit, 0) << appended.errors;
  const Json result = appended.json();
  EXPECT_EQ(result["entries"], 20'003);
  EXPECT_EQ(result["terms"].size(), 1u);
  EXPECT_EQ(result["indefinite_lines"].size(), 0u);
  EXPECT_GE(result["last_position"].get<uint64_t>(),
            result["first_position"].get<uint64_t>() + 20'002);
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_EQ(replicas.read(replica, through(appended)), text) << "replica " << replica;
  }
  // Without --replica the leader serves, and what was acknowledged is there without waiting.
  EXPECT_EQ(replicas({"read"}).output, text);
}

TEST(RoundTrip, AReadSaysHowFreshItIs) {
  const Replicas replicas;
  const auto freshness = [&](Arguments arguments) {
    arguments.insert(arguments.begin(), {"read", "--json"});
    const Outcome read = replicas(arguments);
    EXPECT_EQ(read.exit, 0) << read.errors;
    const std::string last =
        read.output.substr(read.output.rfind('\n', read.output.size() - 2) + 1);
    const Json row = Json::parse(last);
    EXPECT_EQ(row["payload"], "two") << read.output;
    return row["freshness"].get<std::string>();
  };
  ASSERT_EQ(replicas.append("one\n").exit, 0);
  const Outcome appended = replicas.append("two\n");
  ASSERT_EQ(appended.exit, 0) << appended.errors;
  const std::string last = std::to_string(appended.json()["last_position"].get<uint64_t>());
  for (int replica = 1; replica <= 3; ++replica) {
    const std::string id = std::to_string(replica);
    for (const char* path : {"log", "leader", "proof"}) {
      EXPECT_EQ(freshness({"--replica", id, "--linearizable", path}), "linearizable") << path;
    }
    EXPECT_EQ(freshness({"--replica", id, "--min-position", last}), "session");
    EXPECT_EQ(freshness({"--replica", id}), "stale");
  }
  EXPECT_EQ(freshness({"--linearizable", "leader"}), "linearizable");
  EXPECT_EQ(replicas({"read", "--linearizable", "hope"}).exit, code(Exit::usage));
}

TEST(RoundTrip, SeveralAppendsFollowOneAnother) {
  const Replicas replicas;
  std::string all;
  for (int i = 0; i < 5; ++i) {
    const std::string text = some_lines(100, static_cast<uint32_t>(i + 1));
    ASSERT_EQ(replicas.append(text).exit, 0);
    all += text;
  }
  EXPECT_EQ(replicas({"read"}).output, all);
}

TEST(RoundTrip, NothingIsAnInputToo) {
  const Replicas replicas;
  const Outcome appended = replicas.append("");
  EXPECT_EQ(appended.exit, 0);
  EXPECT_EQ(appended.json()["entries"], 0);
  EXPECT_TRUE(appended.json()["first_position"].is_null());
  EXPECT_EQ(replicas({"read"}).output, "");
}

TEST(RoundTrip, BinaryPayloadsOfEverySizeComeBack) {
  const Replicas replicas;
  std::mt19937 random(7);
  std::string frames;
  const size_t largest = 1 << 20;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{4096},
                            size_t{100'000}, largest}) {
    std::string payload(size, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    frames += frame(payload);
  }
  const Outcome appended = replicas.append(frames, {"--frame", "length32"});
  ASSERT_EQ(appended.exit, 0) << appended.errors;
  for (int replica = 1; replica <= 3; ++replica) {
    Arguments arguments = through(appended);
    arguments.insert(arguments.end(), {"--frame", "length32"});
    EXPECT_TRUE(replicas.read(replica, arguments) == frames) << "replica " << replica;
  }
  const Outcome refused =
      replicas.append(frame(std::string(largest + 1, 'x')), {"--frame", "length32"});
  EXPECT_EQ(refused.exit, code(Exit::too_large));
  EXPECT_THAT(refused.errors, HasSubstr("frame 1"));
}

TEST(RoundTrip, RangesAndPositionsAreExact) {
  const Replicas replicas;
  const Json result = replicas.append("a\nb\nc\nd\n").json();
  const uint64_t first = result["first_position"];
  const std::string from = std::to_string(first + 1), to = std::to_string(first + 2);
  EXPECT_EQ(replicas({"read", "--from", from, "--to", to}).output, "b\nc\n");
  EXPECT_EQ(replicas({"read", "--from", from, "--to", from, "--positions"}).output, from + "\tb\n");
  EXPECT_EQ(replicas({"read", "--from", std::to_string(first + 100)}).output, "");
  const Json entry = replicas({"read", "--from", to, "--to", to, "--json"}).json();
  EXPECT_EQ(entry["position"], first + 2);
  EXPECT_EQ(entry["payload"], "c");
  EXPECT_EQ(entry["sequence"], 3);
  EXPECT_EQ(replicas({"tail"}).output, std::to_string(first + 3) + "\n");
  const Outcome waited =
      replicas({"read", "--wait-for", std::to_string(first + 100), "--timeout", "0.2"});
  EXPECT_EQ(waited.exit, code(Exit::timed_out));
}

TEST(RoundTrip, TrimmedPositionsAreRefusedAndTheRestIsThere) {
  const Replicas replicas;
  const Json result = replicas.append(some_lines(1000)).json();
  const uint64_t first = result["first_position"];
  const std::string half = std::to_string(first + 499);
  ASSERT_TRUE(eventually([&] { return replicas({"trim", "--through", half}).exit == 0; }));
  EXPECT_EQ(replicas({"read", "--from", half}).exit, code(Exit::trimmed));
  const std::string all = some_lines(1000);
  const std::string rest = replicas({"read"}).output;
  EXPECT_TRUE(all.ends_with(rest));
  EXPECT_EQ(std::count(rest.begin(), rest.end(), '\n'), 500);
}

TEST(RoundTrip, SeveralLogsAreApart) {
  const Replicas replicas({"--logs", "orders", "audit"});
  ASSERT_EQ(replicas.append("o\n").exit, 0);
  ASSERT_EQ(replicas.append("a\n", {"--log", "audit"}).exit, 0);
  EXPECT_EQ(replicas({"read"}).output, "o\n");
  EXPECT_EQ(replicas({"read", "--log", "audit"}).output, "a\n");
  const Outcome refused = replicas({"read", "--log", "nope"});
  EXPECT_EQ(refused.exit, code(Exit::not_found));
  EXPECT_THAT(refused.errors, HasSubstr("orders, audit"));
}

TEST(RoundTrip, FollowingShowsWhatComes) {
  const Replicas replicas;
  const auto shown = replicas.scratch() / "shown";
  Background follower({"read", "--follow", "--dir", replicas.directory().string()}, "", shown);
  ASSERT_EQ(replicas.append("one\n").exit, 0);
  EXPECT_TRUE(eventually([&] { return read_file(shown) == "one\n"; }));
  ASSERT_EQ(replicas.append("two\n").exit, 0);
  EXPECT_TRUE(eventually([&] { return read_file(shown) == "one\ntwo\n"; }));
  follower.signal(SIGINT);
  EXPECT_EQ(follower.wait(), 0);
}

TEST(RoundTrip, AReaderThatGoesAwayIsNoCrash) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append(some_lines(20'000)).exit, 0);
  const std::string command = program() + " read --dir " + replicas.directory().string() +
                              " | head -n 1; echo ${PIPESTATUS[0]}";
  const Outcome outcome = run_other({"/bin/bash", "-c", command});
  EXPECT_THAT(outcome.output, ::testing::EndsWith("\n" + std::to_string(code(Exit::io)) + "\n"));
}

}  // namespace
}  // namespace caisson::test
