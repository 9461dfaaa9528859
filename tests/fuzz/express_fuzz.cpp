// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes in the slot of a peer: dropped, unless they are the very bytes that the peer
// sealed; and those are believed once.
#include "core/engine/express.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/own_post.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  fuzz::OwnPost post;
  engine::Express& express = post.express;
  require(post.send_genuine(), "there is a key and room");
  const auto genuine = post.slot;
  const auto bytes = fuzz::as_bytes(data, size);

  ReplicaId from;
  std::string frame;
  post.slot.assign(bytes.begin(), bytes.end());
  const bool same = post.slot == genuine;
  const bool believed = express.receive(from, frame);
  require(believed == same, "only what the peer sealed is believed");
  require(!believed || frame == "genuine", "and read as it was meant");

  post.slot = genuine;
  require(express.receive(from, frame) != same, "once");
  return 0;
}
