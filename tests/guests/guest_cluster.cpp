// SPDX-License-Identifier: BSD-3-Clause
#include "tests/guests/guest_cluster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace caisson::test {

namespace {

namespace fs = std::filesystem;

constexpr const char* kUuid = "c0ffee00c0ffee00c0ffee00c0ffee01";
constexpr int kPort = 7711;

std::string text(int number) { return std::to_string(number); }
std::string address(int n) { return "10.77.0." + text(n); }

fs::path source() { return std::getenv("CAISSON_SOURCE_DIR"); }

// Emulation is slow: what is silence on a machine of its own is a slice of time here.
std::string configuration(int n) {
  std::ostringstream out;
  out << "[cluster]\nuuid = \"" << kUuid << "\"\n"
      << "[node]\nreplica = " << n << "\ndirectory = \"data\"\nlisten_host = \"0.0.0.0\"\n"
      << "persistence = \"real\"\nfabric = \"verbs\"\n"
      << "[verbs]\naddress = \"" << address(n) << "\"\n";
  for (int peer = 1; peer <= kGuests; ++peer) {
    out << "[[peer]]\nid = " << peer << "\nhost = \"" << address(peer) << "\"\nport = " << kPort
        << "\n";
  }
  out << "[tls]\nca = \"../authority.crt\"\ncertificate = \"node.crt\"\nkey = \"node.key\"\n"
      << "[[log]]\nname = \"main\"\nid = 1\nring_bytes = \"128 MiB\"\nsalvage_bytes = \"16 MiB\"\n"
      << "device = \"/dev/dax0.0\"\n"
      << "[failure_detection]\nsuspect_after_us = 2000000\nlink_hint_us = 1000000\n"
      << "round_trip_us = 30000\n";
  return out.str();
}

}  // namespace

GuestCluster::GuestCluster(int mtu) : directory_(source() / "build-guest/out/cluster") {
  machines({"up", text(kGuests), text(mtu)});
  make_cluster();
  for (int n = 1; n <= kGuests; ++n) start_node(n, {"--create"});
}

GuestCluster::~GuestCluster() {
  if (::testing::Test::HasFailure()) {
    for (int n = 1; n <= kGuests; ++n) {
      std::printf("-- node %d:\n%s\n", n, last_words(n).c_str());
    }
  }
  // The network stays: this process is in it.
  for (int n = 1; n <= kGuests; ++n) machines({"off", text(n)});
}

std::string GuestCluster::machines(const Arguments& arguments) const {
  Arguments command{(source() / "scripts/guest/machines").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Outcome done = run_other(command);
  std::string what;
  for (const std::string& each : arguments) what += each + " ";
  EXPECT_EQ(done.exit, 0) << what << ": " << done.output << done.errors;
  return done.output;
}

void GuestCluster::make_cluster() const {
  fs::remove_all(directory_);
  fs::create_directories(directory_);
  const auto make = [&](Arguments arguments) {
    arguments.insert(arguments.begin(), {"cert", "make", "--authority", directory_.string()});
    const Outcome made = run(arguments);
    ASSERT_EQ(made.exit, 0) << made.errors;
  };
  make({"--new-authority", "--cluster", kUuid});
  make({"--client", "cli", "--out", (directory_ / "client").string()});
  Json replicas = Json::array();
  for (int n = 1; n <= kGuests; ++n) {
    const fs::path home = directory_ / ("replica-" + text(n));
    fs::create_directories(home);
    make({"--node", text(n), "--out", (home / "node").string()});
    write_file(home / "node.toml", configuration(n));
    replicas.push_back({{"id", n}, {"host", address(n)}, {"port", kPort}});
  }
  const Json cluster{{"format", 1},
                     {"cluster", kUuid},
                     {"fabric", "verbs"},
                     {"persistence", "real"},
                     {"replicas", replicas},
                     {"logs",
                      {{{"name", "main"},
                        {"id", 1},
                        {"ring_bytes", 128 << 20},
                        {"entry_bytes_max", 1 << 20},
                        {"quorum", "majority"}}}}};
  write_file(directory_ / "cluster.json", cluster.dump(2));
}

void GuestCluster::start_node(int n, const Arguments& more) const {
  const std::string home = "/out/cluster/replica-" + text(n);
  std::string command = "setsid /build/bin/caisson node --json --config " + home + "/node.toml";
  for (const std::string& each : more) command += " " + each;
  command += " >>" + home + "/said 2>>" + home + "/log </dev/null &";
  machines({"do", text(n), "sh", "-c", command});
}

void GuestCluster::kill_node(int n, const std::string& signal) const {
  machines(
      {"do", text(n), "sh", "-c",
       "pkill -" + signal + " -x caisson; while pgrep -x caisson >/dev/null; do sleep 0.1; done"});
}

bool GuestCluster::takes_itself_for_leader(int n) const {
  const std::string said = machines({"do", text(n), "/build/bin/caisson", "status", "--json",
                                     "--dir", "/out/cluster", "--replica", text(n)});
  return said.find("\"role\":\"leader\"") != std::string::npos;
}

void GuestCluster::power_on(int n) const {
  machines({"on", text(n)});
  start_node(n);
}

void GuestCluster::lose_memory(int n) const {
  machines({"off", text(n)});
  machines({"blank", text(n)});
  fs::remove_all(directory_ / ("replica-" + text(n)) / "data");
  machines({"on", text(n)});
  start_node(n, {"--create", "--join"});
}

Outcome GuestCluster::operator()(Arguments arguments) const {
  arguments.insert(arguments.end(), {"--dir", directory_.string()});
  return run(arguments);
}

Json GuestCluster::status() const { return (*this)({"status", "--json"}).json(); }

int GuestCluster::leader() const {
  const Json now = status();
  if (!now.is_object() || !now.contains("logs")) return 0;
  const Json leader = now["logs"][0].value("leader", Json(nullptr));
  return leader.is_number() ? leader.get<int>() : 0;
}

int GuestCluster::await_leader() const { return await_leader_but(0); }

int GuestCluster::await_leader_but(int not_this) const {
  int found = 0;
  EXPECT_TRUE(eventually(
      [&] {
        found = leader();
        return found != 0 && found != not_this;
      },
      120'000))
      << status().dump(2);
  return found;
}

// The highest ever seen: just after a fault nobody may answer.
uint64_t GuestCluster::committed() const {
  const Json now = status();
  if (now.is_object() && now.contains("logs")) {
    committed_ = std::max(committed_, now["logs"][0].value("committed", uint64_t{0}));
  }
  return committed_;
}

void GuestCluster::await_progress() const {
  const uint64_t before = committed();
  EXPECT_TRUE(eventually([&] { return committed() > before + 20; }, 120'000)) << status().dump(2);
}

std::string GuestCluster::last_words(int n) const {
  const fs::path home = directory_ / ("replica-" + text(n));
  std::string words = read_file(home / "said") + read_file(home / "log");
  return words.size() > 4'000 ? words.substr(words.size() - 4'000) : words;
}

}  // namespace caisson::test
