// SPDX-License-Identifier: BSD-3-Clause
// R44 in one process: a replica loses pages, or entries of it rot, while it runs.
#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

std::string region_of(const Cluster& cluster, int id) {
  return cluster.home(id) + "/logs/main/region";
}

nlohmann::json status_of(Cluster& cluster, int id) {
  return nlohmann::json::parse(cluster.engine(id).status_json())["logs"][0];
}

// The first byte of the file that holds `text`.
uint64_t find_in(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string bytes(std::filesystem::file_size(path), '\0');
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  ::close(fd);
  return bytes.find(text);
}

void overwrite(const std::string& path, uint64_t at, char with) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(::pwrite(fd, &with, 1, static_cast<off_t>(at)), 1);
  ::close(fd);
}

class Memory : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    cluster_.start();
    appender_ = cluster_.appender_at_leader(leader_);
    ASSERT_NE(appender_, nullptr);
    follower_ = leader_ == 1 ? 2 : 1;
    ASSERT_EQ(append("an entry that is looked for"), Code::ok);
    ASSERT_TRUE(cluster_.until([&] { return cluster_.contents(follower_).size() == 1; }));
  }
  Code append(const std::string& text) { return appender_->append(bytes_of(text)).code; }

  Cluster cluster_{{.runs_inline = GetParam(), .adjust = [](EngineOptions& options) {
                      options.log_file = options.directory + "/log";
                      options.log_level = "warn";
                    }}};
  int leader_ = 0;
  int follower_ = 0;
  std::unique_ptr<Appender> appender_;
};

TEST_P(Memory, AReaderOfAPoisonedReplicaIsToldSo) {
  const auto subscription = cluster_.log(follower_).subscribe(Position{1});
  ASSERT_TRUE(subscription);
  std::filesystem::resize_file(region_of(cluster_, follower_), 0);
  const auto poisoned = [&] {
    return status_of(cluster_, follower_)["poison"]["poisoned"] == true;
  };
  ASSERT_TRUE(cluster_.until(poisoned));
  EXPECT_EQ(status_of(cluster_, follower_)["role"], "damaged");
  std::vector<std::byte> out;
  EXPECT_EQ(cluster_.log(follower_).read(Position{1}, out), Code::damaged);
  Entry entry;
  EXPECT_EQ((*subscription)->next(entry), Code::damaged);
  EXPECT_EQ((*subscription)->next_wait(entry, kPatienceNs), Code::damaged);
  // The others go on, and their own memory is well.
  EXPECT_EQ(append("more"), Code::ok);
  EXPECT_EQ(cluster_.contents(leader_).size(), 2u);
  EXPECT_EQ(status_of(cluster_, leader_)["poison"]["poisoned"], false);
}

TEST_P(Memory, AnEntryThatRotsIsRepairedOnFollowerAndLeader) {
  for (const int id : {follower_, leader_}) {
    const std::string path = region_of(cluster_, id);
    const uint64_t at = find_in(path, "an entry that is looked for");
    ASSERT_NE(at, std::string::npos);
    overwrite(path, at, 'X');
    ASSERT_TRUE(cluster_.until([&] { return status_of(cluster_, id)["scrub"]["repaired"] == 1; }));
    EXPECT_EQ(status_of(cluster_, id)["scrub"]["rotten"], 0);
    EXPECT_EQ(cluster_.contents(id), std::vector<std::string>{"an entry that is looked for"});
  }
}

// Files that are no replica's memory, and yet mapped: nobody dies of what becomes of them, and
// their node has them anew before anybody looks for it elsewhere.
TEST_P(Memory, ANodesHeartbeatAndPostAreMadeAnew) {
  if (const char* const why = why_not_one_machine()) GTEST_SKIP() << why;
  for (const int id : {follower_, leader_}) {
    for (const char* const name : {"/heartbeat", "/post"}) {
      const std::string path = cluster_.home(id) + name;
      const auto bytes = std::filesystem::file_size(path);
      const auto whole = [&] {
        std::error_code none_yet;
        return std::filesystem::file_size(path, none_yet) == bytes && !none_yet;
      };
      std::filesystem::resize_file(path, 0);
      ASSERT_TRUE(cluster_.until(whole)) << path;
      EXPECT_EQ(append("after it was cut short"), Code::ok);
      std::filesystem::remove(path);
      ASSERT_TRUE(cluster_.until(whole)) << path;
      EXPECT_EQ(append("after it was deleted"), Code::ok);
    }
    const std::string log = cluster_.home(id) + "/log";
    EXPECT_TRUE(cluster_.until([&] {
      return find_in(log, "/heartbeat was deleted, replaced or cut short") != std::string::npos &&
             find_in(log, "/post was deleted, replaced or cut short") != std::string::npos;
    }));
  }
  ASSERT_TRUE(cluster_.until([&] { return cluster_.contents(follower_).size() == 9; }));
}

// What a follower without a file takes would be gone with its process: it is no copy.
TEST_P(Memory, AReplicaWhoseRegionIsDeletedUnderItIsNoCopy) {
  std::filesystem::remove(region_of(cluster_, follower_));
  ASSERT_TRUE(
      cluster_.until([&] { return status_of(cluster_, follower_)["poison"]["poisoned"] == true; }));
  EXPECT_EQ(status_of(cluster_, follower_)["poison"]["deleted"], true);
  EXPECT_EQ(status_of(cluster_, follower_)["role"], "damaged");
  std::vector<std::byte> out;
  EXPECT_EQ(cluster_.log(follower_).read(Position{1}, out), Code::damaged);
  EXPECT_TRUE(cluster_.until([&] {
    return find_in(cluster_.home(follower_) + "/log", "was deleted while it is in use") !=
           std::string::npos;
  }));
  // The third one makes the majority; without it, once that is noticed, there is none.
  ASSERT_EQ(append("with the third"), Code::ok);
  const int third = 6 - leader_ - follower_;
  EXPECT_EQ(status_of(cluster_, third)["poison"]["deleted"], false);
  cluster_.close(third);
  const AppendOptions briefly{.timeout_ns = kSecondNs / 5};
  EXPECT_TRUE(cluster_.until(
      [&] { return appender_->append(bytes_of("alone"), briefly).code != Code::ok; }));
}

TEST_P(Memory, ALeaderWhoseRegionIsDeletedUnderItMakesRoom) {
  std::filesystem::remove(region_of(cluster_, leader_));
  ASSERT_TRUE(cluster_.until([&] { return status_of(cluster_, leader_)["role"] == "damaged"; }));
  const int next = cluster_.leader({}, {leader_});
  ASSERT_NE(next, 0);
  const auto appender = cluster_.appender(next);
  ASSERT_NE(appender, nullptr);
  EXPECT_EQ(appender->append(bytes_of("more")).code, Code::ok);
  EXPECT_EQ(cluster_.contents(next).back(), "more");
}

INSTANTIATE_TEST_SUITE_P(Pollers, Memory, testing::Bool(), poller_kind);

}  // namespace
}  // namespace caisson::engine_test
