#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What is shipped holds no fault point: they are in caisson-faulty alone.
set -euo pipefail
cd "$CAISSON_BUILD_DIR"

# The program or archive defines or uses something of tests/points.
holds_points() { [[ $(nm -C "$1" 2>/dev/null | grep -c 'caisson::points::') -gt 0 ]]; }

if ! holds_points bin/caisson-faulty; then
  echo "bin/caisson-faulty holds no fault point, or nm cannot tell" >&2
  exit 1
fi
faults=0
for file in bin/caisson $(find pmem transport core tools -name 'libcaisson_*.a'); do
  if holds_points "$file"; then
    echo "$file holds fault points: they belong into tests/points, and come in by core/engine/engine_seam.hpp" >&2
    faults=$((faults + 1))
  fi
done
exit $((faults > 0))
