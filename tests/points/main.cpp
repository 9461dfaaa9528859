// SPDX-License-Identifier: BSD-3-Clause
// caisson-faulty: the program caisson, every part of which passes the points (docs/simulation.md).
#include "core/engine/engine_seam.hpp"
#include "tests/points/board.hpp"
#include "tests/points/points_seam.hpp"
#include "tools/command.hpp"

int main(int argc, char** argv) {
  static caisson::points::PointsSeam seam;  // outlives every engine
  caisson::engine::set_seam(seam);
  return caisson::tools::run_program(argc, argv);
}
