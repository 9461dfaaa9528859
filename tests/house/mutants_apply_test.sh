#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every mutant of the table has a patch that applies to this tree, and every patch is in the table.
set -euo pipefail
cd "$CAISSON_SOURCE_DIR"
failed=0
say() {
  echo "mutants_apply: $*" >&2
  failed=1
}
named=$(awk '/^[0-9]/ { print $1 }' tests/mutants/table.txt | sort -u)
[[ -n $named ]] || say "the table is empty"
while read -r name; do
  file=tests/mutants/$name.patch
  [[ -f $file ]] || { say "$name has no patch"; continue; }
  patch -s -p1 --dry-run <"$file" >/dev/null || say "$file does not apply"
done <<<"$named"
diff <(echo "$named") <(cd tests/mutants && printf '%s\n' *.patch | sed 's/\.patch$//' | sort) >&2 ||
  say "the table and the patches differ"
exit "$failed"
