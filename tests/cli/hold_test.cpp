// SPDX-License-Identifier: BSD-3-Clause
// R8: a reader that follows from the command line holds what it has yet to read, and is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/program.hpp"
#include "tools/exit_codes.hpp"

namespace caisson::test {
namespace {

using ::testing::HasSubstr;
using tools::Exit;

// More than a session and its connection hold for a client that takes nothing.
std::string many_lines() {
  std::string lines;
  for (int i = 0; i < 1600; ++i) lines += std::to_string(i) + std::string(10'000, 'x') + "\n";
  return lines;
}

std::string last_position(const Replicas& replicas) {
  return std::to_string(replicas({"tail", "--json"}).json()["position"].get<uint64_t>());
}

TEST(Hold, AReaderThatFollowsHoldsWhatItHasNotRead) {
  const Replicas replicas({"--ring-bytes", "64MiB"});
  ASSERT_EQ(replicas.append("first\n").exit, 0);
  Background reader({"read", "--dir", replicas.directory().string(), "--follow"}, "",
                    replicas.scratch() / "read");
  ASSERT_TRUE(eventually([&] { return read_file(replicas.scratch() / "read") == "first\n"; }));
  reader.signal(SIGSTOP);
  ASSERT_EQ(replicas.append(many_lines()).exit, 0);
  const std::string last = last_position(replicas);
  Outcome held;
  EXPECT_TRUE(eventually([&] {
    held = replicas({"trim", "--through", last, "--json"});
    return held.exit == static_cast<int>(Exit::held) &&
           held.output.find("reader 'client cli'") != std::string::npos;
  })) << held.output;
  EXPECT_THAT(held.output, HasSubstr("unless it reads on, for "));
  reader.signal(SIGCONT);
  EXPECT_TRUE(eventually([&] {
    return replicas({"trim", "--through", last}).exit == 0;
  })) << "what it has read it holds no more";
  reader.signal(SIGKILL);
  reader.wait();
}

}  // namespace
}  // namespace caisson::test
