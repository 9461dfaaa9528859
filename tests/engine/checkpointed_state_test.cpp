// SPDX-License-Identifier: BSD-3-Clause
// S6: everything restarts, and the application crashes between applying an entry and committing
// that it has (R33): replay in order, each entry applied exactly once.
#include "caisson/checkpointed_state.hpp"

#include <fstream>
#include <optional>

#include "tests/engine/engine_cluster.hpp"

namespace caisson::engine_test {
namespace {

constexpr uint64_t kStateBytes = 64 << 10;

class StateFile : public testing::Test {
 protected:
  StateFile() { std::filesystem::create_directories(directory_); }
  ~StateFile() override { std::filesystem::remove_all(directory_); }
  Result<std::unique_ptr<CheckpointedState>> open(
      uint64_t bytes_max = kStateBytes, PersistenceMode mode = PersistenceMode::emulated) {
    return CheckpointedState::open(path_, bytes_max, mode);
  }
  const std::string directory_ = "/dev/shm/caisson-state-test-" + std::to_string(getpid());
  const std::string path_ = directory_ + "/state";
};

TEST_F(StateFile, BeginsEmptyAndIsThereAgainWhenOpenedAgain) {
  {
    const auto state = open();
    ASSERT_TRUE(state) << state.error().message;
    EXPECT_EQ((*state)->load().position, Position{0});
    EXPECT_TRUE((*state)->load().bytes.empty());
    EXPECT_EQ((*state)->persistence(), Persistence::emulated);
    EXPECT_EQ((*state)->commit(Position{7}, bytes_of("seven")), Code::ok);
    EXPECT_EQ((*state)->commit(Position{6}, bytes_of("six")), Code::invalid);
    EXPECT_EQ((*state)->commit(Position{8}, std::vector<std::byte>((*state)->bytes_max() + 1)),
              Code::too_large);
    EXPECT_EQ(open().error().code, Code::busy);
  }
  const auto state = open();
  ASSERT_TRUE(state);
  EXPECT_EQ((*state)->load().position, Position{7});
  EXPECT_EQ(text_of((*state)->load().bytes), "seven");
}

TEST_F(StateFile, WhatCannotBeHadIsRefusedWithItsReason) {
  EXPECT_EQ(open(kStateBytes, PersistenceMode::unset).error().code, Code::invalid);
  EXPECT_EQ(open(CheckpointedState::kBytesLimit + 1).error().code, Code::too_large);
  EXPECT_EQ(open(kStateBytes, PersistenceMode::real).error().code, Code::unsupported)
      << "memory of this machine";
  EXPECT_FALSE(std::filesystem::exists(path_)) << "nothing is left of it";
  EXPECT_EQ(CheckpointedState::open(directory_ + "/none/state", 100, PersistenceMode::emulated)
                .error()
                .code,
            Code::not_found);
  ASSERT_TRUE(open());
  EXPECT_EQ(open(100 * kStateBytes).error().code, Code::too_large);
  std::ofstream(path_, std::ios::trunc) << std::string(8192, 'x');
  EXPECT_EQ(open().error().code, Code::damaged);
  std::filesystem::resize_file(path_, 5000);
  EXPECT_EQ(open().error().code, Code::damaged);
}

// Its state is what it has applied, a line an entry.
class Application {
 public:
  explicit Application(const std::string& path) {
    auto opened = CheckpointedState::open(path, kStateBytes, PersistenceMode::emulated);
    EXPECT_TRUE(opened) << opened.error().message;
    if (!opened) return;
    state_ = std::move(*opened);
    position_ = state_->load().position;
    applied_ = text_of(state_->load().bytes);
  }
  // Applies and commits entries; crashes instead of the commit of the `crash_at`-th. False: it did.
  bool run(Log& log, uint64_t crash_at) {
    auto entries = log.subscribe(position_ + 1);
    EXPECT_TRUE(entries);
    if (!entries) return true;
    Entry entry;
    uint64_t count = 0;
    while ((*entries)->next(entry) == Code::ok) {
      applied_ += text_of(entry.payload) + "\n";
      if (++count == crash_at) return false;
      EXPECT_EQ(state_->commit(entry.position, bytes_of(applied_)), Code::ok);
      EXPECT_EQ(log.mark_applied(entry.position), Code::ok);
    }
    return true;
  }
  const std::string& applied() const { return applied_; }

 private:
  std::unique_ptr<CheckpointedState> state_;
  Position position_;
  std::string applied_;
};

TEST(S6, EveryEntryIsAppliedOnceThoughTheApplicationCrashesBeforeItSaysSo) {
  Shape shape;
  shape.runs_inline = true;
  shape.auto_apply = false;
  Cluster cluster(shape);
  cluster.start();
  ASSERT_FALSE(testing::Test::HasFatalFailure());
  const std::string path = cluster.directory() + "/application";
  std::string wanted;
  uint64_t crashes = 0;
  Position last;
  for (uint64_t round = 1; round <= 6; ++round) {
    int leads = 0;
    {
      const auto appender = cluster.appender_at_leader(leads, {.client = round});
      ASSERT_NE(appender, nullptr);
      for (int i = 0; i < 5; ++i) {
        const std::string text = std::to_string(round) + "/" + std::to_string(i);
        const Completion done = appender->append(bytes_of(text));
        ASSERT_EQ(done.code, Code::ok);
        last = done.position;
        wanted += text + "\n";
      }
    }
    ASSERT_TRUE(cluster.until([&] { return cluster.log(1).tail() >= last; }));
    crashes += Application(path).run(cluster.log(1), round) ? 0 : 1;
    // The application is gone, and so is everybody else.
    for (int id = 1; id <= 3; ++id) cluster.close(id);
    for (int id = 1; id <= 3; ++id) cluster.open(id);
    ASSERT_NE(cluster.leader(), 0);
    ASSERT_TRUE(cluster.until([&] { return cluster.log(1).tail() >= last; }));
  }
  EXPECT_GE(crashes, 5u);
  {
    Application application(path);
    EXPECT_TRUE(application.run(cluster.log(1), UINT64_MAX));
    EXPECT_EQ(application.applied(), wanted);
  }
  Application again(path);
  EXPECT_EQ(again.applied(), wanted);
  EXPECT_TRUE(again.run(cluster.log(1), 1)) << "there is nothing left to apply";
}

}  // namespace
}  // namespace caisson::engine_test
