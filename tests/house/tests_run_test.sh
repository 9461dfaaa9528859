#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# No test is switched off, and nothing waits to be written.
source "$(dirname "$0")/lint.bash"

check() {
  local path
  while IFS= read -r path; do
    case $path in tests/house/tests_run_test.sh) continue ;; esac
    grep -nE '\bDISABLED_[A-Za-z]|^[[:space:]]*#[[:space:]]*if[[:space:]]+0\b|GTEST_FLAG.*also_run|PROPERTIES[^)]*\bDISABLED\b|gtest_filter=-' "$path" |
      sed "s|^|$path:|; s|$|: a test or code that is switched off; repair it or remove it|"
    grep -nE '\b(TO''DO|FIX''ME|XX''X)\b' "$path" |
      sed "s|^|$path:|; s|$|: unfinished; finish it|"
    case $path in
      tests/*_test.cpp)
        # A test that can assert nothing proves nothing.
        if ! grep -qE '\b(EXPECT|ASSERT|RC_ASSERT|RC_GTEST|FAIL|ADD_FAILURE)' "$path"; then
          echo "$path: asserts nothing"
        fi ;;
    esac
  done < <(files '(\.(cpp|hpp|h|cc|c|sh|bash|cmake|proto)|CMakeLists\.txt|^scripts/[^.]+|^\.ci/run)$')
  return 0
}

clean
sample tests/log/a_test.cpp <<<'TEST(Ring, DISABLED_wraps) { EXPECT_EQ(1, 2); }'
caught '^tests/log/a_test.cpp:1:'
sample tests/log/a_test.cpp <<<'TEST(Ring, wraps) { step(); }'
caught '^tests/log/a_test.cpp: asserts nothing'
sample core/log/a.cpp <<<'#if 0'
caught '^core/log/a.cpp:1:'
sample core/log/a.cpp <<<"// TO""DO: the wrap"
caught '^core/log/a.cpp:1:'
sample tests/CMakeLists.txt <<<'set_tests_properties(a PROPERTIES LABELS x DISABLED ON)'
caught '^tests/CMakeLists.txt:1:'
sample tests/log/a_test.cpp <<<'TEST(Ring, wraps) { EXPECT_TRUE(step()); }'
passed
finish
