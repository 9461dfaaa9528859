// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/state_target.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace caisson::engine {

std::string_view name(StatePhase phase) {
  switch (phase) {
    case StatePhase::idle: return "idle";
    case StatePhase::asking: return "asking";
    case StatePhase::copying: return "copying";
    case StatePhase::pausing: return "pausing";
    case StatePhase::installed: return "installed";
  }
  return "idle";
}

StateTarget::StateTarget(StateLog& log, StateHook& hook, ReplicaId self, uint64_t seed,
                         StateSend send, StatePace& pace, const StateTargetOptions& options)
    : log_(log),
      hook_(hook),
      self_(self),
      send_(std::move(send)),
      pace_(pace),
      options_(options),
      nonce_(seed),
      pause_ns_(options.pause_min_ns) {}

void StateTarget::turn(uint64_t now_ns) {
  const Position wanted = log_.base_wanted();
  if (wanted == Position{}) {
    // The log follows, or somebody else said what is installed.
    if (report_.phase != StatePhase::idle) report_ = {};
    asked_ = false;
    pause_ns_ = options_.pause_min_ns;
    return;
  }
  report_.wanted = wanted;
  if (report_.phase == StatePhase::pausing && now_ns < resume_ns_) return;
  if (!engaged()) {
    if (report_.phase == StatePhase::installed && report_.snapshot.position >= wanted) return;
    const Position installed = hook_.installed();
    return installed >= wanted ? install(installed) : begin(now_ns);
  }
  if (report_.phase == StatePhase::copying && report_.snapshot.position < wanted) {
    return pause(now_ns, {Code::trimmed,
                          "the others have trimmed beyond the state that was being "
                          "carried; it is begun anew"});
  }
  if (!asked_) {
    if (pace_.due(now_ns)) ask(now_ns);
  } else if (now_ns - asked_ns_ >= options_.answer_within_ns) {
    ask_again(now_ns, {Code::timed_out, "replica " + std::to_string(report_.peer.value) +
                                            " does not answer when asked for the state"});
  }
}

void StateTarget::begin(uint64_t now_ns) {
  const StatePart part = hook_.held();
  const bool useful = part.snapshot.identity != 0 && part.snapshot.position >= report_.wanted;
  ++report_.attempts;
  report_.phase = StatePhase::asking;
  report_.snapshot = useful ? part.snapshot : StateSnapshot{};
  report_.done_bytes = useful ? part.bytes : 0;
  report_.bytes_per_s = 0;
  // Whoever leads has the most to do: it is asked last.
  untried_ = log_.peers() - just(self_);
  report_.peer = {};
  next_source(now_ns, {Code::not_found, "no other replica is known"});
}

void StateTarget::next_source(uint64_t now_ns, const Error& why) {
  asked_ = false;
  asks_ = 0;
  if (report_.peer.value != 0) report_.error = why;
  if (untried_.empty()) {
    if (report_.snapshot.identity != 0) {
      // Nobody has those very bytes any more: any others will do.
      report_.snapshot = {};
      report_.done_bytes = 0;
      report_.phase = StatePhase::asking;
      report_.peer = {};
      untried_ = log_.peers() - just(self_);
      if (!untried_.empty()) return next_source(now_ns, why);
    }
    return pause(now_ns, why);
  }
  const ReplicaSet others = untried_ - just(log_.leader());
  const uint64_t bits = others.empty() ? untried_.bits : others.bits;
  report_.peer = ReplicaId{static_cast<uint8_t>(__builtin_ctzll(bits))};
  untried_.remove(report_.peer);
  if (pace_.due(now_ns)) ask(now_ns);
}

void StateTarget::ask(uint64_t now_ns) {
  asked_ = true;
  asked_ns_ = now_ns;
  ++asks_;
  control::StateFrame frame;
  frame.log = log_.identity();
  frame.from = self_;
  frame.to = report_.peer;
  frame.kind = control::StateKind::ask;
  frame.nonce = ++nonce_;
  frame.identity = report_.snapshot.identity;
  frame.position = report_.wanted;
  frame.offset = report_.done_bytes;
  frame.bytes_max = std::min(options_.piece_bytes, control::kStateChunkBytesMax);
  send_(report_.peer, frame);
}

void StateTarget::ask_again(uint64_t now_ns, const Error& why) {
  if (asks_ >= options_.asks_max) return next_source(now_ns, why);
  report_.error = why;
  ask(now_ns);
}

void StateTarget::take_damaged(uint64_t now_ns) {
  if (!engaged() || !asked_) return;
  ask_again(now_ns, {Code::damaged, "a piece of the state arrived damaged"});
}

void StateTarget::take(const control::StateFrame& give, uint64_t now_ns) {
  if (!engaged() || !asked_ || give.from != report_.peer || give.nonce != nonce_) return;
  if (give.code != Code::ok) {
    return next_source(now_ns, {give.code, "replica " + std::to_string(give.from.value) +
                                               " does not give the state (" +
                                               std::string(caisson::name(give.code)) + ")"});
  }
  if (!adopt(give, now_ns)) return;
  write(give, now_ns);
}

// The answer belongs to the snapshot that is being carried, or begins one.
bool StateTarget::adopt(const control::StateFrame& give, uint64_t now_ns) {
  const StateSnapshot theirs{give.identity, give.position, give.state_bytes};
  const StateSnapshot& ours = report_.snapshot;
  const bool begins = ours.identity == 0;
  const bool same = theirs.identity == ours.identity && theirs.position == ours.position &&
                    theirs.bytes == ours.bytes;
  if (give.offset != report_.done_bytes || theirs.position < report_.wanted ||
      give.bytes.size() > options_.piece_bytes || (!begins && !same)) {
    next_source(now_ns, {Code::invalid, "replica " + std::to_string(give.from.value) +
                                            " gives another state than it was asked for"});
    return false;
  }
  if (report_.phase != StatePhase::copying) {
    if (begins) {
      if (const auto begun = hook_.begin_writing(theirs); !begun) {
        pause(now_ns, begun.error());
        return false;
      }
      report_.snapshot = theirs;
    }
    report_.phase = StatePhase::copying;
    begun_ns_ = now_ns;
    begun_bytes_ = give.offset;
  }
  return true;
}

void StateTarget::write(const control::StateFrame& give, uint64_t now_ns) {
  asked_ = false;
  asks_ = 0;
  if (!give.bytes.empty()) {
    if (const auto written = hook_.write(give.offset, give.bytes); !written) {
      return pause(now_ns, written.error());
    }
  }
  pace_.spend(now_ns, give.bytes.size());
  report_.done_bytes += give.bytes.size();
  report_.error.reset();
  pause_ns_ = options_.pause_min_ns;
  const uint64_t took_us = std::max<uint64_t>((now_ns - begun_ns_) / 1000, 1);
  report_.bytes_per_s = (report_.done_bytes - begun_bytes_) * 1'000'000 / took_us;
  if (give.last) return finish(now_ns);
  if (pace_.due(now_ns)) ask(now_ns);
}

void StateTarget::finish(uint64_t now_ns) {
  if (const auto finished = hook_.finish(); !finished) return pause(now_ns, finished.error());
  const Position installed = hook_.installed();
  if (installed < report_.snapshot.position) {
    return pause(now_ns, {Code::internal,
                          "the application has finished a state that it does not hold: correct its "
                          "finish, or installed"});
  }
  install(installed);
}

void StateTarget::install(Position position) {
  asked_ = false;
  report_.phase = StatePhase::installed;
  report_.snapshot.position = position;
  log_.mark_installed(position);
}

void StateTarget::pause(uint64_t now_ns, const Error& why) {
  asked_ = false;
  report_.phase = StatePhase::pausing;
  report_.error = why;
  report_.bytes_per_s = 0;
  resume_ns_ = now_ns + pause_ns_;
  pause_ns_ = std::min(pause_ns_ * 2, options_.pause_max_ns);
}

}  // namespace caisson::engine
