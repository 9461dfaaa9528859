// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/runs.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "tests/sim/reader.hpp"

namespace caisson::simtest {

namespace {

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Asked only when something failed.
std::string commit() {
  const char* source = std::getenv("CAISSON_SOURCE_DIR");
  const std::string command = "git -C '" + std::string(source != nullptr ? source : ".") +
                              "' describe --always --dirty 2>/dev/null";
  std::string text;
  if (FILE* pipe = ::popen(command.c_str(), "r")) {
    std::array<char, 64> line{};
    if (std::fgets(line.data(), line.size(), pipe) != nullptr) text = line.data();
    ::pclose(pipe);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "unknown" : text;
}

struct Range {
  uint64_t first;
  uint64_t last;
};

Range seeds(uint64_t first, uint64_t count) {
  if (const char* text = std::getenv("CAISSON_SEEDS")) {
    char* rest = nullptr;
    const uint64_t low = std::strtoull(text, &rest, 10);
    while (*rest == '.') ++rest;
    return {low, *rest == '\0' ? low : std::strtoull(rest, nullptr, 10)};
  }
  return {first, first + count * number_of("CAISSON_LONG", 1) - 1};
}

void add(Outcome& sum, const Outcome& one) {
  sum.trace ^= one.trace;
  sum.committed += one.committed;
  sum.elections += one.elections;
  sum.lines_refused += one.lines_refused;
  sum.lines_from_dead += one.lines_from_dead;
  sum.apologies += one.apologies;
  sum.refused += one.refused;
  sum.reads += one.reads;
  sum.constructed += one.constructed;
  sum.violations.insert(sum.violations.end(), one.violations.begin(), one.violations.end());
}

}  // namespace

void expect_sound(const Outcome& outcome, uint64_t seed) {
  for (const Violation& v : outcome.violations) {
    ADD_FAILURE() << v.invariant << " violated: " << v.what << "\n  seed " << seed << ", commit "
                  << commit() << "\n  again: CAISSON_SEEDS=" << seed << " test_sim --gtest_filter="
                  << ::testing::UnitTest::GetInstance()->current_test_info()->test_suite_name()
                  << "." << ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }
}

Outcome conclude(World& world, bool constructed) {
  Outcome outcome;
  outcome.constructed = constructed;
  outcome.violations = world.finish();
  if (const char* file = std::getenv("CAISSON_HISTORY");
      file != nullptr && !outcome.violations.empty()) {
    std::ofstream out(file);
    for (const Event& e : world.history()) out << to_text(e) << '\n';
  }
  outcome.trace = world.trace();
  outcome.committed = world.committed_max();
  for (const Event& e : world.history()) {
    outcome.elections += e.what == What::lead;
    if (e.what == What::apology) outcome.apologies += e.count;
  }
  outcome.lines_refused = world.fabric().counters().lines_refused;
  outcome.lines_from_dead = world.fabric().counters().lines_from_dead;
  for (const auto& client : world.clients()) outcome.refused += client->refused();
  return outcome;
}

Outcome swarm_run(uint64_t seed, log::QuorumSystem quorum) {
  WorldOptions drawn = swarm_world(seed);
  drawn.quorum = quorum;
  World world(drawn);
  const uint64_t clients = world.random().between(1, 5);
  for (uint64_t id = 1; id <= clients; ++id) {
    ClientOptions o;
    o.client = id;
    o.window = static_cast<uint32_t>(world.random().between(1, world.options().ring_bytes / 4096));
    o.pace_ns = world.random().between(5, 200) * kUs;
    if ((seed + id) % 4 == 3) {
      o.volatile_permille = o.local_permille = 200;
      o.forgetful = seed % 3 != 0;
    }
    world.add_client(std::make_unique<Client>(world, o));
  }
  Reader reader(world, {});
  ChaosOptions faults = swarm_chaos(seed);
  if (quorum != log::QuorumSystem{}) faults.destroy = 0;
  // Where all commit, nobody is spared who has to come back empty: a ring that was reused since the
  // older slot was written.
  if (quorum.commit == log::QuorumSystem::kAll) faults.slot_loss = 0;
  Chaos chaos(world, faults);
  world.run_for(world.random().between(10, 40) * kMs);
  chaos.stop();
  reader.stop();
  Outcome outcome = conclude(world);
  outcome.reads = reader.answered();
  return outcome;
}

Outcome over_seeds(uint64_t first, uint64_t count, const std::function<Outcome(uint64_t)>& run) {
  const auto range = seeds(first, count);
  const uint64_t minutes = number_of("CAISSON_MINUTES", 0);
  const auto start = std::chrono::steady_clock::now();
  const auto spent_s = [&] {
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() -
                                                            start)
        .count();
  };
  Outcome sum;
  int64_t told_s = 0;
  for (uint64_t seed = range.first; seed <= range.last; ++seed) {
    const Outcome one = run(seed);
    expect_sound(one, seed);
    add(sum, one);
    // The first bad seed is enough to look at.
    if (!one.violations.empty()) break;
    if (minutes == 0) continue;
    if (spent_s() >= static_cast<int64_t>(minutes * 60)) break;
    if (spent_s() >= told_s + 10) {
      told_s = spent_s();
      std::cout << told_s << " s: seed " << seed << " of " << range.last << ", " << sum.committed
                << " entries, " << sum.elections << " terms" << std::endl;
    }
  }
  return sum;
}

}  // namespace caisson::simtest
