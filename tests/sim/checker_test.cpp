// SPDX-License-Identifier: BSD-3-Clause
// The canary: known bad histories that the checker must reject, by name, and good ones it must
// pass.
#include "tests/sim/checker.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace caisson::simtest {
namespace {

std::filesystem::path histories() {
  const char* source = std::getenv("CAISSON_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : ".") / "tests/sim/histories";
}

// histories/<invariant>-<what>.txt must be rejected by that name; good-*.txt must pass.
TEST(Checker, NamesWhatIsWrongInEveryKnownHistory) {
  std::set<std::string> named;
  for (const auto& file : std::filesystem::directory_iterator(histories())) {
    std::ifstream in(file.path());
    const auto found = judge(parse_history(in));
    const std::string stem = file.path().stem().string();
    const std::string expected = stem.substr(0, stem.find('-'));
    if (expected == "good") {
      EXPECT_TRUE(found.empty()) << stem << ": " << found.front().invariant << " "
                                 << found.front().what;
      continue;
    }
    ASSERT_FALSE(found.empty()) << stem;
    EXPECT_EQ(found.front().invariant, expected) << stem << ": " << found.front().what;
    named.insert(expected);
  }
  for (const char* invariant :
       {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "R5", "R8", "R13", "R14", "R18", "LIVE"}) {
    EXPECT_TRUE(named.contains(invariant)) << "no known history breaks " << invariant;
  }
}

TEST(Checker, WhatIsWrittenAsTextIsReadBack) {
  Event event;
  event.what = What::expose;
  event.replica = 3;
  event.position = 17;
  event.id = {5, 1, 9};
  event.digest = UINT64_MAX;
  std::istringstream text(to_text(event) + " # as exposed\n\n");
  const History back = parse_history(text);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(to_text(back[0]), to_text(event));
  std::istringstream bad("expose nonsense=1\n");
  EXPECT_THROW(parse_history(bad), std::runtime_error);
}

}  // namespace
}  // namespace caisson::simtest
