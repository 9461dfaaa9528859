// SPDX-License-Identifier: BSD-3-Clause
#include "tools/html_page.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace caisson::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

TEST(HtmlPage, WhatIsNotFiniteIsLeftOut) {
  const std::string drawn = html_curves(
      {{"all", {{64, 10}, {128, kInfinite}, {256, kNone}, {kInfinite, 1}, {512, 20}}, true}}, "x",
      "y", false);
  EXPECT_THAT(drawn, HasSubstr("<polyline"));
  EXPECT_THAT(drawn, Not(HasSubstr("inf")));
  EXPECT_THAT(drawn, Not(HasSubstr("nan")));
}

TEST(HtmlPage, WhereNothingIsLeftItSaysSo) {
  EXPECT_THAT(html_curves({{"none", {{64, kInfinite}}, true}}, "x", "y", false),
              HasSubstr("Nothing was measured."));
}

}  // namespace
}  // namespace caisson::tools
