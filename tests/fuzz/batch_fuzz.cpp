// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as a batch of control messages: refused with a typed error, or messages that put
// together again make the very same bytes; each of them is a control message or refused as one.
#include "core/control/batch_format.hpp"
#include "core/control/wire.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto frame = fuzz::as_bytes(data, size);
  const auto messages = control::decode_batch(frame);
  if (!messages) {
    const Code code = messages.error().code;
    require(code == Code::invalid || code == Code::wrong_version, "a refusal is typed");
    require(!messages.error().message.empty(), "a refusal says why");
    return 0;
  }
  require(control::is_batch_frame(frame), "it begins as such a frame does");
  require(!messages->empty() && messages->size() <= control::kBatchMessagesMax, "within bounds");
  control::Batch again;
  for (const auto message : *messages) {
    require(again.add({reinterpret_cast<const char*>(message.data()), message.size()}),
            "what came in a batch fits one");
    (void)control::decode(message);
  }
  const std::string encoded = again.take();
  require(encoded.size() == size && std::memcmp(encoded.data(), data, size) == 0,
          "what was decoded says the same again");
  return 0;
}
