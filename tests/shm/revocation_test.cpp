// SPDX-License-Identifier: BSD-3-Clause
// Revocation against real processes: writers that race it, that are stopped at every point of an
// append and go on later, and owners that are killed (S2, H3, H7, H9).
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/shm/endpoints.hpp"
#include "transport/shm/shm_endpoint_impl.hpp"

namespace caisson::transport::shm {
namespace testing {

// Stops its own process at a named point, the given number of times passed.
struct StopPlan {
  std::atomic<int> point{-1};
  std::atomic<int> passes{0};
};
struct StoppingProbe {
  StopPlan* plan = nullptr;
  void at(ProbePoint point) const {
    if (static_cast<int>(point) != plan->point.load(std::memory_order_relaxed)) return;
    if (plan->passes.fetch_sub(1) != 0) return;
    plan->point = -1;
    ::raise(SIGSTOP);
  }
};

}  // namespace testing

template class BasicShmEndpoint<testing::StoppingProbe>;

namespace {

using namespace testing;  // NOLINT

constexpr size_t kEntry = 64;

// What a writing process and the test say to each other.
struct Board {
  StopPlan plan;
  std::atomic<uint64_t> grants{0};  // how many grants have been handed over
  std::atomic<uint64_t> generation{0};
  std::atomic<uint64_t> from{0};
  std::array<std::byte, sizeof(GrantBlob)> blob{};
  std::atomic<uint64_t> counted{0};  // through here the writer believes its bytes persistent
  std::atomic<uint64_t> fenced{0};   // how many of the grants it has seen end
  std::atomic<bool> over{false};
};

void hand_over(Board& board, const Grant& grant, uint64_t from) {
  std::memcpy(board.blob.data(), grant.blob.data(), board.blob.size());
  board.generation = grant.generation;
  board.from = from;
  board.counted = from;
  board.grants.fetch_add(1);
}

Grant received(const Board& board) {
  Grant grant;
  grant.generation = board.generation;
  grant.blob.assign(board.blob.begin(), board.blob.end());
  return grant;
}

// Every word of an entry names its offset and the grant that it was written under.
std::array<uint64_t, kEntry / 8> entry_at(uint64_t at, uint64_t generation) {
  std::array<uint64_t, kEntry / 8> words;
  words.fill(at * 1000003 + generation);
  return words;
}

// A leader that appends to B as fast as it can, under one grant after the other.
int write_for_ever(const ScratchDirectory& directory, Board& board) {
  BasicReplica<StoppingProbe> writer(directory, kA, StoppingProbe{&board.plan});
  const ReplicaSet target = set_of({kB});
  for (uint64_t taken = 0; !board.over;) {
    if (board.grants == taken) continue;
    ++taken;
    const Grant grant = received(board);
    uint64_t at = board.from;
    const Code attached = writer.endpoint.attach(kB, grant, Offset{at});
    if (attached != Code::ok) return 1;
    for (bool open = true; open;) {
      const auto entry = entry_at(at, grant.generation);
      writer.endpoint.fan_out(target, Offset{at}, entry.data(), kEntry);
      at += kEntry;
      writer.endpoint.complete_through(target, false, Offset{at});
      Completion completion;
      if (writer.endpoint.poll({&completion, 1}) == 0) continue;
      open = completion.code == Code::ok;
      if (open) board.counted = completion.persisted_through.value;
    }
    board.fenced = taken;
  }
  return 0;
}

// Entries of a sealed ring that hold what `generation` wrote, counted from `from`.
uint64_t held_through(const std::vector<std::byte>& ring, uint64_t from, uint64_t generation) {
  uint64_t at = from;
  for (; at < from + kRing; at += kEntry) {
    const auto entry = entry_at(at, generation);
    if (std::memcmp(ring.data() + at % kRing, entry.data(), kEntry) != 0) break;
  }
  return at;
}

TEST(Revocation, EverythingCountedIsInTheSealedRingAndNothingEntersItLater) {
  ScratchDirectory directory;
  create_regions(directory);
  Shared<Board> board;
  const pid_t child = spawn([&] { return write_for_ever(directory, *board); });
  Replica target(directory, kB);
  uint64_t from = 0;
  uint64_t total = 0;
  std::vector<double> revocations_us;
  for (uint64_t round = 1; round <= 400; ++round) {
    ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
    const auto grant = target.endpoint.grant(kA, Term{round});
    ASSERT_TRUE(grant) << grant.error().message;
    hand_over(*board, *grant, from);
    // Stop it at another moment of its stream each time, but after it has begun.
    wait_until([&] { return board->counted > from + round * 7919 % 40000; });
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
    revocations_us.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
    const auto sealed = target.ring();
    wait_until([&] { return board->fenced == round; });
    const uint64_t counted = board->counted;
    // Of what lies more than a lap back, the ring holds the newer bytes only.
    const uint64_t check_from = counted > from + kRing / 2 ? counted - kRing / 2 : from;
    ASSERT_GE(held_through(sealed, check_from, grant->generation), counted) << "round " << round;
    ASSERT_EQ(target.ring(), sealed) << "round " << round;
    total += counted - from;
    from = counted + kEntry * (round % 100);
    if (round % 4 == 0) {
      ASSERT_EQ(target.endpoint.maintain(), Code::ok);
    }
  }
  board->over = true;
  EXPECT_EQ(exit_status(child), 0);
  std::sort(revocations_us.begin(), revocations_us.end());
  std::printf(
      "%lu entries counted over 400 revocations; a revocation took %.1f us (median), %.1f us "
      "(max)\n",
      total / kEntry, revocations_us[200], revocations_us.back());
}

class StoppedWriter : public ::testing::TestWithParam<ProbePoint> {};

// S2: the leader stops between two steps of an append, another takes over, the first goes on.
TEST_P(StoppedWriter, ChangesNothingWhenItGoesOn) {
  ScratchDirectory directory;
  create_regions(directory);
  Shared<Board> board;
  const pid_t child = spawn([&] { return write_for_ever(directory, *board); });
  Replica target(directory, kB);
  Replica successor(directory, kC);
  ASSERT_TRUE(successor.endpoint.warm(kB));
  uint64_t from = 0;
  for (uint64_t round = 1; round <= 25; ++round) {
    ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
    const auto grant = target.endpoint.grant(kA, Term{2 * round});
    ASSERT_TRUE(grant);
    const bool rare =
        GetParam() == ProbePoint::before_allowance || GetParam() == ProbePoint::after_allowance;
    board->plan.passes = static_cast<int>(rare ? round % 3 : round * 131);
    board->plan.point = static_cast<int>(GetParam());
    hand_over(*board, *grant, from);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status)) << "the point is passed";

    ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
    // Where the successor's adoption ends: it may include an entry that is counted only later.
    const uint64_t held = held_through(target.ring(), from, grant->generation);
    ASSERT_GE(held, board->counted);

    // The successor appends behind it, over the very bytes that may still be stored to.
    const auto next = target.endpoint.grant(kC, Term{2 * round + 1});
    ASSERT_TRUE(next);
    ASSERT_EQ(successor.endpoint.attach(kB, *next, Offset{held}), Code::ok);
    const auto bytes = filled(8 * kEntry, round);
    successor.endpoint.fan_out(set_of({kB}), Offset{held}, bytes.data(), bytes.size());
    successor.endpoint.complete_through(set_of({kB}), false, Offset{held + bytes.size()});
    Completion completion;
    ASSERT_EQ(successor.endpoint.poll({&completion, 1}), 1u);
    ASSERT_EQ(completion.code, Code::ok);
    const auto repaired = target.ring();
    ASSERT_EQ(std::memcmp(target.region->ring_data() + held % kRing, bytes.data(), bytes.size()),
              0);

    ::kill(child, SIGCONT);
    wait_until([&] { return board->fenced == round; });
    EXPECT_LE(board->counted, held) << "it counts nothing that the sealed ring did not hold";
    ASSERT_EQ(target.ring(), repaired) << "0 bytes of the old term enter a sealed log";
    from = held + bytes.size();
    ASSERT_EQ(target.endpoint.maintain(), Code::ok);
  }
  board->over = true;
  EXPECT_EQ(exit_status(child), 0);
}

std::string point_name(const ::testing::TestParamInfo<ProbePoint>& point) {
  constexpr const char* kNames[] = {"BeforeAllowance", "AfterAllowance", "BeforeStore",
                                    "BeforeFence",     "BeforeMark",     "BeforeCount"};
  return kNames[static_cast<int>(point.param)];
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, StoppedWriter,
                         ::testing::Values(ProbePoint::before_allowance,
                                           ProbePoint::after_allowance, ProbePoint::before_store,
                                           ProbePoint::before_fence, ProbePoint::before_mark,
                                           ProbePoint::before_count),
                         point_name);

// H9: the owner is killed, not asked; its ring is written on; its next process answers nothing
// before the old grants are ended.
TEST(Revocation, AKilledOwnersRingIsSealedByItsNextProcess) {
  ScratchDirectory directory;
  create_regions(directory);
  Shared<Board> board;
  const pid_t owner = spawn([&] {
    Replica target(directory, kB);
    if (target.endpoint.revoke_all() != Code::ok) return 1;
    const auto grant = target.endpoint.grant(kA, Term{1});
    if (!grant) return 2;
    hand_over(*board, *grant, 0);
    ::pause();
    return 0;
  });
  const pid_t writer = spawn([&] { return write_for_ever(directory, *board); });
  wait_until([&] { return board->counted > 10 * kEntry; });
  ::kill(owner, SIGKILL);
  exit_status(owner);
  const uint64_t at_death = board->counted;
  wait_until([&] { return board->counted > at_death + 10 * kEntry; });

  Replica target(directory, kB);
  ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
  const auto sealed = target.ring();
  wait_until([&] { return board->fenced == 1; });
  const uint64_t counted = board->counted;
  const uint64_t check_from = counted > kRing / 2 ? counted - kRing / 2 : 0;
  EXPECT_GE(held_through(sealed, check_from, board->generation), counted);
  EXPECT_EQ(target.ring(), sealed);
  board->over = true;
  EXPECT_EQ(exit_status(writer), 0);
}

TEST(Revocation, ADeadWriterSparesTheCopy) {
  ScratchDirectory directory;
  create_regions(directory);
  Shared<Board> board;
  const pid_t writer = spawn([&] { return write_for_ever(directory, *board); });
  Replica target(directory, kB);
  // Under the first grant the writer tells who it is, so that the second one can watch it.
  for (uint64_t round = 1; round <= 2; ++round) {
    ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
    const auto grant = target.endpoint.grant(kA, Term{round});
    ASSERT_TRUE(grant);
    hand_over(*board, *grant, 0);
    wait_until([&] { return board->counted > kEntry; });
  }
  ::kill(writer, SIGKILL);
  exit_status(writer);
  const auto before = target.region->manifest().slot_of_segment;
  const auto ring = target.ring();
  ASSERT_EQ(target.endpoint.revoke_all(), Code::ok);
  EXPECT_EQ(target.region->manifest().slot_of_segment, before);
  EXPECT_EQ(target.ring(), ring);
  ASSERT_EQ(target.endpoint.revoke_all(), Code::ok) << "and its allowance is cleared";
}

// A leader of the given kind writes to b from a thread of its own; the thread ends, or goes on.
struct WritingThread {
  bool one_thread = true;
  bool ends = true;
  bool foreign = false;  // its line names an ended thread of another process
};

// True: b's revocation, after the thread has ended or while it writes, moved segments.
bool revocation_moves(const WritingThread& how) {
  ScratchDirectory directory;
  create_regions(directory);
  Shared<Board> board;
  const pid_t writer = spawn([&] {
    uint64_t number = 0;
    std::thread([&] {
      number = static_cast<uint64_t>(::gettid());
      BasicReplica<StoppingProbe> replica(directory, kA, StoppingProbe{&board->plan},
                                          how.one_thread);
      while (board->grants == 0) ::usleep(50);
      if (replica.endpoint.attach(kB, received(*board), Offset{0}) != Code::ok) return;
      const auto entry = entry_at(0, board->generation);
      replica.endpoint.fan_out(set_of({kB}), Offset{0}, entry.data(), kEntry);
      replica.endpoint.complete_through(set_of({kB}), false, Offset{kEntry});
      Completion completion;
      if (replica.endpoint.poll({&completion, 1}) == 1) board->counted = kEntry;
      while (!how.ends && !board->over) ::usleep(50);
    }).join();
    const pmem::ProcessIdentity self = pmem::this_process();
    wait_until([&] { return pmem::thread_gone(self, number, self); });
    board->fenced = 1;
    while (!board->over) ::usleep(50);
    return 0;
  });
  Replica target(directory, kB);
  EXPECT_EQ(target.endpoint.revoke_all(), Code::ok);
  const auto grant = target.endpoint.grant(kA, Term{1});
  EXPECT_TRUE(grant);
  hand_over(*board, *grant, 0);
  wait_until([&] { return board->counted == kEntry && (!how.ends || board->fenced == 1); });
  if (how.foreign) {
    auto& control = *reinterpret_cast<Control*>(target.region->control().data());
    store_word(control.writers[kA.value].line.thread, StoringThread{1, 0x7ffffff0}.pack());
  }
  const auto before = target.region->manifest().slot_of_segment;
  EXPECT_EQ(target.endpoint.revoke_all(), Code::ok);
  EXPECT_EQ(held_through(target.ring(), 0, grant->generation), kEntry);
  const bool moved = target.region->manifest().slot_of_segment != before;
  board->over = true;
  EXPECT_EQ(exit_status(writer), 0);
  return moved;
}

TEST(Revocation, AnEndedThreadSparesTheCopyWhileItsProcessLives) {
  EXPECT_FALSE(revocation_moves({}));
}
TEST(Revocation, ALivingThreadDoesNot) { EXPECT_TRUE(revocation_moves({.ends = false})); }
TEST(Revocation, NorDoesAnEndedThreadOfAnotherProcess) {
  EXPECT_TRUE(revocation_moves({.ends = false, .foreign = true}));
}
TEST(Revocation, NorDoesAThreadThatWasNotSaidToBeTheOnlyOne) {
  EXPECT_TRUE(revocation_moves({.one_thread = false}));
}

}  // namespace
}  // namespace caisson::transport::shm
