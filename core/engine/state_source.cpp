// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/state_source.hpp"

#include <utility>

namespace caisson::engine {

StateSource::StateSource(StateLog& log, StateHook* hook, ReplicaId self, StateSend send)
    : log_(log), hook_(hook), self_(self), send_(std::move(send)) {}

// The snapshot that is asked for is open afterwards.
Result<void> StateSource::open(const control::StateFrame& ask) {
  if (hook_ == nullptr) return fail(Code::unsupported, "no application state is served here");
  // Who was never admitted, is damaged or was dismissed speaks for nobody.
  if (!log_.votes()) return fail(Code::not_leader, "this replica has no vote");
  const bool suits = reading_ && report_.snapshot.position >= ask.position;
  if (suits && (ask.identity == 0 || ask.identity == report_.snapshot.identity)) return {};
  rest();
  // What the target will need behind the snapshot is not trimmed meanwhile.
  log_.hold(ask.position);
  auto opened = hook_->begin_reading(ask.position, ask.identity);
  if (!opened) {
    log_.hold(std::nullopt);
    return tl::unexpected(std::move(opened.error()));
  }
  reading_ = true;
  report_.snapshot = *opened;
  if (opened->identity == 0 || opened->position < ask.position ||
      opened->position > log_.committed() ||
      (ask.identity != 0 && opened->identity != ask.identity)) {
    rest();
    return fail(Code::internal,
                "the application's snapshot is not what was asked for: correct its begin_reading");
  }
  log_.hold(opened->position);
  return {};
}

Result<size_t> StateSource::read(const control::StateFrame& ask) {
  piece_.resize(ask.bytes_max);
  auto count = hook_->read(ask.offset, piece_);
  if (!count) return count;
  const uint64_t whole = report_.snapshot.bytes;
  if (*count > piece_.size() ||
      (whole != kStateBytesUnknown && ask.offset <= whole && *count > whole - ask.offset)) {
    return fail(Code::internal, "the application's read gives more than there is: correct it");
  }
  return count;
}

size_t StateSource::answer(const control::StateFrame& ask, uint64_t now_ns) {
  control::StateFrame give;
  give.log = log_.identity();
  give.from = self_;
  give.to = ask.from;
  give.kind = control::StateKind::give;
  give.nonce = ask.nonce;
  const auto opened = open(ask);
  const auto count = opened ? read(ask) : Result<size_t>(tl::unexpected(opened.error()));
  if (!count) {
    report_.error = count.error();
    give.code = count.error().code == Code::ok ? Code::internal : count.error().code;
    send_(ask.from, give);
    return 0;
  }
  asked_ns_ = now_ns;
  give.identity = report_.snapshot.identity;
  give.position = report_.snapshot.position;
  give.state_bytes = report_.snapshot.bytes;
  give.offset = ask.offset;
  give.bytes = std::span(piece_).first(*count);
  give.last = give.state_bytes == kStateBytesUnknown ? *count < ask.bytes_max
                                                     : ask.offset + *count >= give.state_bytes;
  if (!give.last && *count == 0) {
    report_.error = Error{Code::internal, "the application's snapshot ends too early: correct it"};
    give.code = Code::internal;
  } else {
    report_.error.reset();
    report_.peer = ask.from;
    report_.done_bytes = ask.offset + *count;
  }
  send_(ask.from, give);
  return *count;
}

void StateSource::keep(uint64_t now_ns) {
  if (reading_ && now_ns - asked_ns_ >= kPatienceNs) rest();
}

void StateSource::rest() {
  if (!reading_) return;
  reading_ = false;
  report_ = {};
  hook_->end_reading();
  log_.hold(std::nullopt);
}

}  // namespace caisson::engine
