// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes in the slot of a peer: dropped, unless they are the very bytes that the peer
// sealed; and those are believed once.
#include "core/engine/express.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/one_slot.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  fuzz::OneSlot box;
  engine::Express express(box);
  express.set_key(fuzz::kSlotSender, engine::LinkHalf::sending, &fuzz::kSlotKey);
  express.set_key(fuzz::kSlotSender, engine::LinkHalf::receiving, &fuzz::kSlotKey);
  require(express.send(fuzz::kSlotSender, "genuine"), "there is a key and room");
  const auto genuine = box.slot;
  const auto bytes = fuzz::as_bytes(data, size);

  ReplicaId from;
  std::string frame;
  box.slot.assign(bytes.begin(), bytes.end());
  const bool same = box.slot == genuine;
  const bool believed = express.receive(from, frame);
  require(believed == same, "only what the peer sealed is believed");
  require(!believed || frame == "genuine", "and read as it was meant");

  box.slot = genuine;
  require(express.receive(from, frame) != same, "once");
  return 0;
}
