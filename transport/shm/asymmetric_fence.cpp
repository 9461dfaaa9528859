// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/asymmetric_fence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmem/persist.hpp"

namespace caisson::transport::shm {
namespace {

long membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

bool register_light_half() { return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0; }

bool heavy_half_available() {
  const long offered = membarrier(MEMBARRIER_CMD_QUERY);
  return offered > 0 && (offered & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 && heavy_half();
}

bool heavy_half() {
  pmem::full_fence();
  const bool fenced = membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
  pmem::full_fence();
  return fenced;
}

}  // namespace caisson::transport::shm
