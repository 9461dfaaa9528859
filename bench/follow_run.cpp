// SPDX-License-Identifier: BSD-3-Clause
#include "bench/follow_run.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "bench/bench_link.hpp"
#include "caisson/caisson.hpp"
#include "core/engine/config.hpp"
#include "core/engine/verbs_ground.hpp"
#include "core/log/superblock_format.hpp"
#include "pmem/file_region.hpp"
#include "tools/command.hpp"
#include "tools/encoding.hpp"
#include "tools/process.hpp"
#include "transport/verbs/bare_loop.hpp"

namespace caisson::bench {

namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kLook{50};
constexpr uint64_t kHandOverTimeoutNs = 2'000'000'000;
constexpr ReplicaId kLeader{1};

// SIGSTOP for so long; somebody else wakes us.
Result<void> pause_for(uint64_t ms) {
  const std::string pid = std::to_string(getpid());
  tools::SpawnOptions options;
  options.arguments = {"/bin/sh", "-c",
                       "sleep 0.2; kill -STOP " + pid + "; sleep " +
                           std::to_string(static_cast<double>(ms) / 1000) + "; kill -CONT " + pid};
  auto spawned = tools::spawn(options);
  if (!spawned) return tl::unexpected(spawned.error());
  close(spawned->output_fd);
  return {};
}

class Follower {
 public:
  Follower(const HostOptions& host, const EngineOptions& options)
      : host_(host), options_(options) {}

  json answer(const json& question) {
    const std::string what = question.value("ask", "");
    if (what == "connect") return connect(question);
    if (what == "pause") {
      const auto paused = pause_for(question.value("ms", uint64_t{0}));
      return paused ? json{{"ok", true}} : json{{"error", paused.error().message}};
    }
    return {{"error", "asked for '" + what + "', which is not known"}};
  }

 private:
  json connect(const json& question) {
    const auto half = connected(question.value("half", ""));
    if (!half) return {{"error", half.error().message}};
    return {{"half", tools::to_base64(encode(*half))}};
  }

  Result<transport::verbs::BareHalf> connected(const std::string& text) {
    using namespace transport::verbs;
    const auto bytes = tools::from_base64(text);
    if (!bytes) return tl::unexpected(bytes.error());
    const auto theirs = decode_bare_half(*bytes);
    if (!theirs) return theirs;
    if (target_ == nullptr) {
      auto device = Device::open(engine::device_options(options_.verbs));
      if (!device) return tl::unexpected(device.error());
      auto target = BareTarget::open(std::move(*device), host_.scratch, host_.scratch_device);
      if (!target) return tl::unexpected(target.error());
      target_ = std::move(*target);
    }
    return target_->connect(*theirs);
  }

  const HostOptions& host_;
  const EngineOptions& options_;
  std::unique_ptr<transport::verbs::BareTarget> target_;
};

// Only the first host carries the load.
void give_away(Log& log, const std::atomic<bool>& stop) {
  while (!stop.load()) {
    if (log.leadership().is_self) (void)log.hand_over(kLeader, kHandOverTimeoutNs);
    std::this_thread::sleep_for(kLook);
  }
}

int failed(const Error& error) { return static_cast<int>(tools::report(error, true)); }

}  // namespace

Result<EngineOptions> make_replica(const std::string& configuration) {
  auto options = engine::load_config(configuration);
  if (!options) return options;
  if (const auto made = Engine::create(*options); !made) return tl::unexpected(made.error());
  return options;
}

Result<void> unmake_replica(const EngineOptions& options) {
  for (const LogOptions& log : options.logs) {
    if (log.device.empty()) continue;  // goes with its directory
    const auto gone = pmem::FileRegion::erase(log.device, [&](std::span<const std::byte> bytes) {
      const auto superblock = log::decode_superblock(bytes);
      return superblock && superblock->identity.cluster == options.cluster;
    });
    if (!gone) return gone;
  }
  return {};
}

namespace {

// As long as the replica lives.
Result<void> follow(const HostOptions& host, const EngineOptions& options,
                    const sigset_t& signals) {
  auto engine = Engine::open(options);
  if (!engine) return tl::unexpected(engine.error());
  const auto log = (*engine)->open_log(options.logs.front().name);
  if (!log) return tl::unexpected(log.error());
  Follower follower(host, options);
  auto listener = BenchListener::start(
      host.port, host.secret, [&](const json& question) { return follower.answer(question); });
  if (!listener) return tl::unexpected(listener.error());
  std::atomic<bool> stop{false};
  std::thread giver([&] { give_away(**log, stop); });
  tools::print_json({{"ready", true}, {"replica", options.replica.value}});
  (void)tools::finish_output();
  tools::await_end(signals, false);
  stop.store(true);
  giver.join();
  listener->reset();
  (*engine)->close();
  return {};
}

}  // namespace

int run_follow(const HostOptions& host) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto options = make_replica(host.configuration);
  if (!options) return failed(options.error());
  const auto followed = follow(host, *options, signals);
  const auto gone = unmake_replica(*options);
  if (!followed) return failed(followed.error());
  return gone ? 0 : failed(gone.error());
}

}  // namespace caisson::bench
