// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load_node.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include "bench/ticks.hpp"
#include "caisson/caisson.hpp"
#include "core/engine/config.hpp"
#include "core/engine/node_server.hpp"
#include "tools/command.hpp"
#include "tools/files.hpp"
#include "tools/process.hpp"

namespace caisson::bench {

namespace {

constexpr size_t kPayloadBytes = 64;
constexpr uint64_t kStandbyTurnNs = 100'000'000;  // … and a look whether it is to stop
constexpr std::chrono::microseconds kPressurePause{100};
constexpr uint64_t kTrimEvery = 4096;
constexpr uint64_t kKept = 16384;
constexpr uint64_t kAppendTimeoutNs = 1'000'000'000;
constexpr uint64_t kHandOverTimeoutNs = 1'000'000'000;

class Application {
 public:
  Application(Log& log, LoadCells& cells) : log_(log), cells_(cells) {}

  void run(const std::atomic<bool>& stop) {
    prctl(PR_SET_TIMERSLACK, 1UL);
    while (!stop.load(std::memory_order_relaxed)) {
      if (!appender_) {
        AppenderOptions options;
        options.await_leadership = true;
        options.timeout_ns = kStandbyTurnNs;
        auto opened = log_.appender(options);
        if (!opened) continue;
        appender_ = std::move(*opened);
      }
      if (cells_.heir.load(std::memory_order_relaxed) != 0) hand_over();
      append();
    }
  }

 private:
  void append() {
    AppendOptions options;
    options.timeout_ns = kAppendTimeoutNs;
    const Completion completion = appender_->append(payload_, options);
    if (completion.code == Code::again) {
      trim();
      std::this_thread::sleep_for(kPressurePause);
      return;
    }
    if (completion.code != Code::ok) {
      appender_.reset();
      return;
    }
    const uint64_t now = monotonic_ns();
    if (cells_.term.load(std::memory_order_relaxed) != completion.term.value) {
      cells_.first_ack_ns.store(now, std::memory_order_relaxed);
      cells_.term.store(completion.term.value, std::memory_order_release);
    }
    cells_.last_ack_ns.store(now, std::memory_order_relaxed);
    cells_.acknowledged.fetch_add(1, std::memory_order_relaxed);
    last_ = completion.position;
    if (last_.value % kTrimEvery == 0) trim();
  }

  void hand_over() {
    const ReplicaId heir{static_cast<uint8_t>(cells_.heir.load(std::memory_order_acquire))};
    cells_.handed_over_ns.store(monotonic_ns(), std::memory_order_relaxed);
    const Code code = log_.hand_over(heir, kHandOverTimeoutNs);
    cells_.hand_over_code.store(static_cast<uint64_t>(code), std::memory_order_relaxed);
    cells_.heir.store(0, std::memory_order_release);
  }

  void trim() {
    if (last_.value > kKept) (void)log_.trim(Position{last_.value - kKept});
  }

  Log& log_;
  LoadCells& cells_;
  std::unique_ptr<Appender> appender_;
  std::array<std::byte, kPayloadBytes> payload_{};
  Position last_;
};

int failed(const Error& error) { return static_cast<int>(tools::report(error, true)); }

}  // namespace

Result<std::unique_ptr<MappedCells>> MappedCells::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const std::string what = "'" + path.string() + "' cannot be shared";
  if (fd < 0) return tl::unexpected(tools::system_error(what, errno));
  const bool sized = ftruncate(fd, sizeof(LoadCells)) == 0;
  void* const at = sized
                       ? mmap(nullptr, sizeof(LoadCells), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                       : MAP_FAILED;
  const int error_number = errno;
  close(fd);
  if (at == MAP_FAILED) return tl::unexpected(tools::system_error(what, error_number));
  return std::unique_ptr<MappedCells>(new MappedCells(static_cast<LoadCells*>(at)));
}

MappedCells::~MappedCells() { munmap(cells_, sizeof(LoadCells)); }

int run_load_node(const std::string& configuration, const std::string& cells_path) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto cells = MappedCells::open(cells_path);
  if (!cells) return failed(cells.error());
  auto engine = Engine::open(configuration);
  if (!engine) return failed(engine.error());
  auto server = engine::NodeServer::start(**engine);
  if (!server) return failed(server.error());
  const auto options = engine::load_config(configuration);
  if (!options) return failed(options.error());
  const auto log = (*engine)->open_log(options->logs.front().name);
  if (!log) return failed(log.error());
  tools::print_json({{"ready", true}, {"replica", options->replica.value}, {"pid", getpid()}});
  std::atomic<bool> stop{false};
  std::thread application([&] { Application(**log, ***cells).run(stop); });
  tools::await_end(signals, true);
  stop.store(true);
  application.join();
  server->reset();
  (*engine)->close();
  return 0;
}

}  // namespace caisson::bench
