#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Links between the documents lead somewhere.
source "$(dirname "$0")/lint.bash"

check() {
  local path target
  while IFS= read -r path; do
    grep -oE '\]\([^)#: ]+[^): ]*\)' "$path" | sed -E 's/^\]\(//; s/\)$//; s/#.*$//' |
      while IFS= read -r target; do
        if [[ -n $target && ! -e $(dirname "$path")/$target ]]; then
          echo "$path: links to $target, which is not there"
        fi
      done
  done < <(files '\.md$')
  return 0
}

clean
sample docs/a.md <<<'See [format](format.md#ring).'
caught '^docs/a.md: links to format.md'
sample docs/a.md <<<'See [licence](../LICENSE), [above](#top), [site](https://example.org/x.md).'
sample LICENSE <<<'free'
passed
finish
