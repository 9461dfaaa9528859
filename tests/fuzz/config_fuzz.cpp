// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary text as a configuration: refused with a typed error that says why, or options that keep
// the rules and survive being written and read again.
#include <string>
#include <string_view>

#include "core/engine/config.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = engine::parse_config(text, "fuzz.toml", "/base");
  if (!parsed) {
    require(parsed.error().code != Code::ok && parsed.error().code != Code::internal,
            "a refusal is typed");
    require(!parsed.error().message.empty(), "a refusal says why");
    require(parsed.error().message.find_first_of("\n\r\x1b") == std::string::npos,
            "on one plain line");
    return 0;
  }
  require(engine::check(*parsed).has_value(), "what is accepted keeps the rules");
  const std::string written = engine::to_toml(*parsed);
  const auto again = engine::parse_config(written, "again.toml", "/base");
  require(again.has_value(), "what was read can be written and read again");
  require(engine::to_toml(*again) == written, "and says the same");
  return 0;
}
