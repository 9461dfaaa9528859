// SPDX-License-Identifier: BSD-3-Clause
// A bad day as a value: the cluster, its clients, and every fault with its time, all drawn from the
// seed before anything runs. Whatever is taken out of it, the rest stays what it was; so it can be
// made smaller (shrink.hpp), written down and run again (schedule_json.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/sim/client.hpp"
#include "tests/sim/reader.hpp"
#include "tests/sim/world.hpp"

namespace caisson::simtest {

enum class Fault : uint8_t {
  crash,             // a process dies
  crash_inside,      // … at its `amount`-th call from now on
  power,             // a machine loses power, with any subset of its unflushed lines
  power_inside,      // … at its `amount`-th call
  power_all,         // all machines at once
  power_all_inside,  // … at somebody's `amount`-th call
  pause,
  slow,           // a machine is `amount` times slower: its memory, or its poller, too
  cut_one_way,    // what `target` sends `other`; `amount` says which: 1 data, 2 control, 3 both
  cut_both_ways,  //
  isolate,        // `target` from all others
  clog,           // what goes that way waits, and then all of it arrives; `amount` as above
  clock_jump,     // by up to minutes, either way
  clock_drift,    //
  evict,          // caches write back on their own
  slot_loss,      // the newest superblock slot is lost while the process is dead
  bit_rot,        // a bit of an entry at rest
  stale_sector,   // a write to the medium never got there
  misdirected,    // … and went to another place instead
  memory_lost,    // for good
  member,         // somebody is to come or to go
  standby,        // somebody is to be a standby
  hand_over,      // the lead
  hold,           // a reader keeps entries from being trimmed
  trim,           // all but the latest entries
  discard,        // what was displaced is let go of
  take_over,      // the whole primary is lost; a standby goes on alone
};
inline constexpr size_t kFaults = static_cast<size_t>(Fault::take_over) + 1;
std::string_view name(Fault fault);
std::optional<Fault> fault_of(std::string_view name);

struct Action {
  uint64_t at_ns = 0;  // of the run
  Fault what = Fault::crash;
  uint8_t target = 0;  // 0: who leads then
  uint8_t other = 0;
  uint64_t for_ns = 0;
  uint64_t amount = 0;
  uint64_t salt = 0;  // of whatever else it leaves open
  bool operator==(const Action&) const = default;
};

struct Schedule {
  WorldOptions world;
  std::vector<ClientOptions> clients;
  bool reader = true;
  uint64_t run_ns = 0;
  // One that had less than this has all its actions again.
  uint64_t events_min = 0;
  uint64_t faults_min = 0;      // that struck somebody
  std::vector<Action> actions;  // in the order of their times
};

// What `seed` draws: which faults there are on that day, how likely each, and when.
Schedule draw_schedule(uint64_t seed);

}  // namespace caisson::simtest
