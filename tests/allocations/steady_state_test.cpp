// SPDX-License-Identifier: BSD-3-Clause
// R35: in the steady state an append allocates nothing and enters the kernel not once, wraps of the
// ring, trims and the followers' validation included.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "tests/allocations/counters.hpp"
#include "tests/engine/engine_cluster.hpp"

namespace caisson::allocations_test {
namespace {

using engine_test::bytes_of;
using engine_test::Cluster;

struct Measured {
  uint64_t appends = 0;
  uint64_t laps = 0;
  uint64_t allocations = 0;
  uint64_t system_calls = 0;
  long first_system_call = -1;
  long major_faults = 0;
  char failure[256] = {};
};

void fail_with(Measured& measured, const std::string& why) {
  std::strncpy(measured.failure, why.c_str(), sizeof measured.failure - 1);
}

// Tells and ends. A process whose system calls are trapped can close nothing any more.
[[noreturn]] void leave(int result_fd, const Measured& measured) {
  const bool told = write(result_fd, &measured, sizeof measured) == sizeof measured;
  _exit(told ? 0 : 1);
}

// Runs `work` in a process of its own, whose system calls can be trapped for good.
template <class Work>
Measured in_a_child(Work&& work) {
  int ends[2];
  Measured measured;
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    work(measured, ends[1]);
    leave(ends[1], measured);
  }
  close(ends[1]);
  EXPECT_EQ(read(ends[0], &measured, sizeof measured), static_cast<ssize_t>(sizeof measured))
      << "the measuring process died";
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  Cluster::clean_up_after(child);
  return measured;
}

uint64_t appends_wanted() {
  const char* text = getenv("CAISSON_LONG");
  return text != nullptr && std::strcmp(text, "0") != 0 ? 20'000'000 : 1'000'000;
}

constexpr uint64_t kRingBytes = 4 << 20;
constexpr uint64_t kEntryBytes = 128;  // 64 of payload
constexpr auto kWarmUp =
    std::chrono::milliseconds(1500);  // elections, upkeep behind them, first laps

long major_faults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_majflt;
}

// What surrounds one append of the inline run: the others turn, and what they have long applied is
// trimmed. They apply in steps of a sixteenth of the ring; half a ring behind is behind all of
// them.
void surround(Cluster& cluster, Log& log, Position appended, uint64_t count) {
  constexpr uint64_t kBehind = kRingBytes / kEntryBytes / 2;
  if (count % 64 == 0) cluster.turn();
  if (count % 1024 == 0 && appended.value > kBehind)
    (void)log.trim(Position{appended.value - kBehind});
}

void measure_inline(Measured& measured, int result_fd) {
  Cluster cluster({.runs_inline = true, .ring_bytes = kRingBytes});
  cluster.start();
  const int leader = cluster.leader();
  if (leader == 0) return fail_with(measured, "no leader");
  auto appender = cluster.appender(leader);
  if (appender == nullptr) return fail_with(measured, "no appender");
  Log& log = cluster.log(leader);
  const std::string payload(64, 'p');
  uint64_t count = 0;
  const auto append = [&] {
    const Completion done = appender->append(bytes_of(payload));
    surround(cluster, log, done.position, ++count);
    return done.code;
  };
  const auto warm = std::chrono::steady_clock::now() + kWarmUp;
  while (std::chrono::steady_clock::now() < warm) {
    if (const Code code = append(); code != Code::ok)
      return fail_with(measured, std::string(name(code)));
  }
  const uint64_t before = allocations();
  const long faults = major_faults();
  if (!trap_system_calls()) return fail_with(measured, "system calls cannot be trapped here");
  const uint64_t wanted = appends_wanted();
  for (; measured.appends < wanted; ++measured.appends) {
    if (const Code code = append(); code != Code::ok) {
      fail_with(measured, "append: " + std::string(name(code)));
      break;
    }
  }
  measured.allocations = allocations() - before;
  measured.system_calls = trapped_system_calls();
  measured.first_system_call = first_trapped_system_call();
  measured.major_faults = major_faults() - faults;
  measured.laps = measured.appends * kEntryBytes / kRingBytes;
  leave(result_fd, measured);
}

// The application's side of a lane: submissions and completions of pipelined appends.
void measure_lane(Measured& measured, int result_fd) {
  Cluster cluster({.ring_bytes = kRingBytes});
  cluster.start();
  const int leader = cluster.leader();
  if (leader == 0) return fail_with(measured, "no leader");
  auto appender = cluster.appender(leader);
  if (appender == nullptr) return fail_with(measured, "no appender");
  Log& log = cluster.log(leader);
  const std::string payload(64, 'p');
  std::array<Completion, 256> taken;
  const auto run = [&](uint64_t appends) {
    uint64_t submitted = 0;
    uint64_t completed = 0;
    while (completed < appends) {
      while (submitted < appends &&
             appender->append_async(bytes_of(payload), submitted) == Code::ok) {
        ++submitted;
      }
      const size_t n = appender->completions(taken);
      for (size_t i = 0; i < n; ++i) {
        if (taken[i].code != Code::ok) return fail_with(measured, std::string(name(taken[i].code)));
      }
      completed += n;
    }
  };
  constexpr uint64_t kPortion = 10'000;  // fits into the ring, which is trimmed between two of them
  for (int i = 0; i < 20; ++i) {
    run(kPortion);
    while (log.trim(log.tail()) == Code::held) cluster.turn();
  }
  const uint64_t before = allocations();
  if (!trap_system_calls()) return fail_with(measured, "system calls cannot be trapped here");
  run(kPortion);
  measured.appends = kPortion;
  measured.allocations = allocations() - before;
  measured.system_calls = trapped_system_calls();
  measured.first_system_call = first_trapped_system_call();
  leave(result_fd, measured);
}

void expect_clean(const Measured& measured) {
  EXPECT_STREQ(measured.failure, "");
  EXPECT_EQ(measured.allocations, 0u) << "in " << measured.appends << " appends";
  EXPECT_EQ(measured.system_calls, 0u)
      << "in " << measured.appends << " appends; the first one has number "
      << measured.first_system_call;
  EXPECT_EQ(measured.major_faults, 0);
}

TEST(SteadyState, InlineAppendsAllocateNothingAndNeverEnterTheKernel) {
  if (!countable()) GTEST_SKIP() << "not countable under a sanitizer";
  const Measured measured = in_a_child(measure_inline);
  expect_clean(measured);
  EXPECT_EQ(measured.appends, appends_wanted());
  EXPECT_GE(measured.laps, 10u);
}

TEST(SteadyState, TheApplicationsSideOfALaneAllocatesNothingAndNeverEntersTheKernel) {
  if (!countable()) GTEST_SKIP() << "not countable under a sanitizer";
  const Measured measured = in_a_child(measure_lane);
  expect_clean(measured);
  EXPECT_GT(measured.appends, 0u);
}

TEST(SteadyState, TheCountersCount) {
  if (!countable()) GTEST_SKIP() << "not countable under a sanitizer";
  const Measured measured = in_a_child([](Measured& m, int result_fd) {
    const uint64_t before = allocations();
    // Through a volatile pointer, or the compiler leaves them out.
    void* volatile memory = ::operator new(10);
    ::operator delete(memory);
    memory = malloc(10);
    free(memory);
    m.allocations = allocations() - before;
    if (!trap_system_calls()) return fail_with(m, "system calls cannot be trapped here");
    (void)getppid();
    (void)getppid();
    m.system_calls = trapped_system_calls();
    leave(result_fd, m);
  });
  EXPECT_STREQ(measured.failure, "");
  EXPECT_EQ(measured.allocations, 2u);
  EXPECT_EQ(measured.system_calls, 2u);
}

}  // namespace
}  // namespace caisson::allocations_test
