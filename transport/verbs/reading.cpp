// SPDX-License-Identifier: BSD-3-Clause
#include "transport/verbs/reading.hpp"

#include <sys/random.h>

namespace caisson::transport::verbs {

namespace {

// Where the packets of a session begin: both ends know it, and no two sessions in a row overlap.
uint32_t psn_of(uint64_t life, uint32_t session) {
  return (static_cast<uint32_t>(life) + session * 0x9e3779u) & kPsnMask;
}

}  // namespace

uint64_t random_word() {
  uint64_t word = 0;
  while (::getrandom(&word, sizeof word, 0) != static_cast<ssize_t>(sizeof word) || word == 0) {
  }
  return word;
}

Code connect_for_reading(const Device& device, QueuePair& half, Handshake& handshake,
                         const Introduction& theirs, uint64_t own_life) {
  if (const Code code = device.paths().find(theirs.address); code != Code::ok) return code;
  const uint32_t session = handshake.session();
  const Remote remote{theirs.address, theirs.read_pair};
  Code code = half.listen(remote, psn_of(handshake.peer_life(), session), IBV_ACCESS_REMOTE_READ);
  if (code == Code::ok) code = half.speak(psn_of(own_life, session));
  if (code != Code::ok) {
    device.paths().forget(theirs.address);
    handshake.failed();
    return code;
  }
  handshake.connected();
  return Code::ok;
}

}  // namespace caisson::transport::verbs
