// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a control message: refused with a typed error, or a message that encodes to
// bytes that mean the same.
#include "core/control/wire.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto decoded = control::decode(fuzz::as_bytes(data, size));
  if (!decoded) {
    require(decoded.error().code == Code::invalid || decoded.error().code == Code::wrong_version,
            "a refusal is typed");
    require(!decoded.error().message.empty(), "a refusal says why");
    return 0;
  }
  require(size <= control::kMessageBytesMax, "no message is larger than the limit");
  const std::string encoded = control::encode(*decoded);
  const auto again = control::decode(fuzz::as_bytes(encoded.data(), encoded.size()));
  require(again.has_value(), "what was decoded can be encoded and decoded again");
  require(again->message.index() == decoded->message.index(), "and is the same kind of message");
  require(control::encode(*again) == encoded, "and says the same");
  return 0;
}
