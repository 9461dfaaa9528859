// SPDX-License-Identifier: BSD-3-Clause
// A cluster of engines in this process: shared-memory fabric under /dev/shm, control links on
// loopback. With poller threads, or inline: then every wait turns all engines that are awake, from
// this thread. An engine that is not turned is, to the others, one whose process is stopped.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "caisson/caisson.hpp"

namespace caisson::engine_test {

inline constexpr uint64_t kSecondNs = 1'000'000'000;
inline constexpr uint64_t kPatienceNs = 60 * kSecondNs;  // sanitizers and a loaded machine

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Distinct ports that were free just now.
inline std::vector<uint16_t> free_ports(size_t count) {
  std::vector<int> sockets;
  std::vector<uint16_t> ports;
  for (size_t i = 0; i < count; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    sockets.push_back(fd);
    ports.push_back(ntohs(address.sin_port));
  }
  for (const int fd : sockets) close(fd);
  return ports;
}

// Names the instances of tests that run once with poller threads, and once inline.
inline std::string poller_kind(const testing::TestParamInfo<bool>& with) {
  return with.param ? "Inline" : "Threads";
}

// On an adapter nodes know nothing of each other's files, as if they were on machines of their own.
inline const char* why_not_one_machine() {
  return getenv("CAISSON_TEST_VERBS") != nullptr ? "these nodes do not see each other's files"
                                                 : nullptr;
}

struct Shape {
  uint8_t replicas = 3;
  bool runs_inline = false;
  std::vector<std::string> logs{"main"};
  uint64_t ring_bytes = 4 << 20;
  uint32_t outstanding_max = 1u << 12;
  bool auto_apply = true;
  uint64_t suspect_after_us = 500'000;
  std::function<void(EngineOptions&)> adjust = [](EngineOptions&) {};
};

class Cluster {
 public:
  explicit Cluster(Shape shape = {}) : shape_(std::move(shape)) {
    static std::atomic<int> number{0};
    directory_ = directory_of(getpid(), number++);
    std::filesystem::create_directories(directory_);
    ports_ = free_ports(shape_.replicas);
    engines_.resize(shape_.replicas);
    awake_.assign(shape_.replicas, true);
  }
  ~Cluster() {
    for (auto& engine : engines_) engine.reset();
    std::filesystem::remove_all(directory_);
  }

  // What a process has left behind that ended without closing its clusters.
  static void clean_up_after(pid_t process) {
    std::error_code error;
    int number = 0;
    while (std::filesystem::remove_all(directory_of(process, number), error) > 0) ++number;
  }

  const std::string& directory() const { return directory_; }
  std::string home(int id) const { return directory_ + "/replica-" + std::to_string(id); }

  EngineOptions options(int id) const {
    EngineOptions options;
    options.cluster = {0xca, 0x15, 0x50, 0x17};
    options.replica = ReplicaId{static_cast<uint8_t>(id)};
    options.directory = home(id);
    options.listen_port = ports_[static_cast<size_t>(id - 1)];
    for (int peer = 1; peer <= shape_.replicas; ++peer) {
      options.peers.push_back({ReplicaId{static_cast<uint8_t>(peer)}, "127.0.0.1",
                               ports_[static_cast<size_t>(peer - 1)], home(peer)});
    }
    options.tls.enabled = false;
    options.persistence = PersistenceMode::emulated;
    for (size_t i = 0; i < shape_.logs.size(); ++i) {
      LogOptions log;
      log.name = shape_.logs[i];
      log.id = i + 1;
      log.ring_bytes = shape_.ring_bytes;
      log.segment_bytes = 64 << 10;
      log.salvage_bytes = 1 << 20;
      log.entry_bytes_max =
          static_cast<uint32_t>(std::min<uint64_t>(256 << 10, shape_.ring_bytes / 16));
      log.outstanding_max = shape_.outstanding_max;
      log.auto_apply = shape_.auto_apply;
      options.logs.push_back(log);
    }
    options.inline_poller = shape_.runs_inline;
    options.suspect_after_us = shape_.suspect_after_us;
    options.link_hint_us = shape_.suspect_after_us;
    const char* level = getenv("CAISSON_TEST_LOG");
    options.log_level = level != nullptr ? level : "off";
    // The address of an adapter: in a virtual machine that has one.
    if (const char* const address = getenv("CAISSON_TEST_VERBS")) {
      options.fabric = FabricKind::verbs;
      options.verbs.address = address;
      options.round_trip_us = 10'000;
      for (PeerOptions& peer : options.peers) peer.directory.clear();
    }
    shape_.adjust(options);
    return options;
  }

  void create_all() {
    for (int id = 1; id <= shape_.replicas; ++id) {
      const auto created = Engine::create(options(id));
      ASSERT_TRUE(created) << created.error().message;
    }
  }
  void open(int id) {
    auto engine = Engine::open(options(id));
    ASSERT_TRUE(engine) << engine.error().message;
    engines_[static_cast<size_t>(id - 1)] = std::move(*engine);
    awake_[static_cast<size_t>(id - 1)] = true;
  }
  void start() {
    create_all();
    for (int id = 1; id <= shape_.replicas && !testing::Test::HasFatalFailure(); ++id) open(id);
  }
  void close(int id) { engines_[static_cast<size_t>(id - 1)].reset(); }

  bool is_open(int id) const { return engines_[static_cast<size_t>(id - 1)] != nullptr; }
  Engine& engine(int id) { return *engines_[static_cast<size_t>(id - 1)]; }
  Log& log(int id, std::string_view name = {}) {
    const auto log = engine(id).open_log(name.empty() ? shape_.logs.front() : std::string(name));
    EXPECT_TRUE(log);
    return **log;
  }
  const Shape& shape() const { return shape_; }

  // Inline only: an engine that sleeps is not turned, as if its process were stopped.
  void sleep(int id) { awake_[static_cast<size_t>(id - 1)] = false; }
  void wake(int id) { awake_[static_cast<size_t>(id - 1)] = true; }
  bool runs(int id) const { return is_open(id) && awake_[static_cast<size_t>(id - 1)]; }

  void turn() {
    if (!shape_.runs_inline) return std::this_thread::sleep_for(std::chrono::microseconds(200));
    for (int id = 1; id <= shape_.replicas; ++id) {
      if (runs(id)) engine(id).poll();
    }
  }

  // Turns until `done()`. False: patience ran out.
  template <class Done>
  bool until(Done&& done, uint64_t patience_ns = kPatienceNs) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience_ns);
    while (!done()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      turn();
    }
    return true;
  }

  // The replica that leads `name` and serves; 0 if patience runs out. Not one of `besides`. Where
  // it can be had, everybody who runs follows it: one who does not may be about to ask for another
  // term.
  int leader(std::string_view name = {}, const std::set<int>& besides = {}) {
    const auto serves = [&] {
      for (int id = 1; id <= shape_.replicas; ++id) {
        if (!runs(id) || besides.contains(id)) continue;
        if (log(id, name).leadership().is_self) return id;
      }
      return 0;
    };
    const auto all_follow = [&] {
      const int leads = serves();
      if (leads == 0) return false;
      const Leadership lead = log(leads, name).leadership();
      for (int id = 1; id <= shape_.replicas; ++id) {
        if (!runs(id) || besides.contains(id)) continue;
        const Leadership known = log(id, name).leadership();
        if (known.leader != lead.leader || known.term != lead.term) return false;
      }
      return true;
    };
    int found = 0;
    (void)until([&] { return (found = serves()) != 0; });
    (void)until(all_follow, 2 * kSecondNs);
    const int now = serves();
    return now != 0 ? now : found;
  }

  // An appender at `id`; null, and a failure, if there is none to be had.
  std::unique_ptr<Appender> appender(int id, const AppenderOptions& options = {},
                                     std::string_view name = {}) {
    auto result = log(id, name).appender(options);
    if (result) return std::move(*result);
    ADD_FAILURE() << result.error().message;
    return nullptr;
  }

  // An appender at whoever leads by the time it is open: one that is found leading may be about to
  // learn that it no longer does.
  std::unique_ptr<Appender> appender_at_leader(int& leads, AppenderOptions options = {}) {
    options.timeout_ns = kSecondNs;
    std::unique_ptr<Appender> appender;
    (void)until([&] {
      leads = leader();
      if (leads == 0) return false;
      auto result = log(leads).appender(options);
      if (result) appender = std::move(*result);
      return appender != nullptr;
    });
    return appender;
  }

  // Everything that `id` holds as committed data, in order.
  std::vector<std::string> contents(int id, std::string_view name = {}) {
    std::vector<std::string> found;
    auto subscription = log(id, name).subscribe(Position{0});
    EXPECT_TRUE(subscription);
    if (!subscription) return found;
    Entry entry;
    Code code = Code::ok;
    while ((code = (*subscription)->next(entry)) == Code::ok)
      found.push_back(text_of(entry.payload));
    EXPECT_EQ(code, Code::not_yet);
    return found;
  }

 private:
  static std::string directory_of(pid_t process, int number) {
    return "/dev/shm/caisson-engine-test-" + std::to_string(process) + "-" + std::to_string(number);
  }

  const Shape shape_;
  std::string directory_;
  std::vector<uint16_t> ports_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<bool> awake_;
};

}  // namespace caisson::engine_test
