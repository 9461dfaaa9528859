// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/poller.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>

#include "core/engine/scheduling.hpp"

namespace caisson::engine {

namespace {

// How often a poller looks at its peers' heartbeats. Each look fetches a line that the peer's
// processor owns, so not every turn; well below every silence that is to be told from a pause.
constexpr uint64_t kDetectionIntervalMaxNs = 50'000;

constexpr uint64_t kTurnsPerReport = 4096;
constexpr uint64_t kIntroductionIntervalNs = 2'000'000;

uint64_t detection_interval_ns(const control::FailureDetectorOptions& options) {
  return std::min(
      {kDetectionIntervalMaxNs, options.suspect_after_ns / 8, options.link_hint_ns / 8});
}

}  // namespace

void BeatGate::beat() {
  const uint64_t arrived = arrived_.load(std::memory_order_acquire) | bit_;
  if (index_ != 0) {
    if (arrived != arrived_.load(std::memory_order_relaxed)) {
      arrived_.fetch_or(bit_, std::memory_order_release);
    }
    return;
  }
  if (arrived != all_) return;
  arrived_.store(0, std::memory_order_release);
  node_.beat();
}

// What a poller does after a turn without work.
class Poller::Idler {
 public:
  explicit Idler(Poller& poller) : poller_(poller) {}

  void after(uint32_t work, uint64_t now_ns) {
    if (work != 0 || poller_.options_.idle == Idle::busy) {
      idle_since_ns_ = now_ns;
      return;
    }
    const uint64_t idle_ns = now_ns - idle_since_ns_;
    if (idle_ns < poller_.options_.spin_ns) {
      _mm_pause();
    } else if (poller_.options_.idle == Idle::yield || idle_ns < give_way_ns_) {
      give_way();
    } else {
      poller_.naps_.fetch_add(1, std::memory_order_relaxed);
      poller_.mailbox_.sleep(kNapNs);
    }
  }

 private:
  // Before the first nap: long enough that a stream of appends with pauses below it never meets
  // one. On a core that others share, giving way hands whole slices to whoever never sleeps, and a
  // thread that sleeps is preferred when it wakes.
  static constexpr uint64_t kYieldNs = 1'000'000;
  Poller& poller_;
  const uint64_t give_way_ns_ = poller_.options_.core >= 0 ? kYieldNs : 0;
  uint64_t idle_since_ns_ = 0;
};

Poller::Poller(const PollerOptions& options, std::unique_ptr<transport::Heartbeats> heartbeats)
    : options_(options),
      clock_(Clock::instance()),
      heartbeats_(std::move(heartbeats)),
      detector_(options.detection, *heartbeats_, options.peers),
      detection_interval_ns_(detection_interval_ns(options.detection)) {}

Poller::~Poller() { stop(); }

Result<void> Poller::start() {
  if (options_.runs_inline) return {};
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return fail(Code::io, std::string("cannot start a poller thread: ") + error.what() +
                              "; raise the limit on threads (ulimit -u)");
  }
  const std::string thread_name = "caisson-poll-" + std::to_string(options_.index);
  pthread_setname_np(thread_.native_handle(), thread_name.c_str());
  if (options_.priority != 0) {
    if (const int error = set_priority(thread_.native_handle(), options_.priority); error != 0) {
      stop();
      return fail(Code::denied, "poller " + std::to_string(options_.index) +
                                    " cannot have the real-time priority " +
                                    std::to_string(options_.priority) + ": " +
                                    std::strerror(error) +
                                    "; raise the limit (ulimit -r, or LimitRTPRIO= of the unit), "
                                    "or set poller.priority = 0");
    }
  }
  if (options_.core < 0) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(options_.core), &set);
  if (const int error = pthread_setaffinity_np(thread_.native_handle(), sizeof set, &set);
      error != 0) {
    stop();
    return fail(Code::invalid, "cannot pin poller " + std::to_string(options_.index) + " to core " +
                                   std::to_string(options_.core) + ": " + std::strerror(error) +
                                   "; choose a core this process may run on, or -1");
  }
  return {};
}

void Poller::on_link(ReplicaId peer, bool up) {
  mailbox_.post_function([this, peer, up](uint64_t) { detector_.on_link(peer, up); });
}

uint32_t Poller::turn() {
  if (closed_) [[unlikely]]
    return 0;
  const uint64_t now_ns = look_at_clock();
  uint32_t work = 0;
  // Before the mail: whoever asks about a leader is to hear of it as it is now.
  const bool mail = mailbox_.pending();
  const bool express = express_ != nullptr && express_->pending();
  if (mail || express || now_ns >= detect_at_ns_) {
    detect_at_ns_ = now_ns + detection_interval_ns_;
    if (detector_.poll(now_ns) != 0) report_suspicions();
  }
  if (now_ns >= introduce_at_ns_) tell_introductions(now_ns);
  const bool gather = logs_.size() > 1;
  if (gather) outgoing_.begin();
  if (express) work += take_express(now_ns);
  if (mail) work += mailbox_.run(now_ns);
  for (LogImpl* const log : logs_) work += log->turn(now_ns);
  if (gather) outgoing_.end();
  return work;
}

void Poller::tell_introductions(uint64_t now_ns) {
  introduce_at_ns_ = now_ns + kIntroductionIntervalNs;
  for (const auto& each : introductions_) each->tell(now_ns);
}

uint32_t Poller::take_express(uint64_t now_ns) {
  uint32_t taken = 0;
  ReplicaId from;
  while (taken <= kReplicaIdMax && express_->receive(from, express_frame_)) {
    express_handler_->on_express(from, express_frame_, *this, now_ns);
    ++taken;
  }
  return taken;
}

void Poller::report_suspicions() {
  for (uint64_t bits = options_.peers.bits; bits != 0; bits &= bits - 1) {
    const ReplicaId peer{static_cast<uint8_t>(__builtin_ctzll(bits))};
    const uint64_t bit = uint64_t{1} << peer.value;
    const bool suspected = detector_.suspected(peer);
    if (suspected == ((suspected_bits_ & bit) != 0)) continue;
    suspected_bits_ ^= bit;
    Event event;
    event.kind = suspected ? Event::Kind::suspect : Event::Kind::recovered;
    event.replica = peer;
    event.evidence = detector_.evidence(peer);
    events_.put(event);
  }
}

void Poller::run() {
  // Naps end when they should, not up to 50 us later.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  if (options_.priority == 0) prefer_short_turns();
  Idler idler(*this);
  uint64_t turns = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const uint32_t work = turn();
    if (turns++ % kTurnsPerReport == 0) {
      turns_.store(turns, std::memory_order_relaxed);
      running_on_.store(sched_getcpu(), std::memory_order_relaxed);
    }
    idler.after(work, now_ns_);
  }
  close_logs();
}

void Poller::close_logs() {
  const uint64_t now_ns = look_at_clock();
  for (LogImpl* const log : logs_) log->close(now_ns);
  mailbox_.close_and_run(now_ns);
}

void Poller::stop() {
  if (!options_.runs_inline && thread_.joinable()) {
    stop_.store(true, std::memory_order_relaxed);
    thread_.join();
    closed_ = true;  // its last act was to close the logs
    return;
  }
  if (closed_) return;
  // Inline, or a thread that never started.
  closed_ = true;
  close_logs();
}

}  // namespace caisson::engine
