// SPDX-License-Identifier: BSD-3-Clause
#include "core/engine/engine_seam.hpp"

namespace caisson::engine {

namespace {

Seam as_it_is;
Seam* of_this_process = &as_it_is;

}  // namespace

Seam& seam() { return *of_this_process; }

void set_seam(Seam& other) { of_this_process = &other; }

}  // namespace caisson::engine
