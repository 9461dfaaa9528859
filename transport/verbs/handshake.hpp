// SPDX-License-Identifier: BSD-3-Clause
// How two endpoints that know nothing of each other come to connect both halves of a reliable
// connection, and connect them anew after one has failed: over messages that may be lost, repeated
// and late, and whatever of the two is replaced by a successor meanwhile. Pure: no adapter.
//
// A connection is named by the lives of both endpoints and a session number, which counts up. Each
// says what it knows; whoever hears of a later session follows.
#pragma once

#include <cstdint>

namespace caisson::transport::verbs {

struct Acquaintance {
  uint64_t life = 0;       // of who says so: random, never 0
  uint64_t your_life = 0;  // of who hears it, as far as known; 0: not at all
  uint32_t session = 0;
  bool connected = false;  // its half is, in that session
  bool heard = false;      // … and it knows that ours is
};

class Handshake {
 public:
  explicit Handshake(uint64_t own_life) : own_life_(own_life) {}

  enum class Step : uint8_t {
    nothing,
    connect,  // our half, to what came with the message; then connected() or failed()
    forget,   // the other one is gone, or has begun anew: whatever leads there is of no use
  };
  Step hear(const Acquaintance& said);
  void connected() { connected_ = true; }
  // Our half does not work, or no longer: a new session begins.
  void failed();

  bool is_connected() const { return connected_; }
  // So is the other half: what we send is answered.
  bool is_open() const { return connected_ && other_connected_; }
  uint32_t session() const { return session_; }
  uint64_t peer_life() const { return peer_life_; }

  // What to say now, if anything: at once where the other one needs it, else again and again, ever
  // more seldom, until both are connected.
  bool due(uint64_t now_ns) const { return !quiet() && now_ns >= say_ns_; }
  Acquaintance say(uint64_t now_ns);

 private:
  bool quiet() const { return is_open() && !owes_; }
  void speak_at_once();

  const uint64_t own_life_;
  uint64_t peer_life_ = 0;
  uint32_t session_ = 0;
  bool connected_ = false;
  bool other_connected_ = false;
  bool owes_ = true;  // the other one has to hear from us
  uint64_t say_ns_ = 0;
  uint64_t pause_ns_ = 0;
};

}  // namespace caisson::transport::verbs
