// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as the first frame of a control link, in either direction: refused with a typed
// error, or a greeting that encodes to bytes that mean the same, and that is answered, whatever it
// says.
#include "core/engine/greeting.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto bytes = fuzz::as_bytes(data, size);

  const auto greeting = engine::decode_greeting(bytes);
  if (greeting) {
    const std::string encoded = engine::encode(*greeting);
    const auto again = engine::decode_greeting(fuzz::as_bytes(encoded.data(), encoded.size()));
    require(again.has_value() && engine::encode(*again) == encoded,
            "a greeting that was decoded can be encoded and decoded again");
    transport::ReplicaSet peers;
    for (uint8_t id = 1; id <= 3; ++id) peers.add(ReplicaId{id});
    const engine::Identity self = engine::Identity::of_node(greeting->self.cluster, ReplicaId{1});
    const engine::Welcome welcome = engine::judge(*greeting, greeting->self, self, peers);
    require(welcome.code == Code::ok || !welcome.message.empty(), "a refusal says why");
  } else {
    require(greeting.error().code == Code::invalid, "a refusal is typed");
  }

  const auto welcome = engine::decode_welcome(bytes);
  if (welcome) {
    const std::string encoded = engine::encode(*welcome);
    const auto again = engine::decode_welcome(fuzz::as_bytes(encoded.data(), encoded.size()));
    require(again.has_value() && engine::encode(*again) == encoded,
            "a welcome that was decoded can be encoded and decoded again");
  } else {
    require(welcome.error().code == Code::invalid, "a refusal is typed");
  }
  return 0;
}
