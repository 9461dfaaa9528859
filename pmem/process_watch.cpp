// SPDX-License-Identifier: BSD-3-Clause
#include "pmem/process_watch.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace caisson::pmem {

void ProcessWatch::watch(const ProcessIdentity& process) {
  if (!process.known() || (pidfd_ >= 0 && process == process_)) return;
  stop();
  const ProcessIdentity self = this_process();
  if (process.boot != self.boot || process.pid_namespace != self.pid_namespace) return;
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(process.pid), 0));
  // Only now: the number belonged to this very process when the descriptor was taken.
  if (pidfd_ >= 0 && proven_dead(process)) stop();
  process_ = process;
}

void ProcessWatch::stop() {
  if (pidfd_ >= 0) ::close(pidfd_);
  pidfd_ = -1;
}

bool ProcessWatch::dead(const ProcessIdentity& process) const {
  if (pidfd_ < 0 || process != process_) return false;
  pollfd readable{pidfd_, POLLIN, 0};
  return ::poll(&readable, 1, 0) == 1 && (readable.revents & POLLIN) != 0;
}

}  // namespace caisson::pmem
