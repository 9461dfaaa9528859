// SPDX-License-Identifier: BSD-3-Clause
// Who a process is, beyond its number: numbers are reused, a start time within one boot is not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace caisson::pmem {

// Stored in region files and shared cells as it stands.
struct ProcessIdentity {
  uint64_t pid = 0;
  uint64_t start_ticks = 0;    // field 22 of /proc/<pid>/stat
  uint64_t pid_namespace = 0;  // inode of /proc/self/ns/pid; a pid means nothing outside of it
  std::array<uint8_t, 16> boot{};
  bool operator==(const ProcessIdentity&) const = default;
  bool known() const { return pid != 0; }
};
static_assert(sizeof(ProcessIdentity) == 40);

// The calling process. Reads /proc; pid 0 if that is not possible. Not for a hot path.
ProcessIdentity this_process();

// True only if no thread of that process can store to memory any more: it is gone, or only its
// unreaped shell is left, or the machine has been restarted since. False whenever in doubt: an
// unknown identity, another pid namespace, an unreadable /proc.
bool proven_dead(const ProcessIdentity& process);

// True only if thread `thread` of `process` has ended, by the kernel's word: it stores nothing
// more, and what it stored is visible. `self` is this_process(). False whenever in doubt, and for a
// first thread whose process still has others. A kill -9 proves this long before proven_dead().
bool thread_gone(const ProcessIdentity& process, uint64_t thread, const ProcessIdentity& self);

// For messages: "process 1234".
std::string describe(const ProcessIdentity& process);

}  // namespace caisson::pmem
