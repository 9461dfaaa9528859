// SPDX-License-Identifier: BSD-3-Clause
// Whether connecting to a peer's adapter would wait. On Ethernet the kernel looks the peer's link
// address up while a queue pair is connected, and waits up to a second where nobody answers: a
// poller that waited would be taken for dead because of a peer that is. So a thread of its own asks
// first, and nobody connects to whom it has not found.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "caisson/types.hpp"
#include "transport/verbs/handles.hpp"

namespace caisson::transport::verbs {

class Device;
struct Address;

class Paths {
 public:
  explicit Paths(const Device& device);
  ~Paths();
  Paths(const Paths&) = delete;
  Paths& operator=(const Paths&) = delete;

  // ok: connecting to it does not wait · again: it is being looked for · io: it was looked for in
  // vain, and is again. Thread: any; does not wait for the network.
  Code find(const Address& to);
  // It did not answer: whoever connects next looks for it anew.
  void forget(const Address& to);

 private:
  using Gid = std::array<uint8_t, 16>;
  struct Path {
    bool found = false;
    bool missed = false;  // the last time
    bool queued = false;  // to be looked for, or just being
  };

  bool needs_none(const Address& to) const;
  void run();
  bool look_for(const Gid& gid);

  const Device& device_;
  Owned<ibv_pd> domain_;  // the thread's
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<Gid, Path> paths_;  // guarded by mutex_
  std::deque<Gid> queue_;      // guarded by mutex_
  bool stop_ = false;          // guarded by mutex_
  std::thread thread_;         // from the first that has to be found
};

}  // namespace caisson::transport::verbs
