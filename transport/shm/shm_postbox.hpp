// SPDX-License-Identifier: BSD-3-Clause
// Post between the nodes of one machine: each maps its peers' post files and stores into the page
// that is its own there.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/fabric.hpp"
#include "transport/shm/node_file.hpp"
#include "transport/shm/postbox_format.hpp"

namespace caisson::transport::shm {

struct PostboxOptions {
  ReplicaId self;
  std::string own_path;                    // this node's post file, made if it is missing
  std::map<ReplicaId, std::string> peers;  // post files of the peers
};

class ShmPostbox final : public Postbox {
 public:
  // Takes over the node's post file; what lies there was for its predecessor, and is dropped.
  // Code::busy while another process of this node lives.
  static Result<std::unique_ptr<ShmPostbox>> open(const PostboxOptions& options);
  ~ShmPostbox() override;
  ShmPostbox(const ShmPostbox&) = delete;
  ShmPostbox& operator=(const ShmPostbox&) = delete;

  Code post(ReplicaId to, std::span<const std::byte> message) override;
  size_t message_bytes_max() const override { return kPostBytesMax; }
  const std::atomic<uint64_t>& bell() const override;
  size_t take(ReplicaId& from, std::span<std::byte> out) override;

  // Maps the files of peers that were not there before, or were made anew. Returns how many are
  // missing.
  // Thread: one at a time; not a poller's if it can be helped.
  size_t connect();

  // Makes our own file anew if somebody has deleted it, cut it short or put another in its place,
  // or a page of it is lost: until then nothing arrives. True: it has done so. Codes as open().
  // Thread: as connect().
  Result<bool> mend();

 private:
  explicit ShmPostbox(const PostboxOptions& options);
  Result<void> take_over(Result<OwnFile> file);

  const PostboxOptions options_;
  std::vector<OwnFile> files_;  // the last one is ours; in those before it somebody may still look
  std::atomic<PostFile*> own_{nullptr};
  int next_ = 0;  // whose slot is looked into first
  PeerFiles peers_;
};

}  // namespace caisson::transport::shm
