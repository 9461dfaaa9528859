// SPDX-License-Identifier: BSD-3-Clause
// Makes a failing schedule small: what can be left out, and it still fails, is left out (delta
// debugging; Zeller, Hildebrandt).
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "tests/sim/schedule.hpp"

namespace caisson::simtest {

// The smallest part of `all` found for which `fails` holds: none of its elements can be left out
// alone. `fails(all)` holds.
template <class Element>
std::vector<Element> smallest(std::vector<Element> all,
                              const std::function<bool(const std::vector<Element>&)>& fails) {
  for (size_t parts = 1; parts <= all.size();) {
    bool smaller = false;
    const size_t each = (all.size() + parts - 1) / parts;
    for (size_t begin = 0; begin < all.size(); begin += each) {
      std::vector<Element> rest = all;
      const auto from = rest.begin() + static_cast<std::ptrdiff_t>(begin);
      rest.erase(from, from + static_cast<std::ptrdiff_t>(std::min(each, all.size() - begin)));
      if (!fails(rest)) continue;
      all = std::move(rest);
      smaller = true;
      break;
    }
    if (smaller) {
      parts = std::max<size_t>(1, parts - 1);
    } else if (parts == all.size()) {
      break;
    } else {
      parts = std::min(all.size(), parts * 2);
    }
  }
  return all;
}

using Fails = std::function<bool(const Schedule&)>;

// `fails(day)` holds, and holds for what is returned: with fewer actions and clients, a shorter
// run, and a quieter fabric.
Schedule shrink(Schedule day, const Fails& fails);

}  // namespace caisson::simtest
