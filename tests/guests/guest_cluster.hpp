// SPDX-License-Identifier: BSD-3-Clause
// A cluster of three whose nodes run in virtual machines of their own, joined by software RDMA
// adapters, their rings on NVDIMMs (scripts/guest/machines). This process runs in the machines'
// network; what a client does, it does from here.
#pragma once

#include <filesystem>
#include <string>

#include "tests/support/program.hpp"

namespace caisson::test {

inline constexpr int kGuests = 3;

class GuestCluster {
 public:
  // Boots the machines, makes the cluster, and starts every node.
  explicit GuestCluster(int mtu);
  ~GuestCluster();  // stops the machines
  GuestCluster(const GuestCluster&) = delete;
  GuestCluster& operator=(const GuestCluster&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  // A command of scripts/guest/machines. It must succeed.
  std::string machines(const Arguments& arguments) const;
  // The node's process in machine n.
  void start_node(int n, const Arguments& more = {}) const;
  void kill_node(int n, const std::string& signal = "KILL") const;
  // What it says of itself, asked on its own machine: it may be reached by nobody.
  bool takes_itself_for_leader(int n) const;
  // Machine and node.
  void power_off(int n) const { machines({"off", std::to_string(n)}); }
  void power_on(int n) const;
  // Its NVDIMMs and its files are gone; it waits to be admitted.
  void lose_memory(int n) const;

  Outcome operator()(Arguments arguments) const;  // caisson …, with --dir
  Json status() const;
  // Of the log: as the replica that leads says; 0: none is known.
  int leader() const;
  int await_leader() const;
  // … that is another one.
  int await_leader_but(int not_this) const;
  uint64_t committed() const;  // the highest seen so far
  // Appends have been committed behind what was when it was called.
  void await_progress() const;
  std::string last_words(int n) const;

 private:
  void make_cluster() const;
  mutable uint64_t committed_ = 0;
  std::filesystem::path directory_;  // below what the machines have as /out
};

}  // namespace caisson::test
