// SPDX-License-Identifier: BSD-3-Clause
// A poller owns its logs: one thread, pinned where the placement says so, or inline the
// application's own thread. Nothing is shared between pollers (R39).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "caisson/options.hpp"
#include "core/control/failure_detector.hpp"
#include "core/engine/engine_clock.hpp"
#include "core/engine/engine_events.hpp"
#include "core/engine/engine_wait.hpp"
#include "core/engine/express.hpp"
#include "core/engine/introductions.hpp"
#include "core/engine/log_impl.hpp"
#include "core/engine/poller_mailbox.hpp"
#include "core/engine/turn_mail.hpp"
#include "transport/fabric.hpp"

namespace caisson::engine {

// A node is as alive as its slowest poller: the first one advances the heartbeat, and only when
// every other one has taken a turn since the last time (fate sharing, R27).
class BeatGate final : public transport::Heartbeats {
 public:
  BeatGate(transport::Heartbeats& node, std::atomic<uint64_t>& arrived, uint32_t index,
           uint32_t count)
      : node_(node),
        arrived_(arrived),
        index_(index),
        bit_(uint64_t{1} << index),
        all_((uint64_t{1} << count) - 1) {}
  void beat() override;
  transport::Beat read(ReplicaId peer) const override { return node_.read(peer); }

 private:
  transport::Heartbeats& node_;
  std::atomic<uint64_t>& arrived_;
  const uint32_t index_;
  const uint64_t bit_;
  const uint64_t all_;
};
inline constexpr uint32_t kPollersMax = 63;
class Poller;

struct PollerOptions {
  uint32_t index = 0;
  bool runs_inline = false;
  int core = -1;  // -1: not pinned
  Idle idle = Idle::adaptive;
  uint64_t spin_ns = 20'000;
  uint32_t priority = 0;  // 0: an ordinary thread
  control::FailureDetectorOptions detection;
  transport::ReplicaSet peers;  // without self
};

// Takes what has come by express. Called on the poller's thread.
class ExpressHandler {
 public:
  virtual ~ExpressHandler() = default;
  virtual void on_express(ReplicaId from, const std::string& frame, Poller& here,
                          uint64_t now_ns) = 0;
};

class Poller {
 public:
  Poller(const PollerOptions& options, std::unique_ptr<transport::Heartbeats> heartbeats);
  ~Poller();  // stops
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // ---- Set-up, before start() ----
  control::FailureDetector& detector() { return detector_; }
  void add(LogImpl& log) { logs_.push_back(&log); }
  // This poller looks after the node's express messages.
  void serve(Express& express, ExpressHandler& handler) {
    express_ = &express;
    express_handler_ = &handler;
  }
  // Looks after what `introductions` has to tell, as long as it turns.
  Introductions& introduce(std::unique_ptr<Introductions> introductions) {
    introductions_.push_back(std::move(introductions));
    return *introductions_.back();
  }
  // What its logs say to other nodes. Their messages are sent on the poller's thread.
  TurnMail& outgoing() { return outgoing_; }
  Result<void> start();

  // ---- [any thread] ----
  const TurnMail& outgoing() const { return outgoing_; }
  const PollerOptions& options() const { return options_; }
  bool runs_inline() const { return options_.runs_inline; }
  Mailbox& mailbox() { return mailbox_; }
  EventRing& events() { return events_; }  // one consumer: the housekeeper
  const Clock& clock() const { return clock_; }
  int running_on() const { return running_on_.load(std::memory_order_relaxed); }
  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  uint64_t naps() const { return naps_.load(std::memory_order_relaxed); }
  const std::vector<LogImpl*>& logs() const { return logs_; }
  void on_link(ReplicaId peer, bool up);
  // There is something for it in memory that it looks at: no need to sleep on.
  void hint() { mailbox_.hint(); }

  // Runs `job(now_ns)` on the poller's thread, and waits for it. False: the poller is closed.
  template <class Job>
  bool call(Job&& job) {
    if (options_.runs_inline) {
      if (closed_) return false;
      job(look_at_clock());
      return true;
    }
    std::atomic<bool> done{false};
    if (!mailbox_.post_function([&](uint64_t now_ns) {
          job(now_ns);
          done.store(true, std::memory_order_release);
        })) {
      return false;
    }
    Waiter waiter(kNever);
    while (!done.load(std::memory_order_acquire)) waiter.step();
    return true;
  }

  // Closes every log and ends the thread. Any thread but the poller's; idempotent.
  void stop();

  // ---- Poller's thread ----
  uint32_t turn();
  // The time of this turn. It never goes back, whatever the processors' counters say.
  uint64_t now_ns() const { return now_ns_; }
  uint64_t look_at_clock() {
    const uint64_t now = clock_.now_ns();
    if (now > now_ns_) now_ns_ = now;
    return now_ns_;
  }

 private:
  class Idler;
  void run();
  uint32_t take_express(uint64_t now_ns);
  void tell_introductions(uint64_t now_ns);
  void close_logs();
  void report_suspicions();

  const PollerOptions options_;
  const Clock& clock_;
  std::unique_ptr<transport::Heartbeats> heartbeats_;
  control::FailureDetector detector_;
  const uint64_t detection_interval_ns_;
  uint64_t now_ns_ = 0;
  uint64_t detect_at_ns_ = 0;
  uint64_t suspected_bits_ = 0;
  std::vector<LogImpl*> logs_;
  Express* express_ = nullptr;
  ExpressHandler* express_handler_ = nullptr;
  std::string express_frame_;
  std::vector<std::unique_ptr<Introductions>> introductions_;
  uint64_t introduce_at_ns_ = 0;
  Mailbox mailbox_;
  TurnMail outgoing_;
  EventRing events_;
  bool closed_ = false;  // inline: same thread; else whoever stopped it
  std::atomic<bool> stop_{false};
  std::atomic<int> running_on_{-1};
  std::atomic<uint64_t> turns_{0};
  std::atomic<uint64_t> naps_{0};
  std::thread thread_;
};

}  // namespace caisson::engine
