// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/schedule.hpp"

#include <algorithm>
#include <numeric>

#include "tests/sim/chaos.hpp"

namespace caisson::simtest {

namespace {

struct Kind {
  std::string_view name;
  uint32_t common;  // weights are drawn up to this one
};

constexpr std::array<Kind, kFaults> kKinds = {
    {{"crash", 5},       {"crash-inside", 5},     {"power", 3},       {"power-inside", 5},
     {"power-all", 1},   {"power-all-inside", 1}, {"pause", 5},       {"slow", 3},
     {"cut-one-way", 4}, {"cut-both-ways", 3},    {"isolate", 3},     {"clog", 4},
     {"clock-jump", 2},  {"clock-drift", 2},      {"evict", 3},       {"slot-loss", 3},
     {"bit-rot", 2},     {"stale-sector", 2},     {"misdirected", 2}, {"memory-lost", 3},
     {"member", 4},      {"standby", 2},          {"hand-over", 3},   {"hold", 2},
     {"trim", 2},        {"discard", 2},          {"take-over", 1}}};

uint64_t amount_of(Fault what, Random& random) {
  switch (what) {
    case Fault::crash_inside:
    case Fault::power_inside:
    case Fault::power_all_inside: return 1 + random.below(random.permille(500) ? 30 : 300);
    case Fault::slow: return random.permille(500) ? 10 : 100;
    case Fault::cut_one_way:
    case Fault::cut_both_ways:
    case Fault::clog: return random.permille(600) ? 3 : random.between(1, 2);
    default: return random.next() >> 32;
  }
}

void draw_actions(Schedule& day, Random& random) {
  std::array<uint64_t, kFaults> weights;
  for (size_t i = 0; i < kFaults; ++i) {
    weights[i] = random.permille(500) ? 0 : random.between(1, kKinds[i].common);
  }
  const uint64_t all = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  const uint8_t machines = day.world.replicas + day.world.spares;
  const uint64_t longest_ns = random.between(500, 6'000) * kUs;
  std::vector<Action> actions(random.between(10, 14 + day.run_ns / kMs));
  for (Action& a : actions) {
    a.at_ns = random.below(day.run_ns);
    uint64_t dice = random.below(all);
    size_t kind = 0;
    while (kind + 1 < kFaults && dice >= weights[kind]) dice -= weights[kind++];
    a.what = static_cast<Fault>(kind);
    a.target =
        random.permille(400) ? uint8_t{0} : static_cast<uint8_t>(random.between(1, machines));
    a.other = static_cast<uint8_t>(random.between(1, machines));
    a.for_ns = random.below(longest_ns);
    a.amount = amount_of(a.what, random);
    a.salt = random.next();
  }
  day.actions.insert(day.actions.end(), actions.begin(), actions.end());
  std::stable_sort(day.actions.begin(), day.actions.end(),
                   [](const Action& a, const Action& b) { return a.at_ns < b.at_ns; });
}

// A standby has to learn first; then, on some days, it is all that is left.
void draw_standby(Schedule& day, Random& random) {
  day.world.spares = std::max<uint8_t>(day.world.spares, 1);
  day.world.auto_apply = true;
  day.world.standby = {.bytes = random.between(8, 48) * 1024};
  day.world.standby_refuses = random.permille(300);
  // What is larger than the bound is refused for ever, also where it was taken before there was
  // one.
  for (ClientOptions& client : day.clients) client.large_permille = 0;
  Action a;
  a.what = Fault::standby;
  a.other = static_cast<uint8_t>(day.world.replicas + 1);
  for (int i = 0; i < 3; ++i) {
    a.at_ns = random.between(kMs, day.run_ns / 2);
    day.actions.push_back(a);
  }
  if (random.permille(500)) return;
  a.what = Fault::take_over;
  a.at_ns = random.between(day.run_ns / 2, day.run_ns - kMs);
  a.for_ns = random.below(kMs);
  a.salt = random.next();
  day.actions.push_back(a);
}

ClientOptions draw_client(uint64_t id, const WorldOptions& world, Random& random) {
  ClientOptions o;
  o.client = id;
  o.window = static_cast<uint32_t>(random.between(1, world.ring_bytes / 4096));
  o.pace_ns = random.between(5, 200) * kUs;
  if (random.permille(250)) {
    o.volatile_permille = o.local_permille = 200;
    o.forgetful = random.permille(600);
  }
  return o;
}

}  // namespace

std::string_view name(Fault fault) { return kKinds[static_cast<size_t>(fault)].name; }

std::optional<Fault> fault_of(std::string_view name) {
  for (size_t i = 0; i < kFaults; ++i) {
    if (kKinds[i].name == name) return static_cast<Fault>(i);
  }
  return std::nullopt;
}

Schedule draw_schedule(uint64_t seed) {
  Random random(seed * 11 + 5);
  Schedule day;
  day.world = swarm_world(seed);
  if (random.permille(40)) day.world.replicas = 6;
  day.world.demotes_slow = random.permille(200);
  const uint64_t clients = random.between(1, 4);
  for (uint64_t id = 1; id <= clients; ++id) {
    day.clients.push_back(draw_client(id, day.world, random));
  }
  day.reader = random.permille(700);
  day.run_ns = random.between(8, 25) * kMs;
  day.events_min = 10'000;
  day.faults_min = 5;
  if (random.permille(250)) draw_standby(day, random);
  draw_actions(day, random);
  return day;
}

}  // namespace caisson::simtest
