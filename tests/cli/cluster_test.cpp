// SPDX-License-Identifier: BSD-3-Clause
// Clusters in good and bad circumstances: each refusal has its own exit code and names the cure.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cli/region_bytes.hpp"
#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

int code(Exit exit) { return static_cast<int>(exit); }

Outcome start_one(const Replicas& replicas, int replica) {
  return replicas({"cluster", "start", "--json", "--replica", std::to_string(replica)});
}

TEST(Cluster, StatusNamesEverybodyAndOneLeader) {
  const Replicas replicas;
  const Json status = replicas.status();
  ASSERT_EQ(status["replicas"].size(), 3u);
  int leaders = 0;
  for (const Json& replica : status["replicas"]) {
    EXPECT_EQ(replica["alive"], true);
    EXPECT_EQ(replica["state"], "running");
    EXPECT_GT(replica["pid"].get<int>(), 1);
    leaders += replica["logs"][0]["leads"].get<bool>() ? 1 : 0;
    for (const char* mark :
         {"submitted", "replicated", "persisted", "committed", "delivered", "applied", "trimmed"}) {
      EXPECT_TRUE(replica["logs"][0]["marks"].contains(mark)) << mark;
    }
  }
  EXPECT_EQ(leaders, 1);
  EXPECT_EQ(status["persistence"], "emulated");
  EXPECT_GT(status["logs"][0]["term"].get<uint64_t>(), 0u);
}

TEST(Cluster, AKilledReplicaIsShownDeadAndComesBack) {
  const Replicas replicas;
  const int follower = replicas.follower();
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit, 0);
  EXPECT_EQ(replicas.status()["replicas"][static_cast<size_t>(follower) - 1]["state"], "dead");
  EXPECT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit,
            code(Exit::not_found));
  ASSERT_EQ(replicas.append("one\n").exit, 0);
  const Outcome back = start_one(replicas, follower);
  EXPECT_EQ(back.exit, 0) << back.errors;
  EXPECT_EQ(back.json()["started"], Json::array({follower}));
  const std::string last = replicas({"tail"}).output;
  EXPECT_EQ(replicas.read(follower, {"--wait-for", last.substr(0, last.size() - 1)}), "one\n");
}

TEST(Cluster, StartingAgainStartsOnlyWhatIsMissingAndKeepsItsShape) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("kept\n").exit, 0);
  EXPECT_EQ(replicas({"cluster", "start", "--json"}).json()["started"].size(), 0u);
  EXPECT_EQ(replicas({"cluster", "start", "--replicas", "5"}).exit, code(Exit::exists));
  EXPECT_EQ(replicas({"cluster", "start", "--ring-bytes", "1MiB"}).exit, code(Exit::exists));
  replicas.stop();
  EXPECT_EQ(replicas({"status"}).exit, code(Exit::unreachable));
  EXPECT_EQ(replicas({"cluster", "start", "--json"}).json()["started"].size(), 3u);
  EXPECT_EQ(replicas({"read"}).output, "kept\n");
}

TEST(Cluster, WhereEveryCopyCommitsOneThatIsAwayStopsTheAppends) {
  const Replicas replicas({"--quorum", "all"});
  ASSERT_EQ(replicas.append("one\n").exit, 0);
  const Json view = replicas({"member", "list", "--json"}).json()["logs"][0];
  EXPECT_EQ(view["commit_quorum"], 3) << view;
  EXPECT_EQ(view["election_quorum"], 1);
  EXPECT_EQ(replicas({"cluster", "start", "--quorum", "majority"}).exit, code(Exit::exists));
  const int follower = replicas.follower();
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit, 0);
  const Outcome stopped = replicas({"append", "--timeout", "2"}, "two\n");
  EXPECT_TRUE(stopped.exit == code(Exit::unreachable) || stopped.exit == code(Exit::timed_out))
      << stopped.exit << stopped.errors;
  EXPECT_EQ(replicas.read(follower % 3 + 1), "one\n");
  ASSERT_EQ(start_one(replicas, follower).exit, 0);
  ASSERT_EQ(replicas.append("three\n").exit, 0);
  for (const char* none : {"1", "4", "most"}) {
    EXPECT_EQ(replicas({"cluster", "start", "--quorum", none}).exit, code(Exit::usage)) << none;
  }
}

TEST(Cluster, AForeignProcessIsNeverSignalled) {
  const Replicas replicas;
  const int follower = replicas.follower();
  const fs::path pid_file = replicas.directory() / ("replica-" + std::to_string(follower)) / "pid";
  const std::string before = read_file(pid_file);
  // The right id, another start time: as if the id had been reused.
  write_file(pid_file, std::to_string(getpid()) + before.substr(before.find(' ')));
  EXPECT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit,
            code(Exit::busy));
  write_file(pid_file, before);
  EXPECT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit, 0);
}

TEST(Cluster, AReplicaWhoseRegionIsGoneIsRefusedAndTheOthersGoOn) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append("kept\n").exit, 0);
  const int follower = replicas.follower();
  ASSERT_EQ(replicas({"cluster", "kill", "--replica", std::to_string(follower)}).exit, 0);
  fs::remove(replicas.region(follower));
  const Outcome refused = start_one(replicas, follower);
  EXPECT_EQ(refused.exit, code(Exit::amnesia)) << refused.errors;
  EXPECT_EQ(refused.json()["error"]["code"], "amnesia");
  EXPECT_FALSE(fs::exists(replicas.region(follower)));
  EXPECT_EQ(replicas.append("more\n").exit, 0);
}

TEST(Cluster, ARegionOfAnotherClusterIsRefused) {
  const Replicas one, other;
  const int follower = one.follower();
  ASSERT_EQ(one({"cluster", "kill", "--replica", std::to_string(follower)}).exit, 0);
  other.stop();
  fs::copy_file(other.region(follower), one.region(follower), fs::copy_options::overwrite_existing);
  const Outcome refused = start_one(one, follower);
  EXPECT_EQ(refused.exit, code(Exit::wrong_cluster)) << refused.errors;
}

TEST(Cluster, ARegionOfANewerFormatIsRefused) {
  const Replicas replicas;
  replicas.stop();
  make_newer(replicas.region(2));
  const Outcome refused = start_one(replicas, 2);
  EXPECT_EQ(refused.exit, code(Exit::wrong_version)) << refused.errors;
  EXPECT_EQ(run({"log", "verify", replicas.region(2).string()}).exit, code(Exit::wrong_version));
}

TEST(Cluster, APortInUseIsNamed) {
  const Replicas replicas;
  replicas.stop();
  const Json cluster = Json::parse(read_file(replicas.directory() / "cluster.json"));
  const auto port = cluster["replicas"][0]["port"].get<uint16_t>();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  const Outcome refused = start_one(replicas, 1);
  close(fd);
  EXPECT_EQ(refused.exit, code(Exit::busy)) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr(std::to_string(port)));
}

TEST(Cluster, TwoProcessesNeverRunOneReplica) {
  const Replicas replicas;
  const Outcome second =
      run({"node", "--config", (replicas.directory() / "replica-1" / "node.toml").string()});
  EXPECT_EQ(second.exit, code(Exit::busy)) << second.errors;
  EXPECT_EQ(run({"log", "verify", replicas.data(1).string()}).exit, code(Exit::busy));
}

TEST(Cluster, AFullFileSystemIsNamedAndNothingIsLeftBehind) {
  const Scratch scratch;
  const fs::path small = scratch.path() / "small";
  fs::create_directory(small);
  if (mount("tmpfs", small.c_str(), "tmpfs", 0, "size=8m") != 0) {
    GTEST_SKIP() << "mounting a small file system needs root";
  }
  const Outcome refused =
      run({"cluster", "start", "--dir", (small / "cluster").string(), "--ring-bytes", "16MiB"});
  EXPECT_EQ(refused.exit, code(Exit::no_space)) << refused.errors;
  EXPECT_TRUE(fs::is_empty(small));
  EXPECT_EQ(umount(small.c_str()), 0);
}

TEST(Cluster, MissingRightsAreNamed) {
  if (geteuid() != 0) GTEST_SKIP() << "becoming somebody else needs root";
  const Scratch scratch;
  const std::string directory = (scratch.path() / "cluster").string();
  const Outcome refused =
      run_other({"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program(),
                 "cluster", "start", "--dir", directory});
  EXPECT_EQ(refused.exit, code(Exit::denied)) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr(directory));
}

TEST(Cluster, ClientsOfAnotherClusterAreTurnedAway) {
  const Replicas one, other;
  // The address of one, the certificates of the other.
  Json file = Json::parse(read_file(other.directory() / "cluster.json"));
  const Json target = Json::parse(read_file(one.directory() / "cluster.json"));
  file["replicas"] = target["replicas"];
  write_file(other.scratch() / "saved", read_file(other.directory() / "cluster.json"));
  write_file(other.directory() / "cluster.json", file.dump());
  const Outcome refused = other({"tail", "--replica", "1", "--timeout", "2"});
  EXPECT_TRUE(refused.exit == code(Exit::denied) || refused.exit == code(Exit::wrong_cluster))
      << refused.exit << refused.errors;
  write_file(other.directory() / "cluster.json", read_file(other.scratch() / "saved"));
}

TEST(Cluster, ABadConfigurationIsNamedWithItsKey) {
  const Scratch scratch;
  write_file(scratch.path() / "node.toml", "[node]\nreplicaa = 1\n");
  const Outcome refused =
      run({"node", "--config", (scratch.path() / "node.toml").string(), "--json"});
  EXPECT_EQ(refused.exit, code(Exit::configuration));
  EXPECT_THAT(refused.errors, HasSubstr("cluster.uuid"));
  EXPECT_EQ(run({"node", "--config", (scratch.path() / "absent.toml").string()}).exit,
            code(Exit::not_found));
}

TEST(Cluster, CertificatesAreMadeAndShown) {
  const Replicas replicas;
  const std::string out = (replicas.scratch() / "alice").string();
  const Arguments make = {
      "cert",  "make",  "--json", "--authority", replicas.directory().string(), "--client",
      "alice", "--out", out};
  EXPECT_EQ(run(make).exit, 0);
  EXPECT_EQ(run(make).exit, code(Exit::exists));
  const Json shown = run({"cert", "show", out + ".crt", "--json"}).json();
  EXPECT_THAT(shown["uris"][0].get<std::string>(), HasSubstr("/client/alice"));
  EXPECT_EQ(shown["valid_now"], true);
}

}  // namespace
}  // namespace caisson::test
