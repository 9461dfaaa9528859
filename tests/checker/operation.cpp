// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/operation.hpp"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace caisson::checker {

std::string_view name(Kind kind) {
  static constexpr std::array<std::string_view, 11> kNames = {
      "hidden",     "data",    "noop",   "view",   "term", "session",
      "checkpoint", "receipt", "digest", "stream", "place"};
  return kNames[static_cast<size_t>(kind)];
}

std::string spell(const Id& id) {
  return std::to_string(id.client) + "." + std::to_string(id.incarnation) + "." +
         std::to_string(id.sequence);
}

std::string spell(const Value& value) {
  if (value.kind == Kind::hidden) return "no client's entry";
  std::array<char, 17> digest{};
  std::snprintf(digest.data(), digest.size(), "%016" PRIx64, value.digest);
  if (value.kind == Kind::data) return spell(value.id) + ":" + digest.data();
  return std::string(name(value.kind)) + ":" + digest.data();
}

}  // namespace caisson::checker
