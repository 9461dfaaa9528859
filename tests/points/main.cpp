// SPDX-License-Identifier: BSD-3-Clause
// caisson-faulty: the program caisson, every part of which passes the points (docs/simulation.md),
// and whose nodes run an application.
#include <string_view>

#include "core/engine/engine_seam.hpp"
#include "tests/points/application.hpp"
#include "tests/points/points_seam.hpp"
#include "tools/command.hpp"

int main(int argc, char** argv) {
  static caisson::points::PointsSeam seam;  // outlives every engine
  caisson::engine::set_seam(seam);
  // As `cluster start` does it.
  const bool node =
      argc >= 4 && argv[1] == std::string_view("node") && argv[2] == std::string_view("--config");
  if (node) return caisson::points::run_application(argv[3]);
  return caisson::tools::run_program(argc, argv);
}
