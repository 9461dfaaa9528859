// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary bytes as an introduction's frame: refused with a typed error, or a frame that encodes
// to the same bytes.
#include "core/control/introduction_format.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto bytes = fuzz::as_bytes(data, size);
  const auto frame = control::decode_introduction(bytes);
  if (!frame) {
    const Code code = frame.error().code;
    require(code == Code::invalid || code == Code::damaged || code == Code::wrong_version,
            "a refusal is typed");
    require(!frame.error().message.empty(), "a refusal says why");
    return 0;
  }
  require(control::is_introduction_frame(bytes), "it begins as such a frame does");
  require(!frame->introduction.empty(), "it says something");
  const std::string again = control::encode_introduction(*frame);
  require(again.size() == size && std::memcmp(again.data(), data, size) == 0,
          "what was decoded says the same again");
  return 0;
}
