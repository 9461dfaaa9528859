// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a request or a reply of the client protocol: refused with a typed error, or a
// message that survives being encoded and decoded again.
#include "core/engine/client_protocol.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace caisson;
using caisson::fuzz::require;

template <class Message>
void check(const Result<Message>& decoded, Result<Message> (*decode)(std::span<const std::byte>)) {
  if (!decoded) {
    const Code code = decoded.error().code;
    require(code == Code::invalid || code == Code::wrong_version || code == Code::too_large,
            "a refusal is typed");
    require(!decoded.error().message.empty(), "a refusal says why");
    return;
  }
  const std::string encoded = engine::client::encode(*decoded);
  const auto again = decode(fuzz::as_bytes(encoded.data(), encoded.size()));
  require(again.has_value() && *again == *decoded, "what was decoded means the same again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = fuzz::as_bytes(data, size);
  check(engine::client::decode_request(bytes), engine::client::decode_request);
  check(engine::client::decode_reply(bytes), engine::client::decode_reply);
  return 0;
}
