// SPDX-License-Identifier: BSD-3-Clause
// What is judged; docs/history.md repeats the table.
#pragma once

#include <array>
#include <string_view>

namespace caisson::checker {

struct Rule {
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array kRules = {
    Rule{"I1", "two replicas show different values at one position"},
    Rule{"I2", "what one life of a replica shows has a hole, or it cannot show what is committed"},
    Rule{"I3", "a replica shows another value at a position than before"},
    Rule{"I4", "a stream's entries are not what its client submitted, in order"},
    Rule{"I5", "one identity stands in the log twice, or was acknowledged at two positions"},
    Rule{"I6", "what was acknowledged is not there, and nobody apologised"},
    Rule{"I7", "a read, or the place of an append, does not fit into real time"},
    Rule{"I8", "two states after one position differ"},
    Rule{"R5", "an entry was never submitted, or with other bytes; or half a batch is there"},
    Rule{"R13",
         "said to be not appended, or lost, and it is there; or an apology behind its receipt"},
    Rule{"R14", "a standby took over, and lost more than was said"},
    Rule{"R18", "two processes led one term"},
    Rule{"LIVE", "no service within the bound, though nothing was in the way"},
};

}  // namespace caisson::checker
