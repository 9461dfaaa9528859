#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Includes point downward only, and are written from the root of the tree.
source "$(dirname "$0")/lint.bash"

# allowed PATH: a regular expression of what this file may include.
allowed() {
  case $1 in
    include/caisson/*) echo '^caisson/' ;;
    pmem/*) echo '^(caisson|pmem)/' ;;
    transport/shm/* | transport/sim/* | transport/verbs/* | transport/dpdk/*)
      local fabric=${1#transport/}
      echo "^((caisson|pmem)/|transport/([^/]+$|${fabric%%/*}/))" ;;
    transport/*) echo '^((caisson|pmem)/|transport/[^/]+$)' ;;
    core/log/*) echo '^((caisson|pmem|core/log)/|transport/[^/]+$)' ;;
    core/replication/* | core/control/*)
      echo '^((caisson|pmem|core/log|core/replication|core/control)/|transport/[^/]+$)' ;;
    core/engine/*) echo '^(caisson|pmem|core|transport/(shm|verbs|dpdk))/|^transport/[^/]+$' ;;
    recipes/* | examples/*) echo '^caisson/' ;;
    tools/* | bench/*) echo '^(caisson|pmem|core|transport|recipes|tools|bench)/' ;;
    tests/checker/*) echo '^tests/checker/' ;;  # shares no code with what it judges
    tests/*) echo '^(caisson|pmem|core|transport|recipes|tools|bench|tests)/' ;;
    *) echo '^$' ;;
  esac
}

check() {
  local path may names name
  while IFS= read -r path; do
    may=$(allowed "$path")
    # Every quoted include, and those in angle brackets that name a folder of this tree.
    names=$(sed -nE -e 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/p' \
      -e 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<((caisson|pmem|transport|core|recipes|tools|bench|tests)\/[^>]*)>.*/\1/p' "$path")
    for name in $names; do
      if ! grep -qE "$may" <<<"$name"; then
        echo "$path: may not include \"$name\": includes point downward, written from the root"
      fi
    done
    case $path in
      tests/checker/*)
        sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]*)>.*/\1/p' "$path" |
          grep -vxE 'nlohmann/json\.hpp|CLI/CLI\.hpp|[a-z_]+' |
          sed "s|^|$path: may not include <|; s|\$|>: the checker needs nothing but the language, JSON and options|" ;;
    esac
  done < <(files '\.(cpp|hpp|h|cc|c)$')
  return 0
}

clean
sample pmem/a.cpp <<<'#include "transport/fabric.hpp"'
caught '^pmem/a.cpp: '
sample transport/shm/a.cpp <<<'#include "core/log/ring.hpp"'
caught '^transport/shm/a.cpp: '
sample transport/shm/a.cpp <<<'#include "transport/sim/world.hpp"'
caught '^transport/shm/a.cpp: '
sample core/log/a.hpp <<<'#  include "core/control/messages.hpp"'
caught '^core/log/a.hpp: '
sample core/replication/a.cpp <<<'#include "transport/shm/endpoint.hpp"'
caught '^core/replication/a.cpp: '
sample core/control/a.cpp <<<'#include <core/engine/node.hpp>'
caught '^core/control/a.cpp: '
sample core/engine/a.cpp <<<'#include "tools/cluster.hpp"'
caught '^core/engine/a.cpp: '
sample core/engine/a.cpp <<<'#include "transport/sim/world.hpp"'
caught '^core/engine/a.cpp: '
sample tools/a.cpp <<<'#include "tests/support/cluster.hpp"'
caught '^tools/a.cpp: '
sample bench/a.cpp <<<'#include "tests/support/cluster.hpp"'
caught '^bench/a.cpp: '
sample include/caisson/a.hpp <<<'#include "core/log/ring.hpp"'
caught '^include/caisson/a.hpp: '
sample tests/checker/a.cpp <<<'#include "core/log/entry_format.hpp"'
caught '^tests/checker/a.cpp: '
sample tests/checker/a.cpp <<<'#include <sys/mman.h>'
caught '^tests/checker/a.cpp: '
sample tests/checker/a.cpp <<<'#include "tests/sim/history.hpp"'
caught '^tests/checker/a.cpp: '
sample core/log/a.cpp <<<'#include "ring.hpp"'
caught '^core/log/a.cpp: '
sample examples/a/main.cpp <<<'#include "core/engine/node.hpp"'
caught '^examples/a/main.cpp: '
sample core/replication/a.cpp <<'E2'
#include <vector>
#include "caisson/types.hpp"
#include "core/log/ring.hpp"
#include "transport/fabric.hpp"
E2
passed
finish
