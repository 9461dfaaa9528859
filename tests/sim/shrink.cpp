// SPDX-License-Identifier: BSD-3-Clause
#include "tests/sim/shrink.hpp"

#include "tests/sim/schedule_json.hpp"

namespace caisson::simtest {

namespace {

using Change = std::function<void(Schedule&)>;

// What may make a day simpler without taking a fault or a client from it, the dearest first.
std::vector<Change> simplifications() {
  const auto calm = [](uint32_t transport::sim::SimOptions::*field) {
    return [field](Schedule& day) { day.world.fabric.*field = 0; };
  };
  using Sim = transport::sim::SimOptions;
  return {[](Schedule& day) { day.events_min = day.faults_min = 0; },
          [](Schedule& day) { day.reader = false; },
          [](Schedule& day) { day.world.message_loss_permille = 0; },
          [](Schedule& day) { day.world.message_late_permille = 0; },
          [](Schedule& day) { day.world.message_twice_permille = 0; },
          [](Schedule& day) { day.world.link_notices = true; },
          [](Schedule& day) { day.world.demotes_slow = false; },
          [](Schedule& day) { day.world.standby = {}; },
          [](Schedule& day) { day.world.spares = 0; },
          calm(&Sim::late_permille),
          calm(&Sim::words_permille),
          calm(&Sim::duplicate_permille),
          calm(&Sim::scatter_permille),
          calm(&Sim::early_placed_permille),
          calm(&Sim::live_source_permille),
          calm(&Sim::stale_cell_permille),
          [](Schedule& day) {
            for (ClientOptions& o : day.clients) o.batch_permille = 0;
          },
          [](Schedule& day) {
            for (ClientOptions& o : day.clients) o.claim_permille = 0;
          },
          [](Schedule& day) {
            for (ClientOptions& o : day.clients) o.session_permille = o.reused_permille = 0;
          },
          [](Schedule& day) {
            for (ClientOptions& o : day.clients) o.again_permille = o.lost_answer_permille = 0;
          }};
}

bool try_change(Schedule& day, const Change& change, const Fails& fails) {
  Schedule changed = day;
  change(changed);
  if (to_json(changed) == to_json(day) || !fails(changed)) return false;
  day = std::move(changed);
  return true;
}

void shorten(Schedule& day, const Fails& fails) {
  for (const uint64_t of_8 : {1u, 2u, 4u, 6u, 7u}) {
    const auto cut = [of_8](Schedule& shorter) {
      shorter.run_ns = shorter.run_ns / 8 * of_8;
      std::erase_if(shorter.actions, [&](const Action& a) { return a.at_ns >= shorter.run_ns; });
    };
    if (try_change(day, cut, fails)) return shorten(day, fails);
  }
}

}  // namespace

Schedule shrink(Schedule day, const Fails& fails) {
  for (size_t before = SIZE_MAX; before > to_json(day).dump().size();) {
    before = to_json(day).dump().size();
    day.actions = smallest<Action>(std::move(day.actions), [&, rest = day](const auto& some) {
      Schedule smaller = rest;
      smaller.actions = some;
      return fails(smaller);
    });
    day.clients =
        smallest<ClientOptions>(std::move(day.clients), [&, rest = day](const auto& some) {
          Schedule smaller = rest;
          smaller.clients = some;
          return fails(smaller);
        });
    shorten(day, fails);
    for (const Change& change : simplifications()) try_change(day, change, fails);
  }
  return day;
}

}  // namespace caisson::simtest
