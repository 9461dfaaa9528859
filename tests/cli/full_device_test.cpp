// SPDX-License-Identifier: BSD-3-Clause
// R44: a full file system. Whatever writes a file names it and the cure, and leaves nothing behind
// that could be taken for whole; once there is room, the same command does its work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "tests/support/small_disk.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;
namespace fs = std::filesystem;

class FullDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "needs the right to mount a small tmpfs";
  }
  void expect_refused(const Outcome& outcome, const fs::path& below) {
    EXPECT_EQ(outcome.exit, static_cast<int>(Exit::no_space)) << outcome.output << outcome.errors;
    const std::string said = outcome.output + outcome.errors;
    EXPECT_THAT(said, HasSubstr(below.string()));
    EXPECT_THAT(said, HasSubstr("free some space"));
  }

  Scratch scratch_;
  const SmallDisk disk_{scratch_.path() / "disk", "5m"};
};

TEST_F(FullDevice, CertificatesAreWrittenWholeOrNotAtAll) {
  const fs::path to = disk_.path() / "pki";
  fs::create_directories(to);
  disk_.fill();
  const Arguments make{"cert",
                       "make",
                       "--authority",
                       to.string(),
                       "--new-authority",
                       "--cluster",
                       "0123456789abcdef0123456789abcdef"};
  expect_refused(run(make), to);
  EXPECT_EQ(disk_.files(), 1u) << "the ballast";
  disk_.empty();
  const Outcome made = run(make);
  EXPECT_EQ(made.exit, 0) << made.output << made.errors;
}

TEST_F(FullDevice, AClusterIsMadeWholeOrCanBeMadeLater) {
  const fs::path to = disk_.path() / "cluster";
  const Arguments start{"cluster",    "start", "--dir",        to.string(),
                        "--replicas", "3",     "--ring-bytes", "1MiB"};
  disk_.fill();
  expect_refused(run(start), to);
  disk_.empty();
  EXPECT_EQ(disk_.files(), 0u);
  // Room for the configuration and for one region, not for three.
  expect_refused(run(start), to);
  EXPECT_EQ(disk_.files(), 0u);
}

TEST_F(FullDevice, ABackupIsWholeOrNotThere) {
  const Replicas replicas;
  ASSERT_EQ(replicas.append(some_lines(2'000)).exit, 0);
  const fs::path to = disk_.path() / "backup";
  const Arguments make{"backup", "make", "--to", to.string()};
  disk_.fill();
  expect_refused(replicas(make), to);
  EXPECT_EQ(disk_.files(), 1u) << "the ballast";
  EXPECT_NE(run({"backup", "verify", "--from", to.string()}).exit, 0);
}

}  // namespace
}  // namespace caisson::test
