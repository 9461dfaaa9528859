#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every file that can carry a comment names its licence in its first three lines.
source "$(dirname "$0")/lint.bash"

check() {
  local path
  while IFS= read -r path; do
    if ! head -n 3 "$path" | grep -q 'SPDX-License-Identifier: BSD-3-Clause'; then
      echo "$path: has no line \"SPDX-License-Identifier: BSD-3-Clause\" among its first three"
    fi
  done < <(files '.' | grep -vE '(\.jsonl?|\.md|\.txt|\.patch|\.diff|\.svg|\.png|^LICENSE|^\.gitignore|^\.clang-format)$' ;
           files '(^|/)CMakeLists\.txt$')
}

clean
sample core/log/a.cpp <<<'int n;'
caught '^core/log/a.cpp: '
sample scripts/run <<<'#!/bin/sh'
caught '^scripts/run: '
sample pmem/CMakeLists.txt <<<'add_library(a a.cpp)'
caught '^pmem/CMakeLists.txt: '
sample a.proto <<<'// SPDX-License-Identifier: BSD-3-Clause'
passed
finish
