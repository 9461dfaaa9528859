// SPDX-License-Identifier: BSD-3-Clause
// The entry that names a view, for those that no leader appends: in a log that is created, or
// restored, or goes on by decree. Agreed by that, so it says nothing of what was committed before.
#pragma once

#include <cstddef>
#include <vector>

#include "core/log/ring.hpp"
#include "core/log/view_format.hpp"

namespace caisson::log {

struct ViewEntry {
  std::vector<std::byte> bytes;
  Cursor behind;
};

// The entry of `term` behind `at`.
ViewEntry view_entry(const Cursor& at, const Membership& view, Term term);

}  // namespace caisson::log
