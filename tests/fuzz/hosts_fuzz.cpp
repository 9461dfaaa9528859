// SPDX-License-Identifier: BSD-3-Clause
// Arbitrary text as a benchmark's list of machines: refused with a typed error that says why, or
// machines of which nothing but a name can surprise a shell.
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz.hpp"
#include "tools/hosts_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  using caisson::fuzz::require;
  const auto parsed = tools::parse_hosts({reinterpret_cast<const char*>(data), size}, "hosts.toml");
  if (!parsed) {
    require(parsed.error().code == Code::invalid || parsed.error().code == Code::too_large,
            "a refusal is typed");
    const std::string& message = parsed.error().message;
    require(message.find("hosts.toml") == 0, "a refusal says where");
    require(message.find_first_of("\n\r\x1b") == std::string::npos, "on one plain line");
    return 0;
  }
  require(!parsed->hosts.empty() && !parsed->launcher.empty() && !parsed->bandwidth.empty(),
          "what a run needs is there");
  const auto harmless = [](const std::string& word) {
    return word.find_first_of(" \t\n'\"`$;&|<>()\\*?~") == std::string::npos;
  };
  require(harmless(parsed->directory) && parsed->directory.front() == '/', "a plain path");
  for (const tools::BenchHost& host : parsed->hosts) {
    require(!host.name.empty() && !host.address.empty(), "a machine can be reached");
    require(harmless(host.device) && harmless(host.scratch_device), "plain devices");
    require(harmless(host.address), "a plain address");
  }
  return 0;
}
