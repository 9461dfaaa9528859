// SPDX-License-Identifier: BSD-3-Clause
// A fault at every named point of real processes (tests/points): one dies, stops, or is answered
// with a failure there; everybody comes back, and nothing is lost, doubled or different. The short
// form draws one fault for each point; with CAISSON_LONG each that is possible there strikes at
// three passings, by chance. CAISSON_SEED says which, CAISSON_ONLY=NAME,NAME plays those of some
// points.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/process/faulty_cluster.hpp"

namespace caisson::test {
namespace {

namespace fs = std::filesystem;
using points::Action;
using points::kActions;
using points::kPointCount;
using points::kPoints;
using points::Point;

constexpr size_t kRunsPerCluster = 60;
constexpr size_t kFaultsPerRun = 3;
constexpr size_t kLongDraws = 3;

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

bool chosen(Point point) {
  const char* const only = std::getenv("CAISSON_ONLY");
  if (only == nullptr) return true;
  const std::string name = "," + std::string(kPoints[point].name) + ",";
  return ("," + std::string(only) + ",").find(name) != std::string::npos;
}

std::vector<Trial> draw(std::mt19937_64& random) {
  const bool all = std::getenv("CAISSON_LONG") != nullptr;
  std::vector<Trial> trials;
  const auto add = [&](Point point, Action action) {
    const auto nth = static_cast<uint32_t>(1 + random() % kPoints[point].often);
    trials.push_back({point, action, nth});
  };
  for (Point point = 0; point < kPointCount; ++point) {
    if (!chosen(point)) continue;
    const size_t actions = kPoints[point].fails ? 3 : 2;
    if (!all) add(point, kActions[random() % actions]);
    for (size_t i = 0; all && i < kLongDraws * actions; ++i) add(point, kActions[i % actions]);
  }
  std::shuffle(trials.begin(), trials.end(), random);
  return trials;
}

// Faults that strike in one go: at different points that the same makes be passed.
std::vector<std::vector<Trial>> in_runs(std::vector<Trial> trials) {
  std::vector<std::vector<Trial>> runs;
  while (!trials.empty()) {
    std::vector<Trial> run{trials.back()};
    trials.pop_back();
    for (auto other = trials.begin(); other != trials.end() && run.size() < kFaultsPerRun;) {
      const bool fits =
          kPoints[other->point].script == kPoints[run[0].point].script &&
          std::ranges::none_of(run, [&](const Trial& t) { return t.point == other->point; });
      if (fits) run.push_back(*other);
      other = fits ? trials.erase(other) : std::next(other);
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

std::string text_of(const std::vector<Trial>& run) {
  std::string text;
  for (const Trial& trial : run) {
    text += (text.empty() ? "" : "; ") + std::string(kPoints[trial.point].name) + ": " +
            std::string(name(trial.action)) + " at passing " + std::to_string(trial.nth);
  }
  return text;
}

Json report(points::Board& board) {
  Json rows = Json::array();
  std::printf("%-28s %12s %6s %6s %6s\n", "point", "passings", "kill", "pause", "fail");
  for (Point point = 0; point < kPointCount; ++point) {
    const points::Cell& cell = board.cell(point);
    const auto struck = [&](Action action) {
      return cell.struck[static_cast<size_t>(action)].load();
    };
    rows.push_back({{"point", std::string(kPoints[point].name)},
                    {"what", std::string(kPoints[point].what)},
                    {"passings", cell.passings.load()},
                    {"kill", struck(Action::kill)},
                    {"pause", struck(Action::pause)},
                    {"fail", struck(Action::fail)}});
    std::printf("%-28s %12llu %6u %6u %6u\n", std::string(kPoints[point].name).c_str(),
                static_cast<unsigned long long>(cell.passings.load()), struck(Action::kill),
                struck(Action::pause), struck(Action::fail));
  }
  return {{"points", rows}};
}

TEST(Points, NothingIsLostWhateverStrikesWhere) {
  const bool drawn = std::getenv("CAISSON_LONG") != nullptr;
  const uint64_t seed = number_from("CAISSON_SEED", drawn ? std::random_device{}() : 1);
  SCOPED_TRACE("CAISSON_SEED=" + std::to_string(seed));
  const fs::path saved = fs::path(program()).parent_path().parent_path() / "points.json";
  const Scratch scratch;
  points::Board* const board = points::Board::open((scratch.path() / "board").string());
  ASSERT_NE(board, nullptr);
  const FaultyPrograms programs(scratch.path() / "board");
  std::mt19937_64 random(seed);
  const auto runs = in_runs(draw(random));
  for (size_t i = 0; i < runs.size() && !HasFailure();) {
    FaultyCluster cluster(*board, random());
    for (size_t end = std::min(i + kRunsPerCluster, runs.size()); i < end && !HasFailure(); ++i) {
      SCOPED_TRACE(text_of(runs[i]));
      const uint64_t began_ms = now_ms();
      EXPECT_TRUE(cluster.run(runs[i])) << "never struck";
      std::printf("%zu of %zu, %llu ms: %s\n", i + 1, runs.size(),
                  static_cast<unsigned long long>(now_ms() - began_ms), text_of(runs[i]).c_str());
      std::fflush(stdout);
    }
    if (!HasFailure()) cluster.finish();
  }
  write_file(saved, report(*board).dump(2) + "\n");
  if (HasFailure()) return;  // not everything was played
  for (const Point point : board->missing()) {
    if (!chosen(point)) continue;
    ADD_FAILURE() << kPoints[point].name << " was never passed, or no fault has struck there; see "
                  << saved;
  }
}

}  // namespace
}  // namespace caisson::test
