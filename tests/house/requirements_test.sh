#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# docs/requirements.md has a row for every requirement and rule, and the tests it names are there. A row
# names a test, or says what is open; the row of a rule names a mutant that breaks it.
source "$(dirname "$0")/lint.bash"

page=docs/requirements.md
mutants=tests/mutants/table.txt

# What is between backquotes in the third column, one name a line.
# shellcheck disable=SC2016
named() { awk -F'|' '/^\| [RP][0-9]+ /{ print $4 }' "$page" | grep -oE '`[^`]+`' | tr -d '`' | sort -u; }

# Of the sources: Suite.Name, and scripts by their names.
existing() {
  files '^tests/.*_test\.cpp$' | while IFS= read -r path; do
    tr '\n' ' ' <"$path" | grep -oE '\b(TEST|TEST_F|TEST_P|RC_GTEST_PROP|RC_GTEST_FIXTURE_PROP)\( *[A-Za-z0-9_]+, *[A-Za-z0-9_]+' |
      sed -E 's/^[A-Z_]+\( *//; s/, */./'
  done
  files '^tests/.*_test\.sh$' | sed 's|.*/||; s|\.sh$||'
}

check() {
  [[ -f $page ]] || return 0
  local number name
  for number in R{1..47} P{1..26}; do
    if [[ $(grep -c "^| $number |" "$page") -ne 1 ]]; then
      echo "$page: has not one row for $number"
    fi
  done
  while IFS= read -r name; do
    echo "$page: names the test $name, which is not there"
  done < <(comm -23 <(named | grep -vxE 'volatile|local') <(existing | sort -u))
  awk -F'|' -v page="$page" '/^\| [RP][0-9]+ / && $4 !~ /`/ && $4 !~ /Open/ {
    print page ": row" $2 "names no test and does not say what is open" }
    /^\| P[0-9]+ / && $5 !~ /[0-9]/ { print page ": rule" $2 "names no mutant" }' "$page"
  while IFS= read -r number; do
    if ! grep -q "^$number-" "$mutants"; then echo "$page: names the mutant $number, which is not there"; fi
  done < <(awk -F'|' '/^\| P[0-9]+ /{ print $5 }' "$page" | grep -oE '[0-9]+' | sort -u)
  return 0
}

# shellcheck disable=SC2016
whole() {
  for number in R{1..47}; do echo "| $number | what | \`S1.Holds\` |"; done
  for number in P{1..26}; do echo "| $number | what | \`S1.Holds\` | 01 |"; done
}

# TEST MUTANT: what the page may name.
tree() {
  sample tests/sim/a_test.cpp <<<"TEST(S1, $1) {}"
  sample "$mutants" <<<"$2-no-revocation  S1.*  -  I1"
}

clean
tree Holds 01
whole | sample docs/requirements.md
passed
tree HoldsOtherwise 01
whole | sample docs/requirements.md
caught '^docs/requirements.md: names the test S1.Holds'
tree Holds 02
whole | sample docs/requirements.md
caught '^docs/requirements.md: names the mutant 01'
tree Holds 01
whole | grep -v '^| P7 ' | sample docs/requirements.md
caught 'has not one row for P7'
tree Holds 01
whole | sed 's/^| R9 .*/| R9 | what | |/' | sample docs/requirements.md
caught 'names no test and does not say what is open'
tree Holds 01
whole | sed '/^| P9 /s/01/-/' | sample docs/requirements.md
caught 'rule P9 names no mutant'
finish
