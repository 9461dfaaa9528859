// SPDX-License-Identifier: BSD-3-Clause
// A line of a history: nothing but the documented form is taken, so that no slip of a writer passes
// for a clean history.
#pragma once

#include <string>
#include <string_view>

#include "tests/checker/operation.hpp"

namespace caisson::checker {

inline constexpr size_t kLineBytesMax = 64 * 1024;
inline constexpr uint64_t kPositionMax = uint64_t{1} << 62;

// Empty if `line` is an operation, else what is wrong with it and what would do.
std::string decode(std::string_view line, Operation& operation);

}  // namespace caisson::checker
