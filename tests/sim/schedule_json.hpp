// SPDX-License-Identifier: BSD-3-Clause
// Schedules as text, so that a failure can be kept, looked at and run again. Only what differs from
// the defaults is written; what a file leaves out is the default. docs/simulation.md has the form.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/sim/schedule.hpp"

namespace caisson::simtest {

using Json = nlohmann::ordered_json;

Json to_json(const Schedule& day);
// Throws std::runtime_error with a sentence that names what is wrong.
Schedule schedule_of(const Json& json);

}  // namespace caisson::simtest
