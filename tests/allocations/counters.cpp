// SPDX-License-Identifier: BSD-3-Clause
#include "tests/allocations/counters.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "bench/allocations.hpp"

namespace {

volatile sig_atomic_t trapped = 0;
volatile long first_trapped = -1;

}  // namespace

namespace caisson::allocations_test {

namespace {

void on_trap(int, siginfo_t* info, void* context) {
  if (trapped == 0) first_trapped = info->si_syscall;
  trapped = trapped + 1;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

}  // namespace

bool countable() { return bench::allocations_counted(); }

uint64_t allocations() { return bench::allocations_of_this_thread(); }
uint64_t trapped_system_calls() { return static_cast<uint64_t>(trapped); }
long first_trapped_system_call() { return first_trapped; }

bool trap_system_calls() {
  struct sigaction action {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (sigaction(SIGSYS, &action, nullptr) != 0) return false;
  constexpr auto jump = [](uint32_t number, uint8_t skip) {
    return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, skip, 0, number};
  };
  sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      jump(SYS_rt_sigreturn, 5),
      jump(SYS_write, 4),
      jump(SYS_exit_group, 3),
      jump(SYS_exit, 2),
      jump(SYS_getrusage, 1),
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0;
}

}  // namespace caisson::allocations_test
