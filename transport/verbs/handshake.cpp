// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/handshake.hpp"

#include <algorithm>

namespace caisson::transport::verbs {

namespace {

constexpr uint64_t kPauseMin_ns = 2'000'000;
constexpr uint64_t kPauseMax_ns = 500'000'000;

}  // namespace

Handshake::Step Handshake::hear(const Acquaintance& said) {
  if (said.life == 0 || said.life == own_life_) return Step::nothing;
  const bool another = said.life != peer_life_;
  if (another) {
    peer_life_ = said.life;
    session_ = 0;
    connected_ = false;
    pause_ns_ = 0;
  }
  const bool knows_us = said.your_life == own_life_;
  if (!knows_us || said.session < session_) {
    owes_ = true;
    say_ns_ = 0;
    return another ? Step::forget : Step::nothing;
  }
  // Where nobody has begun one yet, it is the first.
  const uint32_t theirs = std::max(said.session, 1u);
  if (theirs > session_) {
    session_ = theirs;
    connected_ = false;
  }
  // It may lack what our half is in this session.
  if (!said.connected || said.session < theirs) {
    owes_ = true;
    say_ns_ = 0;
  }
  return connected_ ? Step::nothing : Step::connect;
}

void Handshake::failed() {
  ++session_;
  connected_ = false;
  owes_ = true;
}

Acquaintance Handshake::say(uint64_t now_ns) {
  pause_ns_ = std::clamp(2 * pause_ns_, kPauseMin_ns, kPauseMax_ns);
  say_ns_ = now_ns + pause_ns_;
  if (connected_) {
    owes_ = false;
    pause_ns_ = 0;
  }
  return {own_life_, peer_life_, session_, connected_};
}

}  // namespace caisson::transport::verbs
