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
  if (said.life != peer_life_) {
    // Who is new to us, or was dead long before its message came: only the living take part in a
    // session that has not begun yet.
    peer_life_ = said.life;
    session_ = std::max(session_, said.session) + 1;
    connected_ = other_connected_ = false;
    pause_ns_ = 0;
    speak_at_once();
    return Step::forget;
  }
  if (said.your_life != own_life_ || said.session < session_) {
    speak_at_once();
    return Step::nothing;
  }
  if (said.session > session_) {
    session_ = said.session;
    connected_ = other_connected_ = false;
  }
  other_connected_ = other_connected_ || said.connected;
  // It lacks what our half is in this session.
  if (!said.connected || (connected_ && !said.heard)) speak_at_once();
  return connected_ ? Step::nothing : Step::connect;
}

void Handshake::speak_at_once() {
  owes_ = true;
  say_ns_ = 0;
}

void Handshake::failed() {
  ++session_;
  connected_ = other_connected_ = false;
  owes_ = true;
}

Acquaintance Handshake::say(uint64_t now_ns) {
  pause_ns_ = std::clamp(2 * pause_ns_, kPauseMin_ns, kPauseMax_ns);
  say_ns_ = now_ns + pause_ns_;
  if (connected_) {
    owes_ = false;
    if (other_connected_) pause_ns_ = 0;
  }
  return {own_life_, peer_life_, session_, connected_, is_open()};
}

}  // namespace caisson::transport::verbs
