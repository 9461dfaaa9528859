// SPDX-License-Identifier: BSD-3-Clause
// A replica's data directory: what lies where, and who owns it.
//   lock                  held by the process that runs the replica (P7)
//   heartbeat             its poller's counter, read by the peers of this machine; empty where they
//                         are on other ones
//   logs/<name>/region    one region per log
//   creating              there while its regions are being made; a creation that was cut short
//                         is begun again, and nothing of it has ever been anybody's replica
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "caisson/types.hpp"

namespace caisson::engine {

std::string region_path(const std::string& directory, std::string_view log_name);
std::string heartbeat_path(const std::string& directory);
std::string post_path(const std::string& directory);
std::string creation_mark_path(const std::string& directory);

// Makes the directory and those above it. denied, no_space, io.
Result<void> make_directory(const std::string& path);
bool file_exists(const std::string& path);
// An empty file, durable on return. denied, no_space, io.
Result<void> make_mark(const std::string& path);

// Whatever lies there now is somebody else's.
Error directory_replaced(const std::string& directory);

// Longer than a kernel takes to tear down a process with its memory and its connections.
inline constexpr std::chrono::seconds kOwnerGone{10};

// Ownership of a data directory, for as long as it lives. Held across threads, not across exec;
// a forked child shares it until it is released.
class NodeLock {
 public:
  // Waits until an owner that was killed is gone with its connections; not for one that cannot be
  // looked at: of another pid namespace, or hidden by /proc's mount options. busy, naming the
  // owner: it runs, or is not gone in time · not_found: no such directory · denied · io.
  static Result<NodeLock> take(const std::string& directory,
                               std::chrono::milliseconds patience = kOwnerGone);
  NodeLock() = default;
  NodeLock(NodeLock&& other) noexcept;
  NodeLock& operator=(NodeLock&& other) noexcept;
  ~NodeLock() { release(); }
  void release();
  // As release(), where something of this process may still be written to from elsewhere: who takes
  // it next waits for this process to end.
  void abandon();
  // A process owns the directory now. False also if nobody can tell.
  static bool taken(const std::string& directory);
  bool held() const { return fd_ >= 0; }
  // It is still `directory`'s: nobody has put another one in its place, or has deleted it.
  bool of(const std::string& directory) const;

 private:
  int fd_ = -1;
};

}  // namespace caisson::engine
