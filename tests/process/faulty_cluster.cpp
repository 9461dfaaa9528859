// SPDX-License-Identifier: BSD-3-Clause
#include "tests/process/faulty_cluster.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <sstream>

#include "caisson/checkpointed_state.hpp"
#include "tests/points/application.hpp"
#include "tools/process.hpp"

namespace caisson::test {

namespace {

namespace fs = std::filesystem;
using points::Action;
using points::at;
using points::Point;
using points::Script;

constexpr uint64_t kStruckWithinMs = 60'000;
constexpr uint64_t kServesWithinMs = 60'000;
constexpr uint64_t kStoppedMs = 300;
constexpr uint32_t kRunsPerTrim = 10;  // far less than a ring is appended meanwhile

}  // namespace

// ---- Programs and warden ----

FaultyPrograms::FaultyPrograms(const fs::path& board) : before_(program()) {
  setenv("CAISSON_PROGRAM", (fs::path(before_).parent_path() / "caisson-faulty").c_str(), 1);
  setenv(points::kBoardVariable, board.c_str(), 1);
}

FaultyPrograms::~FaultyPrograms() {
  setenv("CAISSON_PROGRAM", before_.c_str(), 1);
  unsetenv(points::kBoardVariable);
}

Warden::~Warden() {
  stop_.store(true);
  thread_.join();
}

void Warden::run() {
  while (!stop_.load()) {
    for (Point point = 0; point < points::kPointCount; ++point) {
      const pid_t pid = board_.cell(point).stopped.exchange(0);
      const auto process = pid != 0 ? tools::identify(pid) : std::nullopt;
      if (!process) continue;
      eventually([&] {
        const char state = tools::process_state(*process);
        return state == 'T' || state == '-';
      });
      pause_ms(kStoppedMs);
      (void)tools::send_signal(*process, SIGCONT);  // somebody may have ended it meanwhile
    }
    pause_ms(5);
  }
}

// ---- Trials ----

FaultyCluster::FaultyCluster(points::Board& board, uint64_t seed)
    : board_(board),
      random_(seed),
      replicas_({"--ring-bytes", "16MiB"}),
      warden_(board),
      feeder_(replicas_.scratch() / "pipe"),
      appends_(replicas_.scratch() / "appends.jsonl"),
      reads_(replicas_.scratch() / "reads.jsonl"),
      append_({"append", "--json", "--dir", replicas_.directory().string(), "--timeout", "120",
               "--history", appends_},
              replicas_.scratch() / "pipe", replicas_.scratch() / "out") {}

size_t FaultyCluster::struck() const {
  size_t count = 0;
  for (size_t i = 0; i < trials_.size(); ++i) {
    count += board_.cell(trials_[i].point).strikes() != struck_before_[i] ? 1 : 0;
  }
  return count;
}

bool FaultyCluster::tries(Point point) const {
  return std::ranges::any_of(trials_, [&](const Trial& trial) { return trial.point == point; });
}

bool FaultyCluster::run(const std::vector<Trial>& trials) {
  trials_ = trials;
  struck_before_.clear();
  for (const Trial& trial : trials) struck_before_.push_back(board_.cell(trial.point).strikes());
  if (++runs_ % kRunsPerTrim == 0) trim();
  for (const Trial& trial : trials) board_.order(trial.point, trial.action, trial.nth);
  const uint64_t until = now_ms() + kStruckWithinMs;
  while (!all_struck() && now_ms() < until) {
    struck_at_begin_ = struck();
    play(points::kPoints[trials.front().point].script);
    if (!all_struck()) heal();
  }
  for (Point point = 0; point < points::kPointCount; ++point) board_.withdraw(point);
  heal();
  return all_struck();
}

void FaultyCluster::play(Script script) {
  switch (script) {
    case Script::load: return (void)eventually([&] { return news(); }, 1'000);
    case Script::failover: return failover();
    case Script::deposed: return deposed();
    case Script::rivals: return rivals();
    case Script::orphans: return orphans();
    case Script::restart: return restart();
    case Script::transfer: return transfer();
    case Script::stream: return stream();
    case Script::trim: return trim();
    case Script::replace: return replace();
    case Script::read: return read();
    case Script::backup: return backup();
  }
}

bool FaultyCluster::signal(int replica, const std::string& name) {
  return replicas_({"cluster", "kill", "--replica", std::to_string(replica), "--signal", name})
             .exit == 0;
}

// Does not wait long: whoever has just been started may have died again.
Outcome FaultyCluster::start() const { return replicas_({"cluster", "start", "--timeout", "3"}); }

int FaultyCluster::a_follower() {
  const int leader = replicas_.await_leader();
  return (leader + static_cast<int>(random_() % 2)) % 3 + 1;
}

uint64_t FaultyCluster::committed() const {
  const Json status = replicas_.status();
  return status.is_object() ? status["logs"][0].value("committed", uint64_t{0}) : 0;
}

// Whoever died is started, whoever lost its memory is admitted, and appends are committed again.
// Each look starts what does not run: who dies may look alive for a moment.
void FaultyCluster::heal() {
  if (lost_ != 0) admit(lost_);
  Outcome started;
  uint64_t before = 0;
  const auto serves = [&] {
    started = start();
    if (started.exit != 0) return false;
    if (before == 0) before = committed();
    return committed() > before + 20;
  };
  EXPECT_TRUE(eventually(serves, kServesWithinMs))
      << started.errors << replicas_.status().dump(2) << read_file(replicas_.scratch() / "out.err");
}

// ---- What makes points be passed ----

void FaultyCluster::failover() {
  if (signal(replicas_.await_leader(), "KILL")) (void)start();
}

void FaultyCluster::deposed() {
  const int old = replicas_.await_leader();
  if (!signal(old, "STOP")) return;
  eventually([&] { return news(); }, kStoppedMs);
  signal(old, "CONT");
}

void FaultyCluster::rivals() {
  board_.order(at("send.grant_request"), Action::pause, 1);
  failover();
}

void FaultyCluster::orphans() {
  if (!tries(at("append.torn"))) {
    board_.order(at("append.torn"), Action::kill, static_cast<uint32_t>(1 + random_() % 10));
    eventually([&] { return !board_.waits(at("append.torn")); }, 5'000);
  }
  (void)start();
}

void FaultyCluster::restart() {
  if (signal(a_follower(), "KILL")) (void)start();
}

void FaultyCluster::transfer() {
  (void)replicas_({"leader", "transfer", "--to", std::to_string(a_follower()), "--timeout", "2"});
}

// Without a line of its own.
void FaultyCluster::stream() { (void)replicas_({"append", "--timeout", "5"}); }

// As soon as every application has got so far.
void FaultyCluster::trim() {
  const uint64_t last = committed();
  read_through(last);
  const Arguments trim{"trim", "--through", std::to_string(last), "--timeout", "2"};
  eventually([&] { return replicas_(trim).exit == 0 || news(); }, 3'000);
}

void FaultyCluster::replace() {
  trim();  // or there would be no need to begin anew
  lost_ = a_follower();
  if (!signal(lost_, "KILL")) return;
  fs::remove_all(replicas_.data(lost_) / "logs");
  admit(lost_);
}

void FaultyCluster::admit(int replica) {
  const std::string number = std::to_string(replica);
  Outcome last;
  const bool admitted = eventually(
      [&] {
        // Whoever has its regions need not be made again.
        if (!fs::exists(replicas_.region(replica))) {
          (void)replicas_({"cluster", "start", "--timeout", "3", "--replica", number, "--join"});
        }
        last = start();
        if (last.exit == 0) {
          last = replicas_(
              {"member", "replace", "--replica", number, "--by", number, "--timeout", "1"});
        }
        return last.exit == 0;
      },
      kServesWithinMs);
  EXPECT_TRUE(admitted) << last.errors;
  lost_ = 0;
}

void FaultyCluster::read() {
  const std::string from = std::to_string(committed());
  for (const char* const path : {"leader", "proof", "log"}) {
    if (news()) return;
    (void)replicas_({"read", "--replica", std::to_string(a_follower()), "--linearizable", path,
                     "--from", from, "--timeout", "2", "--history", reads_});
  }
}

// Again and again into new directories: what was begun is no backup, and no cluster.
void FaultyCluster::backup() {
  const auto copy = [&] {
    const fs::path room = replicas_.scratch() / "backups" / std::to_string(++backups_);
    const std::string from = (room / "copy").string(), to = (room / "cluster").string();
    bool whole = replicas_({"backup", "make", "--to", from}).exit == 0;
    if (whole) {
      EXPECT_EQ(test::run({"backup", "verify", "--from", from}).exit, 0);
      whole = test::run({"restore", "--from", from, "--dir", to}).exit == 0;
    }
    if (whole) {
      EXPECT_EQ(test::run({"log", "verify", to + "/replica-1/data"}).exit, 0);
    }
    fs::remove_all(room);
    return whole;
  };
  const bool whole = copy() || eventually(copy);
  EXPECT_TRUE(whole);
}

// ---- The judgement ----

void FaultyCluster::read_through(uint64_t last) {
  if (last <= read_through_) return;
  const std::string from = std::to_string(read_through_ + 1), to = std::to_string(last);
  const std::string text = feeder_.text();
  std::string first;
  for (int replica = 1; replica <= 3; ++replica) {
    const Outcome held =
        replicas_({"read", "--replica", std::to_string(replica), "--from", from, "--wait-for", to,
                   "--to", to, "--timeout", "10", "--history", reads_});
    if (held.exit != 0) return;  // a fault has struck meanwhile: nothing is said
    if (replica == 1) first = held.output;
    EXPECT_TRUE(held.output == first) << "replica " << replica << " holds something else";
  }
  EXPECT_TRUE(text.compare(read_bytes_, first.size(), first) == 0)
      << "positions " << from << " to " << to << " are not the lines that were appended";
  read_through_ = last;
  read_bytes_ += first.size();
}

void FaultyCluster::finish() {
  feeder_.stop();
  ASSERT_EQ(append_.wait(), 0) << read_file(replicas_.scratch() / "out")
                               << read_file(replicas_.scratch() / "out.err");
  const Json result = Json::parse(read_file(replicas_.scratch() / "out"));
  EXPECT_EQ(result["entries"], feeder_.lines());
  const uint64_t last = result["last_position"].get<uint64_t>();
  EXPECT_EQ(start().exit, 0);
  read_through(last);
  EXPECT_EQ(read_through_, std::max(last, read_through_));
  EXPECT_EQ(read_bytes_, feeder_.text().size()) << "lines are missing, or there twice";
  replicas_.stop();
  compare_states();
  for (int replica = 1; replica <= 3; ++replica) {
    EXPECT_EQ(test::run({"log", "verify", replicas_.data(replica).string()}).exit, 0)
        << "replica " << replica;
  }
  judge_history();
}

void FaultyCluster::judge_history() const {
  const Outcome verdict = replicas_.judge({appends_, reads_});
  EXPECT_EQ(verdict.exit, 0) << verdict.output << verdict.errors;
  EXPECT_EQ(verdict.json()["acknowledged"], feeder_.lines());
  EXPECT_GE(verdict.json()["reads"], 3);
}

void FaultyCluster::compare_states() const {
  points::AppliedState expected;
  std::istringstream lines(feeder_.text());
  for (std::string line; std::getline(lines, line);) expected.apply(std::as_bytes(std::span(line)));
  for (int replica = 1; replica <= 3; ++replica) {
    const auto state = CheckpointedState::open(points::state_path(replicas_.data(replica), "main"),
                                               0, PersistenceMode::emulated);
    ASSERT_TRUE(state) << state.error().message;
    EXPECT_TRUE(std::ranges::equal((*state)->load().bytes, expected.bytes()))
        << "replica " << replica << ": its application has not applied each line once";
  }
}

}  // namespace caisson::test
