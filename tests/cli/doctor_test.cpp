// SPDX-License-Identifier: BSD-3-Clause
// What `caisson doctor` makes of registers that no machine of the tests has.
#include "tools/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::test {
namespace {

using testing::HasSubstr;
using tools::ddio_finding;
using tools::Finding;
using tools::RootPort;

RootPort cascade_lake(std::optional<uint8_t> control) {
  return {"0000:16:00.0", 0x8086, 0x2030, control};
}

TEST(Doctor, DdioIsReadWhereItCanBe) {
  const Finding on = ddio_finding("mlx5_0", cascade_lake(0xd1));
  EXPECT_EQ(on.level, Finding::Level::note);
  EXPECT_THAT(on.found, HasSubstr("on: "));
  EXPECT_THAT(on.found, HasSubstr("0000:16:00.0"));
  EXPECT_THAT(on.cure, HasSubstr("verbs.past_caches = true"));
  const Finding off = ddio_finding("mlx5_0", cascade_lake(0x59));
  EXPECT_EQ(off.level, Finding::Level::ok);
  EXPECT_THAT(off.found, HasSubstr("off: "));
}

// Nothing that cannot be read is taken for off.
TEST(Doctor, DdioThatCannotBeReadIsNotOff) {
  RootPort later = cascade_lake(0x00);
  later.device = 0x347a;  // of a later Xeon: another register, or none
  RootPort other = cascade_lake(0x00);
  other.vendor = 0x1022;
  for (const auto& port : {std::optional<RootPort>{}, std::optional(cascade_lake(std::nullopt)),
                           std::optional(later), std::optional(other)}) {
    const Finding finding = ddio_finding("mlx5_0", port);
    EXPECT_EQ(finding.level, Finding::Level::note);
    EXPECT_THAT(finding.found, Not(HasSubstr("off")));
    EXPECT_FALSE(finding.cure.empty());
  }
}

}  // namespace
}  // namespace caisson::test
