#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# One idea per file: headers stay near 300 lines, everything else near 600.
source "$(dirname "$0")/lint.bash"
header_lines_max=330
source_lines_max=660

check() {
  local path lines most
  while IFS= read -r path; do
    case $path in
      *_impl.hpp) most=$source_lines_max ;;  # a template's definitions
      *.hpp | *.h) most=$header_lines_max ;;
      *) most=$source_lines_max ;;
    esac
    lines=$(wc -l <"$path")
    if [[ $lines -gt $most ]]; then echo "$path: $lines lines, at most $most: split it"; fi
  done < <(files '(\.(cpp|hpp|h|cc|c|sh|bash|cmake|proto)|CMakeLists\.txt|^scripts/[^.]+|^\.ci/run)$')
}

clean
seq 331 | sample core/log/a.hpp
caught '^core/log/a.hpp: 331 lines'
seq 661 | sample tests/log/a_test.cpp
caught '^tests/log/a_test.cpp: 661 lines'
seq 661 | sample scripts/long
caught '^scripts/long: '
seq 330 | sample core/log/a.hpp
seq 660 | sample core/log/a.cpp
passed
finish
