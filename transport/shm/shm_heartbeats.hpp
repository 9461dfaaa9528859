// SPDX-License-Identifier: BSD-3-Clause
// Heartbeats of a node on one machine (R27): a counter that the poller itself advances, and the
// kernel's word that the poller's thread is gone, both read by peers without a system call.
//
// The death word comes microseconds after a kill -9, long before the process's descriptors close or
// its pidfd fires. It is a hint to look for a new leader, never a reason to believe that the
// process stores no more: other threads of it may, and only a revocation fences.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/fabric.hpp"
#include "transport/shm/heartbeat_format.hpp"
#include "transport/shm/node_file.hpp"

namespace caisson::transport::shm {

struct HeartbeatOptions {
  std::string own_path;                    // this node's heartbeat file, made if it is missing
  std::map<ReplicaId, std::string> peers;  // heartbeat files of the peers
};

class ShmHeartbeats final : public Heartbeats {
 public:
  // Takes over the node's heartbeat file. Code::busy while another process of this node lives.
  static Result<std::unique_ptr<ShmHeartbeats>> open(const HeartbeatOptions& options);

  // From the poller's thread, after its last beat, peers see the node dead at once. From another
  // thread: only after the poller's has ended; else one page stays mapped for the rest of the
  // process's life.
  ~ShmHeartbeats() override;
  ShmHeartbeats(const ShmHeartbeats&) = delete;
  ShmHeartbeats& operator=(const ShmHeartbeats&) = delete;

  // Thread: the poller's, always the same. The first call ties the death word to the calling
  // thread.
  void beat() override;

  // Thread: any. `known` is false until connect() has found the peer's file.
  Beat read(ReplicaId peer) const override;

  // Maps the files of peers that were not there before, or were made anew. Returns how many are
  // missing. Thread: one at a time; not the poller's if it can be helped.
  size_t connect();

  // Makes our own file anew if somebody has deleted it, cut it short or put another in its place,
  // or a page of it is lost: until then, and until the poller's next beat, peers hear nothing.
  // True: it has done so. Codes as open(). Thread: as connect().
  Result<bool> mend();

  // False if the death word could not be tied to the poller: peers then see only the counter stop.
  bool death_word_armed() const { return armed_; }

 private:
  explicit ShmHeartbeats(const HeartbeatOptions& options);
  Result<void> take_over(Result<OwnFile> file);
  void tie_to_this_thread(HeartbeatPage& page);

  HeartbeatOptions options_;
  std::vector<OwnFile> files_;  // the last one is ours, those before it were
  std::atomic<HeartbeatPage*> own_{nullptr};
  // The poller's.
  uint64_t counter_ = 0;
  HeartbeatPage* tied_ = nullptr;  // the page that its thread beats and has locked
  int poller_thread_ = 0;
  bool armed_ = false;
  PeerFiles peers_;
};

}  // namespace caisson::transport::shm
