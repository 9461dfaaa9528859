// SPDX-License-Identifier: BSD-3-Clause
// The core's steps on small random days are steps of tests/model/view_change.pml, and what is no
// such history is rejected there. tests/model/trace asks the model.
#include "tests/sim/model_trace.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "tests/sim/script.hpp"
#include "tests/support/program.hpp"

namespace caisson::simtest {
namespace {

constexpr uint64_t kFaultsFrom_ns = 3 * kMs;
constexpr uint64_t kFaultsFor_ns = 14 * kMs;
constexpr uint64_t kQuiet_ns = 10 * kMs;

// A day that fits into the model: three voters and a spare, a dozen entries, a few elections.
class SmallDay {
 public:
  explicit SmallDay(uint64_t seed)
      : random_(seed * 7919), world_(options(seed)), observer_(world_), script_(world_) {}
  ModelTrace run();

 private:
  WorldOptions options(uint64_t seed);
  void in(uint64_t ns, std::function<void()> what) { world_.after(ns, std::move(what)); }
  uint64_t some_time() { return kFaultsFrom_ns + random_.below(kFaultsFor_ns); }
  uint8_t somebody();
  void append();
  void strand();
  void hold(uint8_t id, uint64_t for_ns);
  void fault();
  void start_again(uint8_t id, uint64_t within_ns);
  void mend(uint8_t id);
  void strike();
  void members();
  void ask(const MemberChange& change, ReplicaSet voters, uint64_t from_ns, uint64_t until_ns);

  Random random_;
  World world_;
  ModelObserver observer_;
  Script script_;
};

WorldOptions SmallDay::options(uint64_t seed) {
  WorldOptions o = quiet_world(seed);
  o.spares = 1;
  o.trims = false;
  o.ring_bytes = 64 * 1024;
  o.scrub_bytes_per_s = 0;
  o.entry_bytes_max = 2048;
  o.message_late_permille = random_.permille(300) ? 200 : 0;
  o.message_twice_permille = random_.permille(300) ? 200 : 0;
  o.message_loss_permille = random_.permille(300) ? 100 : 0;
  o.fabric.late_permille = random_.permille(300) ? 50 : 5;
  return o;
}

uint8_t SmallDay::somebody() {
  const uint8_t leader = world_.leader();
  if (leader != 0 && random_.permille(600)) return leader;
  return static_cast<uint8_t>(1 + random_.below(world_.size()));
}

// Whoever believes to lead is asked.
void SmallDay::append() {
  std::vector<uint8_t> leaders;
  for (const uint8_t id : world_.ids()) {
    const Machine& m = world_.machine(id);
    if (m.turns() && m.replica->leading().value != 0) leaders.push_back(id);
  }
  if (!leaders.empty()) script_.append(leaders[random_.below(leaders.size())], random_.below(400));
}

// What a leader appends now reaches few, or nobody, before it dies.
void SmallDay::strand() {
  const uint8_t id = world_.leader();
  if (id == 0) return;
  hold(id, 500 * kUs + random_.below(2 * kMs));
  for (uint64_t i = random_.between(1, 2); i > 0; --i) script_.append(id, random_.below(400));
  in(random_.below(200 * kUs), [this, id] { world_.kill(id); });
  start_again(id, random_.below(6 * kMs));
}

void SmallDay::hold(uint8_t id, uint64_t for_ns) {
  for (const uint8_t other : world_.ids()) {
    if (other == id || random_.permille(300)) continue;
    world_.fabric().hold(ReplicaId{id}, ReplicaId{other});
    in(for_ns, [this, id, other] { world_.fabric().release(ReplicaId{id}, ReplicaId{other}); });
  }
}

// Whatever kills it, it may be long in coming.
void SmallDay::start_again(uint8_t id, uint64_t within_ns) {
  for (uint64_t ns = within_ns; ns < kFaultsFor_ns; ns += 3 * kMs) {
    in(random_.below(ns + 1), [this, id] { world_.start(id); });
  }
}

void SmallDay::fault() {
  const uint8_t id = somebody();
  const auto other =
      static_cast<uint8_t>(1 + (id + random_.below(world_.size() - 1)) % world_.size());
  const uint64_t for_ns = random_.below(4 * kMs);
  switch (random_.below(9)) {
    case 0:
      world_.kill(id);
      start_again(id, for_ns);
      break;
    case 1:
    case 2:
      world_.kill_at(id, "", 1 + random_.below(80));
      start_again(id, for_ns);
      break;
    case 3:
      world_.pause(id);
      in(for_ns, [this, id] { world_.resume(id); });
      break;
    case 4:
      world_.isolate(id);
      in(for_ns, [this, id] { mend(id); });
      break;
    case 5:
      world_.cut(id, other, random_.permille(700), random_.permille(500));
      in(for_ns, [this, id] { mend(id); });
      break;
    case 6: hold(id, for_ns); break;
    case 7: strand(); break;
    default: (void)world_.hand_over(other); break;
  }
}

void SmallDay::mend(uint8_t id) {
  for (const uint8_t peer : world_.ids()) {
    if (peer == id) continue;
    world_.mend(id, peer);
    world_.mend(peer, id);
  }
}

// While a view changes; the joint one stands for microseconds unless something is in the way.
void SmallDay::strike() {
  const uint8_t id = world_.leader();
  if (id == 0) return;
  const uint64_t for_ns = random_.below(3 * kMs);
  const uint64_t dice = random_.below(4);
  if (dice == 0) {
    world_.kill_at(id, "", 1 + random_.below(150));
    start_again(id, for_ns);
  }
  if (dice == 1) hold(id, for_ns);
}

// As an operator would ask: again, as long as it has not come about, or until the next wish.
void SmallDay::ask(const MemberChange& change, ReplicaSet voters, uint64_t from_ns,
                   uint64_t until_ns) {
  for (uint64_t ns = from_ns; ns < until_ns; ns += kMs / 2) {
    in(ns, [this, change, voters] {
      const log::Membership now = world_.view();
      if (now.voters.empty() || (now.settled() && now.voters == voters)) return;
      if (world_.change(change) == Code::ok) strike();
    });
  }
}

// One of the first voters goes, or the spare comes, or both; and then one of those comes back, with
// a new memory, or another one goes.
void SmallDay::members() {
  const ReplicaId gone{static_cast<uint8_t>(1 + random_.below(3))};
  const ReplicaId other{static_cast<uint8_t>(1 + gone.value % 3)};
  const uint64_t when_ns = some_time();
  const uint64_t next_ns = random_.permille(500) ? some_time() : 0;
  const uint64_t end_ns = kFaultsFrom_ns + kFaultsFor_ns + kQuiet_ns;
  ReplicaSet voters;
  for (uint8_t id = 1; id <= 3; ++id) voters.add(ReplicaId{id});
  MemberChange change;
  const bool comes = random_.permille(800), goes = !comes || random_.permille(800);
  if (comes) change.add.add(ReplicaId{4});
  if (goes) change.remove.add(gone);
  if (goes && random_.permille(400)) {
    in(random_.below(when_ns), [this, gone] { world_.destroy(gone.value); });
  }
  voters = (voters | change.add) - change.remove;
  ask(change, voters, when_ns, next_ns > when_ns ? next_ns : end_ns);
  if (next_ns <= when_ns) return;
  MemberChange next;
  if (goes && random_.permille(500)) {
    in(next_ns, [this, gone] { world_.destroy(gone.value); });
    next.add.add(gone);
  } else {
    next.remove.add(other);
  }
  ask(next, (voters | next.add) - next.remove, next_ns, end_ns);
}

ModelTrace SmallDay::run() {
  for (uint64_t i = random_.between(2, 8); i > 0; --i) in(some_time(), [this] { append(); });
  for (uint64_t i = random_.between(1, 6); i > 0; --i) in(some_time(), [this] { fault(); });
  if (random_.permille(600)) members();
  in(kFaultsFrom_ns + kFaultsFor_ns, [this] { world_.heal(); });
  world_.run_for(kFaultsFrom_ns + kFaultsFor_ns + kQuiet_ns);
  return observer_.finish();
}

// ---- What the model says
// --------------------------------------------------------------------------

using Verdicts = std::map<std::string, std::string>;  // by the trace's name

Verdicts ask_the_model(const std::string& traces) {
  const char* source = std::getenv("CAISSON_SOURCE_DIR");
  const char* kept = std::getenv("CAISSON_TRACES");
  const test::Scratch scratch;
  const std::filesystem::path file = kept != nullptr ? kept : scratch.path() / "traces";
  test::write_file(file, traces);
  const test::Outcome asked = test::run_other(
      {"/usr/bin/env", "bash", std::string(source != nullptr ? source : ".") + "/tests/model/trace",
       file.string()});
  EXPECT_EQ(asked.errors, "");
  Verdicts verdicts;
  std::istringstream lines(asked.output);
  for (std::string line; std::getline(lines, line);) {
    const size_t name = line.find(' ') + 1;
    const size_t verdict = line.find(' ', name);
    if (verdict != std::string::npos) {
      verdicts[line.substr(name, verdict - name)] = line.substr(verdict + 1);
    }
  }
  return verdicts;
}

// With CAISSON_SEEDS=A..B just those days; else some, with CAISSON_LONG=N N times as many.
uint64_t times() {
  const char* text = std::getenv("CAISSON_LONG");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

struct Days {
  std::map<uint64_t, ModelTrace> traces;  // by seed
  uint64_t outside = 0;                   // days that passed a bound of the model
};

struct Range {
  uint64_t first = 1;
  uint64_t last = UINT64_MAX;
};

std::optional<Range> asked_for() {
  const char* text = std::getenv("CAISSON_SEEDS");
  if (text == nullptr) return std::nullopt;
  char* rest = nullptr;
  const uint64_t first = std::strtoull(text, &rest, 10);
  while (*rest == '.') ++rest;
  return Range{first, *rest == '\0' ? first : std::strtoull(rest, nullptr, 10)};
}

Days some_days() {
  const auto range = asked_for();
  const uint64_t count = range ? UINT64_MAX : 20 * times();
  Days all;
  for (uint64_t seed = range ? range->first : 1;
       all.traces.size() < count && (!range || seed <= range->last); ++seed) {
    ModelTrace trace = SmallDay(seed).run();
    if (trace.outside.empty()) {
      all.traces.emplace(seed, std::move(trace));
    } else {
      ++all.outside;
    }
  }
  return all;
}

TEST(ModelTrace, WhatTheCoreDoesTheModelCouldHaveDone) {
  const Days all = some_days();
  std::string text;
  std::map<std::string, uint64_t> taken;
  for (const auto& [seed, trace] : all.traces) {
    text += trace.text(std::to_string(seed));
    for (const ModelStep& step : trace.steps) ++taken[step.what];
  }
  const Verdicts verdicts = ask_the_model(text);
  EXPECT_EQ(verdicts.size(), all.traces.size());
  for (const auto& [name, verdict] : verdicts) {
    EXPECT_EQ(verdict.substr(0, 8), "accepted")
        << "MODEL violated: day " << name << ": " << verdict;
  }
  std::cout << all.traces.size() << " days, and " << all.outside << " outside of the bounds;";
  for (const auto& [what, count] : taken) std::cout << " " << what << " " << count;
  std::cout << "\n";
  if (asked_for()) return;
  // They are days on which something happens.
  for (const char* what : {"take", "seal", "lead", "attach", "write", "append", "commit", "learn",
                           "restart", "lose"}) {
    EXPECT_GT(taken[what], 0u) << what;
  }
}

// ---- What did not happen
// ---------------------------------------------------------------------------

using Spoilt = bool (*)(ModelTrace& trace);  // false: there was nothing to spoil

size_t find(const ModelTrace& trace, size_t from, const std::string& what, uint64_t who) {
  for (size_t i = from; i < trace.steps.size(); ++i) {
    if (trace.steps[i].what == what && trace.steps[i].who == who) return i;
  }
  return trace.steps.size();
}

auto at(ModelTrace& trace, size_t index) {
  return trace.steps.begin() + static_cast<std::ptrdiff_t>(index);
}

// An entry is counted as soon as its leader has it.
bool counted_below_a_quorum(ModelTrace& trace) {
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const ModelStep commit = trace.steps[i];
    if (commit.what != "commit") continue;
    for (size_t j = i; j-- > 0;) {
      const ModelStep& append = trace.steps[j];
      if (append.what != "append" || append.who != commit.who || append.b != commit.a) continue;
      trace.steps.erase(at(trace, i));
      trace.steps.insert(at(trace, j + 1), commit);
      return true;
    }
  }
  return false;
}

// Where three vote, one leads that has heard nobody.
bool led_without_a_quorum(ModelTrace& trace) {
  if (trace.views[1] != trace.views[0]) return false;
  for (ModelStep& step : trace.steps) {
    if (step.what != "lead") continue;
    step.a = uint64_t{1} << step.who;
    return true;
  }
  return false;
}

// Who has been sealed by a later candidate goes on.
bool appended_by_the_deposed(ModelTrace& trace) {
  std::map<uint64_t, bool> leads;
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const ModelStep step = trace.steps[i];
    if (step.what == "lead") leads[step.who] = true;
    if (step.what == "take" || step.what == "restart" || step.what == "lose")
      leads[step.who] = false;
    if (step.what == "attach") leads[step.a] = false;
    if (step.what != "seal" || !std::exchange(leads[step.a], false)) continue;
    trace.steps.insert(at(trace, i + 1), ModelStep{"append", step.a, 2, step.b + 1});
    return true;
  }
  return false;
}

// A write of the leader before lands behind a seal.
bool written_without_a_grant(ModelTrace& trace) {
  std::map<uint64_t, uint64_t> writer;
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const ModelStep step = trace.steps[i];
    if (step.what == "write") writer[step.a] = step.who;
    if (step.what != "seal" || !writer.contains(step.a)) continue;
    trace.steps.insert(at(trace, i + 1), ModelStep{"write", writer[step.a], step.a, step.b + 1});
    return true;
  }
  return false;
}

// The final view comes first, and the joint one behind it.
bool views_in_the_wrong_order(ModelTrace& trace) {
  bool joint = false;
  for (ModelStep& step : trace.steps) {
    if (step.what != "append" || (step.a != 3 && step.a != 4)) continue;
    joint = joint || step.a == 3;
    step.a = step.a == 3 ? 4 : 3;
  }
  return joint;
}

// An entry that is counted later was never appended.
bool lost_an_append(ModelTrace& trace) {
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const ModelStep& append = trace.steps[i];
    const size_t commit = find(trace, i, "commit", append.who);
    if (append.what != "append" || commit == trace.steps.size()) continue;
    if (trace.steps[commit].a != append.b) continue;
    trace.steps.erase(at(trace, i));
    return true;
  }
  return false;
}

// Who appends was never elected.
bool lost_an_election(ModelTrace& trace) {
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const ModelStep& lead = trace.steps[i];
    if (lead.what != "lead") continue;
    if (find(trace, i, "append", lead.who) >= find(trace, i, "take", lead.who)) continue;
    trace.steps.erase(at(trace, i));
    return true;
  }
  return false;
}

// In the end a replica holds an entry more.
bool another_end(ModelTrace& trace) {
  for (ModelStep& step : trace.steps) {
    if (step.what == "tail") return ++step.a > 0;
  }
  return false;
}

TEST(ModelTrace, WhatCannotHappenIsRejected) {
  const std::map<std::string, Spoilt> ways{
      {"counted", counted_below_a_quorum},  {"led", led_without_a_quorum},
      {"deposed", appended_by_the_deposed}, {"ungranted", written_without_a_grant},
      {"views", views_in_the_wrong_order},  {"append", lost_an_append},
      {"election", lost_an_election},       {"end", another_end}};
  const Days all = some_days();
  std::string text;
  std::map<std::string, uint64_t> spoilt;
  for (const auto& [seed, trace] : all.traces) {
    for (const auto& [way, spoil] : ways) {
      ModelTrace other = trace;
      if (!spoil(other)) continue;
      ++spoilt[way];
      text += other.text(way + "-" + std::to_string(seed));
    }
  }
  for (const auto& [way, spoil] : ways) EXPECT_GT(spoilt[way], 0u) << way;
  uint64_t rejected = 0;
  for (const auto& [name, verdict] : ask_the_model(text)) {
    EXPECT_NE(verdict.substr(0, 8), "accepted") << name;
    rejected += verdict.substr(0, 8) != "accepted";
  }
  uint64_t made = 0;
  for (const auto& [way, count] : spoilt) {
    std::cout << way << " " << count << ", ";
    made += count;
  }
  EXPECT_EQ(rejected, made);
  std::cout << rejected << " rejected\n";
}

}  // namespace
}  // namespace caisson::simtest
