#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Nothing in the tree depends on where somebody keeps it.
source "$(dirname "$0")/lint.bash"

check() {
  local path
  while IFS= read -r path; do
    case $path in tests/house/paths_test.sh) continue ;; esac
    grep -nIE '(^|[^A-Za-z0-9_.}$-])/(work|home|root|Users)/[A-Za-z0-9_.]|/tmp/(build|clone|bash|caisson-)' "$path" |
      sed "s|^|$path:|; s|$|: a path of one machine|"
  done < <(files '.')
  return 0
}

clean
sample scripts/a <<<'cd /home/someone/caisson'
caught '^scripts/a:1:'
sample CMakeLists.txt <<<'set(dir "/work/main")'
caught '^CMakeLists.txt:1:'
sample docs/a.md <<<'run `/root/bin/x`'
caught '^docs/a.md:1:'
sample docs/a.md <<<'The region is at /dev/shm/caisson, certificates in D/cert, see https://example.org/home/x'
passed
finish
