// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/state_courier.hpp"

#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "core/engine/engine_clock.hpp"
#include "core/engine/engine_parts.hpp"
#include "core/engine/state_source.hpp"
#include "core/engine/state_target.hpp"
#include "core/replication/context.hpp"

namespace caisson::engine {

namespace {

constexpr uint64_t kLookEveryNs = 20'000'000;
// More are dropped, as a lossy link would: every question is asked again.
constexpr size_t kArrivalsMax = 64;

class LogOfCourier final : public StateLog {
 public:
  LogOfCourier(LogImpl& log, LogIdentity identity, ReplicaId self, ReplicaSet peers)
      : log_(log), identity_(identity), self_(self), peers_(peers) {}
  ~LogOfCourier() override { hold(std::nullopt); }

  LogIdentity identity() const override { return identity_; }
  Position base_wanted() const override {
    return log_.closed() ? Position{} : log_.published().base_wanted;
  }
  Position committed() const override { return log_.state().committed(); }
  Position trimmed() const override { return log_.state().trimmed(); }
  bool votes() const override {
    const replication::ReplicaStatus now = log_.published();
    const log::Membership& view = now.membership;
    return !log_.closed() && now.role != replication::Role::damaged && view.voters.has(self_) &&
           view.births[self_.value] == now.birth;
  }
  ReplicaSet peers() const override { return peers_; }
  // Nobody who may write here yet, but whose term was promised: its number is in the term (P3).
  ReplicaId leader() const override { return replication::owner(log_.published().promised); }
  void mark_installed(Position p) override { log_.mark_installed(p); }
  void hold(std::optional<Position> p) override {
    if (!p.has_value()) {
      if (hold_ != nullptr) log_.holds().give_back(*std::exchange(hold_, nullptr));
    } else if (hold_ == nullptr) {
      // With every seat taken the trim may overtake the transfer, which then begins anew.
      hold_ = log_.holds().take(*p, "state transfer");
    } else {
      hold_->move(*p);
    }
  }

 private:
  LogImpl& log_;
  const LogIdentity identity_;
  const ReplicaId self_;
  const ReplicaSet peers_;
  ReaderHolds::Seat* hold_ = nullptr;
};

nlohmann::json json_of(const StateReport& report) {
  nlohmann::json json = {{"replica", report.peer.value},
                         {"position", report.snapshot.position.value},
                         {"bytes_done", report.done_bytes}};
  if (report.snapshot.bytes != kStateBytesUnknown) json["bytes_of"] = report.snapshot.bytes;
  if (report.error.has_value()) {
    json["error"] = {{"code", std::string(caisson::name(report.error->code))},
                     {"message", report.error->message}};
  }
  return json;
}

}  // namespace

// What there is for one log.
struct StateCourier::Post {
  Post(StateCourier& courier, LogImpl& log, const EngineOptions& options, uint64_t seed)
      : hook(log.options().state),
        ground(log, {options.cluster, log.options().id}, options.replica, others_of(options)),
        send([&courier](ReplicaId to, const control::StateFrame& frame) {
          courier.send_(to, control::encode_state(frame));
        }),
        source(ground, hook.get(), options.replica, send) {
    if (hook != nullptr) {
      target.emplace(ground, *hook, options.replica, seed, send, courier.pace_);
    }
  }
  const std::shared_ptr<StateHook> hook;
  LogOfCourier ground;
  const StateSend send;
  StateSource source;
  std::optional<StateTarget> target;
  std::optional<Error> told;  // the target's error that was last reported
  // Guarded by mutex_.
  StateReport given;
  StateReport received;
};

StateCourier::StateCourier(const EngineOptions& options,
                           const std::vector<std::unique_ptr<LogImpl>>& logs, Send send,
                           Problem problem)
    : self_(options.replica),
      send_(std::move(send)),
      problem_(std::move(problem)),
      has_hooks_(std::any_of(logs.begin(), logs.end(),
                             [](const auto& log) { return log->options().state != nullptr; })),
      pace_(options.state_bytes_per_s) {
  for (const auto& log : logs) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = Clock::instance().now_ns();
    posts_.push_back(std::make_unique<Post>(*this, *log, options, seed));
  }
}

StateCourier::~StateCourier() { stop(); }

Result<void> StateCourier::start() {
  if (!has_hooks_) return {};
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return fail(Code::io, std::string("cannot start the thread that carries states: ") +
                              error.what() + "; raise the limit on threads (ulimit -u)");
  }
  pthread_setname_np(thread_.native_handle(), "caisson-state");
  return {};
}

void StateCourier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  for (const auto& post : posts_) {
    post->source.rest();
    post->ground.hold(std::nullopt);
  }
}

void StateCourier::on_frame(ReplicaId from, std::string frame) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_ || arrived_.size() >= kArrivalsMax) return;
    arrived_.push_back({from, std::move(frame)});
    if (has_hooks_) return wake_.notify_all();
  }
  // No log has a hook: whoever asks is told so here.
  std::deque<Arrival> arrivals;
  {
    const std::lock_guard lock(mutex_);
    arrivals.swap(arrived_);
  }
  serve(std::move(arrivals), Clock::instance().now_ns());
}

void StateCourier::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const uint64_t now_ns = Clock::instance().now_ns();
    const uint64_t due_ns = next_due_ns(now_ns);
    if (arrived_.empty() && due_ns > now_ns) {
      wake_.wait_for(lock, std::chrono::nanoseconds(due_ns - now_ns));
      if (stop_) return;
    }
    std::deque<Arrival> arrivals;
    arrivals.swap(arrived_);
    lock.unlock();
    serve(std::move(arrivals), Clock::instance().now_ns());
    lock.lock();
  }
}

uint64_t StateCourier::next_due_ns(uint64_t now_ns) const {
  const uint64_t look_ns = now_ns + kLookEveryNs;
  return pace_.due(now_ns) ? look_ns : std::min(look_ns, pace_.due_ns());
}

void StateCourier::serve(std::deque<Arrival> arrivals, uint64_t now_ns) {
  for (const Arrival& arrival : arrivals) take(arrival, now_ns);
  answer_asked(now_ns);
  for (const auto& post : posts_) {
    post->source.keep(now_ns);
    if (post->target.has_value()) post->target->turn(now_ns);
  }
  publish();
}

void StateCourier::take(const Arrival& arrival, uint64_t now_ns) {
  const auto frame = control::decode_state(std::as_bytes(std::span(arrival.frame)));
  if (!frame) {
    problem_(frame.error());
    for (const auto& post : posts_) {
      if (post->target.has_value()) post->target->take_damaged(now_ns);
    }
    return;
  }
  const auto found = std::find_if(posts_.begin(), posts_.end(), [&](const auto& post) {
    return post->ground.identity() == frame->log;
  });
  if (frame->from != arrival.from || frame->to != self_ || found == posts_.end()) {
    return problem_({Code::wrong_cluster, "a piece of a state that replica " +
                                              std::to_string(arrival.from.value) +
                                              " sent names another sender, receiver or log; "
                                              "compare the configurations"});
  }
  if (frame->kind == control::StateKind::ask) {
    if (asked_.size() < kArrivalsMax) asked_.push_back(arrival);
  } else if ((*found)->target.has_value()) {
    (*found)->target->take(*frame, now_ns);
  }
}

// Questions wait for the pace, in the order in which they came.
void StateCourier::answer_asked(uint64_t now_ns) {
  while (!asked_.empty() && pace_.due(now_ns)) {
    const Arrival arrival = std::move(asked_.front());
    asked_.pop_front();
    const auto ask = control::decode_state(std::as_bytes(std::span(arrival.frame)));
    for (const auto& post : posts_) {
      if (post->ground.identity() != ask->log) continue;
      pace_.spend(now_ns, post->source.answer(*ask, now_ns));
    }
  }
}

void StateCourier::publish() {
  for (const auto& post : posts_) {
    if (post->target.has_value()) {
      const auto& error = post->target->report().error;
      const bool news = error.has_value() && (!post->told || post->told->code != error->code);
      if (news) problem_(*error);
      post->told = error;
    }
    const std::lock_guard lock(mutex_);
    post->given = post->source.report();
    if (post->target.has_value()) post->received = post->target->report();
  }
}

nlohmann::json StateCourier::status(uint32_t log) const {
  const std::lock_guard lock(mutex_);
  const Post& post = *posts_[log];
  nlohmann::json json = json_of(post.received);
  json["hook"] = post.hook != nullptr;
  json["phase"] = std::string(name(post.received.phase));
  json["wanted"] = post.received.wanted.value;
  json["bytes_per_s"] = post.received.bytes_per_s;
  json["attempts"] = post.received.attempts;
  if (post.given.peer.value != 0 || post.given.error.has_value()) {
    json["serving"] = json_of(post.given);
  }
  return json;
}

}  // namespace caisson::engine
