// SPDX-License-Identifier: BSD-3-Clause
// The two ends of a state transfer, joined by a line that loses, damages and forges what it likes.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "core/engine/state_source.hpp"
#include "core/engine/state_target.hpp"
#include "tests/engine/toy_state.hpp"

namespace caisson::engine_test {
namespace {

using control::StateFrame;
using control::StateKind;
using engine::StatePhase;

constexpr uint64_t kMillisecondNs = 1'000'000;

class FakeLog final : public engine::StateLog {
 public:
  LogIdentity identity() const override { return {{1, 2, 3}, 7}; }
  Position base_wanted() const override { return wanted; }
  Position committed() const override { return end; }
  Position trimmed() const override { return {}; }
  bool votes() const override { return voter; }
  ReplicaSet peers() const override { return {0b1110}; }
  ReplicaId leader() const override { return ReplicaId{1}; }
  void mark_installed(Position p) override { installed = p; }
  void hold(std::optional<Position> p) override { held = p; }

  Position wanted;
  Position end{1000};
  bool voter = true;
  Position installed;
  std::optional<Position> held;
};

// Replica 1 is the target, 2 and 3 are sources.
class Line {
 public:
  explicit Line(uint32_t sources = 2) {
    for (uint8_t id = 2; id < 2 + sources; ++id) add(id);
    own_log.wanted = Position{100};
    restart_target();
  }

  void add(uint8_t id) {
    End& end = ends[id];
    for (uint64_t p = 1; p <= 100; ++p) end.disk.apply(Position{p}, {});
    restart_source(id);
  }
  void restart_source(uint8_t id) {
    End& end = ends[id];
    end.source.reset();
    end.hook = std::make_unique<ToyState>(end.disk);
    end.source = std::make_unique<engine::StateSource>(
        end.log, end.hook.get(), ReplicaId{id},
        [this](ReplicaId, const StateFrame& frame) { post(frame); });
  }
  void restart_target() {
    target.reset();
    hook = std::make_unique<ToyState>(disk);
    hook->fails = &fails;
    target = std::make_unique<engine::StateTarget>(
        own_log, *hook, ReplicaId{1}, ++seed,
        [this](ReplicaId, const StateFrame& frame) { post(frame); }, pace);
  }
  void post(const StateFrame& frame) {
    std::string bytes = control::encode_state(frame);
    if (frame.kind == StateKind::give && frame.code == Code::ok) ++pieces;
    if (on_post) on_post(frame, bytes);
    if (!bytes.empty()) frames.push_back(std::move(bytes));
  }
  void step() {
    now_ns += kMillisecondNs;
    std::deque<std::string> now;
    now.swap(frames);
    for (const std::string& bytes : now) {
      const auto frame = control::decode_state(std::as_bytes(std::span(bytes)));
      if (!frame) {
        ++refused[frame.error().code];
        target->take_damaged(now_ns);
      } else if (frame->kind == StateKind::give) {
        target->take(*frame, now_ns);
      } else if (const auto end = ends.find(frame->to.value); end != ends.end()) {
        end->second.source->answer(*frame, now_ns);
      }
    }
    target->turn(now_ns);
    for (auto& [id, end] : ends) end.source->keep(now_ns);
  }
  template <class Done>
  bool until(Done&& done, int steps = 100'000) {
    while (!done() && steps-- > 0) step();
    return done();
  }
  bool arrives() {
    return until([&] { return own_log.installed >= own_log.wanted; });
  }

  struct End {
    FakeLog log;
    ToyDisk disk;
    std::unique_ptr<ToyState> hook;
    std::unique_ptr<engine::StateSource> source;
  };
  std::map<uint8_t, End> ends;
  FakeLog own_log;
  ToyDisk disk;
  std::atomic<bool> fails{false};
  std::unique_ptr<ToyState> hook;
  engine::StatePace pace{uint64_t{1} << 40};
  std::unique_ptr<engine::StateTarget> target;
  std::deque<std::string> frames;
  std::function<void(const StateFrame&, std::string&)> on_post;
  std::map<Code, int> refused;
  int pieces = 0;
  uint64_t seed = 0;
  uint64_t now_ns = kMillisecondNs;
};

TEST(StateTransfer, ArrivesWholeAndIsInstalledOnce) {
  Line line;
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
  EXPECT_EQ(line.own_log.installed, Position{100});
  EXPECT_EQ(line.disk.finished, 1u);
  EXPECT_EQ(line.pieces, 8);
  EXPECT_EQ(line.target->report().phase, StatePhase::installed);
  line.own_log.wanted = {};
  line.step();
  EXPECT_EQ(line.target->report().phase, StatePhase::idle);
}

TEST(StateTransfer, ADamagedPieceIsRefusedAndAskedForAgain) {
  Line line;
  int damaged = 0;
  line.on_post = [&](const StateFrame& frame, std::string& bytes) {
    if (frame.kind == StateKind::give && line.pieces % 3 == 1 && damaged < 3) {
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
      ++damaged;
    }
  };
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.refused[Code::damaged], 3);
  EXPECT_EQ(line.pieces, 11);
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
}

TEST(StateTransfer, WhatIsLostIsAskedForAgain) {
  Line line;
  int sent = 0;
  line.on_post = [&](const StateFrame&, std::string& bytes) {
    if (++sent % 4 == 0) bytes.clear();
  };
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
  EXPECT_EQ(line.disk.begun, 1u);
}

TEST(StateTransfer, GoesOnWhereItStoodWhenTheTargetComesBack) {
  Line line;
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes >= 4u * (256 << 10); }));
  line.restart_target();
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.begun, 1u);
  EXPECT_LE(line.pieces, 9);
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
}

TEST(StateTransfer, GoesOnFromAnotherSourceThatHasTheSameBytes) {
  Line line;
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes >= 4u * (256 << 10); }));
  const uint8_t source = line.target->report().peer.value;
  line.ends.erase(source);
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.begun, 1u);
  EXPECT_EQ(line.disk.digest(), line.ends.begin()->second.disk.digest());
}

TEST(StateTransfer, BeginsAnewWhereNobodyHasThoseBytesAnyMore) {
  Line line(1);
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes >= 4u * (256 << 10); }));
  line.restart_source(2);
  line.ends[2].disk.apply(Position{101}, {});
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.begun, 2u);
  EXPECT_EQ(line.own_log.installed, Position{101});
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
}

TEST(StateTransfer, BeginsAnewWhereTheOthersTrimBeyondIt) {
  Line line(1);
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes != 0; }));
  line.own_log.wanted = Position{105};
  for (uint64_t p = 101; p <= 105; ++p) line.ends[2].disk.apply(Position{p}, {});
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.own_log.installed, Position{105});
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
}

TEST(StateTransfer, AHookThatFailsIsNamedAndTriedAgain) {
  Line line;
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes != 0; }));
  line.fails = true;
  ASSERT_TRUE(line.until([&] { return line.target->report().phase == StatePhase::pausing; }));
  ASSERT_TRUE(line.target->report().error.has_value());
  EXPECT_EQ(line.target->report().error->code, Code::no_space);
  EXPECT_EQ(line.target->report().error->message, "the disk is full");
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(line.disk.begun, 1u) << "what it held it need not get again";
  EXPECT_EQ(line.target->report().attempts, 2u);
}

TEST(StateTransfer, NobodyWithoutAVoteOrTheStateIsASource) {
  Line line;
  line.ends[2].log.voter = false;
  line.ends[3].disk.position = Position{99};
  ASSERT_TRUE(line.until([&] { return line.target->report().phase == StatePhase::pausing; }));
  EXPECT_EQ(line.pieces, 0);
  ASSERT_TRUE(line.target->report().error.has_value());
  EXPECT_EQ(line.target->report().error->code, Code::not_yet);
  line.ends[3].disk.position = Position{100};
  ASSERT_TRUE(line.arrives());
}

TEST(StateTransfer, AForgedAnswerChangesNothing) {
  Line line(1);
  int forged = 0;
  line.on_post = [&](const StateFrame& frame, std::string& bytes) {
    if (frame.kind != StateKind::give || frame.code != Code::ok || forged >= 4) return;
    StateFrame other = frame;
    switch (forged++) {
      case 0: other.position = Position{99}; break;  // older than what is wanted
      case 1: other.nonce ^= 1; break;               // of another question
      case 2: other.from = ReplicaId{3}; break;      // of nobody who was asked
      default:
        other.state_bytes = other.bytes.size() + other.offset;
        other.last = true;
        break;
    }
    bytes = control::encode_state(other);
  };
  ASSERT_TRUE(line.arrives());
  EXPECT_EQ(forged, 4);
  EXPECT_EQ(line.disk.digest(), line.ends[2].disk.digest());
}

TEST(StateTransfer, TheTrimIsHeldBackWhileItLastsAndNotForEver) {
  Line line(1);
  ASSERT_TRUE(line.until([&] { return line.target->report().done_bytes != 0; }));
  EXPECT_EQ(line.ends[2].log.held, Position{100});
  ASSERT_TRUE(line.arrives());
  ASSERT_TRUE(line.until([&] { return !line.ends[2].log.held.has_value(); }));
}

TEST(StateTransfer, KeepsToItsPace) {
  Line line(1);
  line.pace = engine::StatePace(uint64_t{1} << 20);
  const uint64_t began_ns = line.now_ns;
  ASSERT_TRUE(line.arrives());
  EXPECT_GE(line.now_ns - began_ns, 1'700 * kMillisecondNs) << "2 MiB, the last piece unpaid";
}

}  // namespace
}  // namespace caisson::engine_test
