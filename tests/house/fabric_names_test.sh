#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Only transport/verbs names ibverbs, only transport/dpdk names DPDK, and no fabric names the core.
source "$(dirname "$0")/lint.bash"

check() {
  local path
  while IFS= read -r path; do
    case $path in
      transport/verbs/*) ;;
      *) without_comments "$path" | grep -nE '\b(ibv_|rdma_|IBV_|RDMA_)[a-zA-Z]|<(infiniband|rdma)/' |
        sed "s|^|$path:|; s|$|: ibverbs is named in transport/verbs only|" ;;
    esac
    case $path in
      transport/dpdk/*) ;;
      *) without_comments "$path" | grep -nE '\b(rte_|RTE_)[a-zA-Z]|<rte_' |
        sed "s|^|$path:|; s|$|: DPDK is named in transport/dpdk only|" ;;
    esac
    case $path in
      transport/* | pmem/*)
        without_comments "$path" |
          grep -nE '\b(log|replication|control|engine)::|namespace caisson::(log|replication|control|engine)' |
          sed "s|^|$path:|; s|$|: regions and fabrics know no log|" ;;
    esac
  done < <(files '\.(cpp|hpp|h|cc|c)$')
  return 0
}

clean
sample core/engine/a.cpp <<<'int n = ibv_post_send(q, w, &bad);'
caught '^core/engine/a.cpp:1:'
sample transport/shm/a.cpp <<<'#include <infiniband/verbs.h>'
caught '^transport/shm/a.cpp:1:'
sample transport/verbs/a.cpp <<<'rte_eth_rx_burst(0, 0, p, 32);'
caught '^transport/verbs/a.cpp:1:'
sample transport/sim/a.hpp <<<'void scan(const log::Ring& ring);'
caught '^transport/sim/a.hpp:1:'
sample transport/verbs/a.cpp <<<'int n = ibv_post_send(q, w, &bad);  // log::Ring'
passed
sample transport/dpdk/a.cpp <<<'rte_eth_rx_burst(0, 0, p, 32);'
passed
finish
