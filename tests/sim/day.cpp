// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/day.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

namespace caisson::simtest {

namespace {

void count_history(const History& history, uint64_t run_ns, Totals& totals) {
  std::vector<uint64_t> terms, views;
  for (const Event& e : history) {
    if (e.what == What::lead) terms.push_back(e.term);
    if (e.what == What::expose && e.kind == kViewKind) views.push_back(e.position);
    if (e.what == What::ack) ++totals.acknowledged;
    if (e.what == What::read) ++totals.reads;
    if (e.what == What::takeover) ++totals.takeovers;
    if (e.what == What::apology) totals.apologies += e.count;
    if (e.what == What::end) totals.recovery_ns_max = e.at_ns - std::min(e.at_ns, run_ns);
  }
  const auto distinct = [](std::vector<uint64_t>& all) {
    std::sort(all.begin(), all.end());
    return static_cast<uint64_t>(std::unique(all.begin(), all.end()) - all.begin());
  };
  totals.failovers = distinct(terms);
  totals.failovers -= totals.failovers > 0;
  totals.views = distinct(views);
}

constexpr int kRoundsMax = 50;  // of one day; where nobody lives nothing happens

uint64_t events_of(World& world) {
  return world.counters().events + world.fabric().counters().events;
}

uint64_t sum(const FaultCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

bool too_quiet(World& world, const Performer& performer, const Schedule& day) {
  return events_of(world) < day.events_min || sum(performer.struck()) < day.faults_min;
}

// What was drawn may find nobody to strike, however often: a lone replica is spared whatever needs
// a peer to mend it. Anybody can die.
std::vector<Action> plain_deaths(const Schedule& day) {
  std::vector<Action> deaths(day.faults_min);
  for (uint64_t i = 0; i < deaths.size(); ++i) {
    deaths[i].what = Fault::crash;
    deaths[i].at_ns = (i + 1) * day.run_ns / (deaths.size() + 1);
    deaths[i].for_ns = day.run_ns / 16;
    deaths[i].salt = i + 1;
  }
  return deaths;
}

Totals count(World& world, const Performer& performer, uint64_t ended_ns) {
  Totals t;
  t.seeds = 1;
  const WorldCounters& w = world.counters();
  const transport::sim::SimCounters& f = world.fabric().counters();
  t.events = events_of(world);
  t.virtual_ns = world.now();
  t.by_class = performer.struck();
  t.faults = sum(t.by_class);
  t.events_least = t.events;
  t.faults_least = t.faults;
  t.power_cuts = w.powers_lost;
  t.deaths = w.processes_died;
  t.died_inside = w.died_inside;
  t.messages = w.messages;
  t.messages_lost = w.messages_lost;
  t.messages_twice = w.messages_twice;
  t.messages_late = w.messages_late;
  t.messages_clogged = w.messages_clogged;
  t.lines = f.lines_landed;
  t.lines_scattered = f.lines_scattered;
  t.lines_again = f.lines_again;
  t.lines_dropped = f.lines_dropped;
  t.lines_refused = f.lines_refused;
  t.lines_from_dead = f.lines_from_dead;
  t.late = f.late;
  t.quorums_damaged = world.quorum_damaged();
  t.committed = world.committed_max();
  count_history(world.history(), ended_ns, t);
  return t;
}

}  // namespace

void add(Totals& sum, const Totals& one) {
  sum.seeds += one.seeds;
  sum.events_least = sum.seeds == one.seeds ? one.events : std::min(sum.events_least, one.events);
  sum.faults_least = sum.seeds == one.seeds ? one.faults : std::min(sum.faults_least, one.faults);
  sum.events += one.events;
  sum.virtual_ns += one.virtual_ns;
  sum.faults += one.faults;
  for (size_t i = 0; i < kFaults; ++i) sum.by_class[i] += one.by_class[i];
  sum.failovers += one.failovers;
  sum.power_cuts += one.power_cuts;
  sum.deaths += one.deaths;
  sum.died_inside += one.died_inside;
  sum.messages += one.messages;
  sum.messages_lost += one.messages_lost;
  sum.messages_twice += one.messages_twice;
  sum.messages_late += one.messages_late;
  sum.messages_clogged += one.messages_clogged;
  sum.lines += one.lines;
  sum.lines_scattered += one.lines_scattered;
  sum.lines_again += one.lines_again;
  sum.lines_dropped += one.lines_dropped;
  sum.lines_refused += one.lines_refused;
  sum.lines_from_dead += one.lines_from_dead;
  sum.late += one.late;
  sum.committed += one.committed;
  sum.acknowledged += one.acknowledged;
  sum.reads += one.reads;
  sum.views += one.views;
  sum.takeovers += one.takeovers;
  sum.apologies += one.apologies;
  sum.quorums_damaged += one.quorums_damaged;
  sum.recovery_ns_max = std::max(sum.recovery_ns_max, one.recovery_ns_max);
}

bool Verdict::only_stuck() const {
  return !violations.empty() &&
         std::all_of(violations.begin(), violations.end(),
                     [](const Violation& v) { return v.invariant == "LIVE"; });
}

Verdict run_day(const Schedule& day, const DayOptions& options) {
  World world(day.world);
  world.set_witness(options.witness);
  for (const ClientOptions& client : day.clients) {
    world.add_client(std::make_unique<Client>(world, client));
  }
  std::unique_ptr<Reader> reader;
  if (day.reader) reader = std::make_unique<Reader>(world, ReaderOptions{});
  Performer performer(world);
  performer.begin(day.actions);
  world.run_for(day.run_ns);
  for (int round = 1; round < kRoundsMax && too_quiet(world, performer, day); ++round) {
    performer.begin(day.actions);
    world.run_for(day.run_ns);
  }
  const std::vector<Action> deaths = plain_deaths(day);
  for (int round = 0; round < kRoundsMax && sum(performer.struck()) < day.faults_min; ++round) {
    performer.begin(deaths);
    world.run_for(day.run_ns);
  }
  performer.stop();
  if (reader) reader->stop();
  const uint64_t ended_ns = world.now();
  Verdict verdict;
  verdict.violations = world.finish();
  verdict.trace = world.trace();
  verdict.totals = count(world, performer, ended_ns);
  if (options.canary != Canary::none) {
    History spoilt = world.history();
    (void)spoil(spoilt, options.canary, day.world.seed);
    verdict.violations = judge(spoilt);
    if (options.history != nullptr) *options.history = std::move(spoilt);
  } else if (options.history != nullptr) {
    *options.history = world.history();
  }
  return verdict;
}

}  // namespace caisson::simtest
