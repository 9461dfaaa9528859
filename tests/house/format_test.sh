#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The tree is formatted as .clang-format says; scripts/format puts it right.
source "$(dirname "$0")/lint.bash"

check() {
  local -a sources
  mapfile -t sources < <(files '\.(cpp|hpp|h|cc|c)$')
  if [[ ${#sources[@]} -eq 0 ]]; then
    echo "no source found"
  elif ! clang-format --style="file:$CAISSON_SOURCE_DIR/.clang-format" --dry-run -Werror \
      "${sources[@]}" 2>"$lint_faults"; then
    sed -nE 's/^([^:]+:[0-9]+):.*/\1: is not formatted: run scripts\/format/p' "$lint_faults"
    if ! grep -q 'clang-format-violations' "$lint_faults"; then cat "$lint_faults"; fi
  fi
}

lint_faults=$(mktemp)
clean
sample a.cpp <<<'int   f( ) {return 1 ;}'
caught '^a.cpp:1: '
sample a.cpp <<<'int f() { return 1; }'
passed
rm -f "$lint_faults"
finish
