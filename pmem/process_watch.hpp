// SPDX-License-Identifier: BSD-3-Clause
// The kernel's word on whether one certain process still lives, for the price of one poll().
#pragma once

#include "pmem/process_identity.hpp"

namespace caisson::pmem {

class ProcessWatch {
 public:
  ProcessWatch() = default;
  ~ProcessWatch() { stop(); }
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  // Watches `process`. Does nothing if it is watched already, or cannot be: unknown, gone, in
  // another pid namespace.
  void watch(const ProcessIdentity& process);
  void stop();

  // True only if `process` is the one watched and none of its threads can store any more. Comes
  // late: after its address space has been torn down.
  bool dead(const ProcessIdentity& process) const;

 private:
  ProcessIdentity process_;
  int pidfd_ = -1;
};

}  // namespace caisson::pmem
