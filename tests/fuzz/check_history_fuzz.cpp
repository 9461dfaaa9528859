// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary lines as a history for caisson-check: each is refused with a reason, or is an operation
// that can be judged, whatever came before it.
#include <string_view>

#include "tests/checker/decode.hpp"
#include "tests/checker/judge.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::checker;
  using caisson::fuzz::require;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string file = "input";
  Judge judge;
  uint64_t judged = 0;
  for (uint64_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    Operation operation;
    if (decode(text.substr(0, end), operation).empty()) {
      require(!operation.process.empty(), "somebody did it");
      require(operation.position.value_or(0) <= kPositionMax, "positions are bounded");
      require(!operation.return_ns || *operation.return_ns >= operation.invoke_ns.value_or(0),
              "what ends has begun");
      judge.take(operation, {&file, line});
      ++judged;
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  judge.finish();
  require(judge.counts().operations == judged, "every operation is counted");
  return 0;
}
