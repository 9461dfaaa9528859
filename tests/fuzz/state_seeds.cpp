// SPDX-License-Identifier: BSD-3-Clause
#include "core/control/state_format.hpp"
#include "tests/fuzz/ring_builder.hpp"
#include "tests/fuzz/seeds.hpp"

namespace caisson::fuzz {

void state_seeds(const AddSeed& add) {
  control::StateFrame ask;
  ask.log = fuzz_identity();
  ask.from = ReplicaId{3};
  ask.to = ReplicaId{1};
  ask.nonce = 17;
  ask.position = Position{100};
  ask.bytes_max = 4096;
  add(control::encode_state(ask));
  ask.identity = 5;
  ask.offset = 4096;
  add(control::encode_state(ask));
  const std::byte bytes[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  control::StateFrame give;
  give.log = fuzz_identity();
  give.from = ReplicaId{1};
  give.to = ReplicaId{3};
  give.kind = control::StateKind::give;
  give.nonce = 17;
  give.identity = 5;
  give.position = Position{120};
  give.state_bytes = 4099;
  give.offset = 4096;
  give.bytes = bytes;
  give.last = true;
  add(control::encode_state(give));
  give.state_bytes = UINT64_MAX;
  give.last = false;
  add(control::encode_state(give));
  control::StateFrame refusal;
  refusal.log = fuzz_identity();
  refusal.from = ReplicaId{1};
  refusal.to = ReplicaId{3};
  refusal.kind = control::StateKind::give;
  refusal.code = Code::not_yet;
  refusal.nonce = 18;
  add(control::encode_state(refusal));
}

}  // namespace caisson::fuzz
