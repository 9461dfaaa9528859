// SPDX-License-Identifier: BSD-3-Clause
// The smallest program on the installed library.
#include <caisson/types.hpp>
#include <cstdio>
#include <string>

int main() {
  const caisson::Token older{caisson::Term{257}, caisson::Position{7}};
  const caisson::Token newer{caisson::Term{258}, caisson::Position{3}};
  const std::string level(caisson::name(caisson::Durability::persisted));
  std::printf("%s: the newer term fences the older: %s\n", level.c_str(),
              older < newer ? "yes" : "no");
  return older < newer ? 0 : 1;
}
