// SPDX-License-Identifier: BSD-3-Clause
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "caisson/caisson.hpp"
#include "caisson/checkpointed_state.hpp"
#include "core/engine/config.hpp"
#include "core/engine/node_server.hpp"
#include "tests/points/application.hpp"
#include "tests/points/board.hpp"
#include "tools/command.hpp"
#include "tools/process.hpp"

namespace caisson::points {

namespace {

constexpr uint64_t kWaitNs = 20'000'000;
constexpr uint64_t kEntriesPerCommit = 64;

class Application final : public StateHook {
 public:
  explicit Application(std::unique_ptr<CheckpointedState> disk) : disk_(std::move(disk)) {
    recall();
  }

  // ---- The hook: on the engine's thread for states ----

  Result<StateSnapshot> begin_reading(Position wanted, uint64_t identity) override {
    const std::lock_guard lock(mutex_);
    const Checkpoint durable = disk_->load();
    const uint64_t now = durable.position.value;
    if (identity != 0 && identity != now) return fail(Code::not_found, "the state has moved on");
    if (durable.position < wanted || now == 0) return fail(Code::not_yet, "not applied yet");
    read_.assign(durable.bytes.begin(), durable.bytes.end());
    return StateSnapshot{now, durable.position, read_.size()};
  }
  Result<size_t> read(uint64_t offset, std::span<std::byte> out) override {
    if (pass(at("state.read"))) return fail(Code::io, "the state cannot be read");
    const size_t count = std::min<size_t>(out.size(), read_.size() - offset);
    std::memcpy(out.data(), read_.data() + offset, count);
    return count;
  }

  Position installed() override {
    const std::lock_guard lock(mutex_);
    return disk_->load().position;
  }
  Result<void> begin_writing(const StateSnapshot& snapshot) override {
    if (pass(at("state.begin"))) return fail(Code::no_space, "there is no room for a state");
    arriving_ = snapshot.position;
    written_.clear();
    return {};
  }
  Result<void> write(uint64_t, std::span<const std::byte> bytes) override {
    if (pass(at("state.write"))) return fail(Code::no_space, "there is no room for a piece");
    written_.insert(written_.end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<void> finish() override {
    const std::lock_guard lock(mutex_);
    if (pass(at("state.finish"))) return fail(Code::io, "the state cannot be written");
    const Code code = disk_->commit(arriving_, written_);
    if (code != Code::ok) return fail(code, "the state cannot be written");
    (void)pass(at("state.finished"));
    recall();
    return {};
  }

  // ---- The application's thread ----

  void run(Log& log) {
    std::unique_ptr<Subscription> entries;
    Position next;
    while (!stop_.load()) {
      if (entries == nullptr || next != expected()) {
        next = expected();
        auto subscribed = log.subscribe(next);
        if (subscribed) entries = std::move(*subscribed);
      }
      Entry entry;
      const Code code = entries != nullptr ? entries->next_wait(entry, kWaitNs) : Code::trimmed;
      if (code == Code::ok) {
        next = apply(entry, next);
      } else if (code != Code::timed_out) {
        entries.reset();
        std::this_thread::sleep_for(std::chrono::nanoseconds(kWaitNs));
      }
      if (code != Code::ok || uncommitted_ >= kEntriesPerCommit) commit(log);
    }
    Entry entry;
    while (entries != nullptr && entries->next(entry) == Code::ok) next = apply(entry, next);
    commit(log);
  }
  void stop() { stop_.store(true); }

 private:
  // What is durable is what there is.
  void recall() {
    const Checkpoint durable = disk_->load();
    state_.set(durable.bytes);
    applied_ = durable.position;
    uncommitted_ = 0;
  }
  Position expected() {
    const std::lock_guard lock(mutex_);
    return applied_ + 1;
  }
  // Unless another state has come meanwhile.
  Position apply(const Entry& entry, Position next) {
    const std::lock_guard lock(mutex_);
    if (next != applied_ + 1) return next;
    state_.apply(entry.payload);
    applied_ = entry.position;
    ++uncommitted_;
    return applied_ + 1;
  }
  void commit(Log& log) {
    Position done;
    {
      const std::lock_guard lock(mutex_);
      if (uncommitted_ == 0) return;
      (void)pass(at("apply.commit"));
      if (disk_->commit(applied_, state_.bytes()) != Code::ok) return;
      uncommitted_ = 0;
      done = applied_;
    }
    (void)pass(at("apply.mark"));
    (void)log.mark_applied(done);
  }

  std::mutex mutex_;
  // Guarded by mutex_.
  const std::unique_ptr<CheckpointedState> disk_;
  AppliedState state_;
  Position applied_;
  std::atomic<uint64_t> uncommitted_{0};
  // The engine's thread.
  std::vector<std::byte> read_;
  Position arriving_;
  std::vector<std::byte> written_;
  std::atomic<bool> stop_{false};
};

Result<void> run_node(const std::string& configuration, const sigset_t& signals) {
  auto options = engine::load_config(configuration);
  if (!options) return tl::unexpected(options.error());
  LogOptions& log = options->logs.front();
  auto disk = CheckpointedState::open(state_path(options->directory, log.name),
                                      AppliedState::kBytes, options->persistence);
  if (!disk) return tl::unexpected(disk.error());
  const auto application = std::make_shared<Application>(std::move(*disk));
  log.auto_apply = false;
  log.state = application;
  auto engine = Engine::open(*options);
  if (!engine) return tl::unexpected(engine.error());
  auto server = engine::NodeServer::start(**engine);
  if (!server) return tl::unexpected(server.error());
  const auto opened = (*engine)->open_log(log.name);
  if (!opened) return tl::unexpected(opened.error());
  tools::print_json({{"ready", true}, {"replica", options->replica.value}});
  std::thread applies([&] { application->run(**opened); });
  tools::await_end(signals, false);
  application->stop();
  applies.join();
  server->reset();
  (*engine)->close();
  return {};
}

}  // namespace

int run_application(const std::string& configuration) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto done = run_node(configuration, signals);
  return static_cast<int>(done ? tools::Exit::ok : tools::report(done.error(), true));
}

}  // namespace caisson::points
