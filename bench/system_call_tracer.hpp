// SPDX-License-Identifier: BSD-3-Clause
// The words between a traced process and its tracer.
#pragma once

#include <string_view>

namespace caisson::bench {

// Hidden command of the program: `caisson trace-system-calls PID`.
inline constexpr std::string_view kTraceCommand = "trace-system-calls";
inline constexpr std::string_view kTracerReady = "ready";
// Descriptors that nobody has: closing them only marks a point in time.
inline constexpr long kMarkBegin = -70'001;
inline constexpr long kMarkEnd = -70'002;

}  // namespace caisson::bench
