#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The linter for shells finds nothing in the scripts.
source "$(dirname "$0")/lint.bash"

check() {
  local path
  while IFS= read -r path; do
    if head -n 1 "$path" | grep -qE '^#!.*\b(ba)?sh\b'; then
      shellcheck --shell=bash --severity=warning --format=gcc --exclude=SC1091,SC2154 "$path" || true
    fi
  done < <(files '(^scripts/[^.]+$|^\.ci/run$|\.(sh|bash)$)')
}

clean
sample scripts/a <<'E2'
#!/bin/bash
for f in $(ls *.txt); do cd $f; done
E2
caught '^scripts/a:2:'
sample scripts/a <<'E2'
#!/bin/bash
set -e
echo "$1"
E2
passed
finish
