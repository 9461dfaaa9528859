// SPDX-License-Identifier: BSD-3-Clause
#include "tools/command.hpp"

int main(int argc, char** argv) { return caisson::tools::run_program(argc, argv); }
