// SPDX-License-Identifier: BSD-3-Clause
// Small files of a node, one of a kind, that its peers map: heartbeats and post.
//
// Nobody but their owner has any business with them, and yet somebody may delete one, cut it short,
// or put another in its place, and a page of it may be poisoned. Whoever has it mapped goes on: to
// its peers such a node is silent until its file is another one, and the owner makes it anew (R44).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "pmem/backing_file.hpp"
#include "pmem/poison_guard.hpp"

namespace caisson::transport::shm {

// Which file a path leads to, and how long it is.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
struct FileAtPath {
  FileIdentity identity;
  uint64_t bytes = 0;
};
std::optional<FileAtPath> file_at(const std::string& path);

// [0, bytes) of such a file, shared, not inherited by children. Zeros stand in for a page that is
// gone.
class NodeMapping {
 public:
  // Null: it cannot be mapped, is shorter, or this process guards too many mappings.
  static std::unique_ptr<NodeMapping> map(const pmem::BackingFile& file, uint64_t bytes,
                                          int protection);
  ~NodeMapping();
  NodeMapping(const NodeMapping&) = delete;
  NodeMapping& operator=(const NodeMapping&) = delete;

  template <class Page>
  Page& as() const {
    return *static_cast<Page*>(at_);
  }
  // What was read may be zeros, and what was stored is nowhere. [any thread] On the thread that
  // met the page this is known at once.
  bool lost() const { return mark_.found(); }

 private:
  NodeMapping(void* at, uint64_t bytes) : at_(at), bytes_(bytes) {}

  void* const at_;
  const uint64_t bytes_;
  pmem::PoisonMark mark_;
  pmem::GuardedRange guard_;
};

// A node's own file of a kind, locked and mapped.
class OwnFile {
 public:
  // Opens it, or makes one of `bytes` zeros. Code::busy while another process of this node lives ·
  // io: it is shorter, or cannot be mapped · as BackingFile::create.
  static Result<OwnFile> open(const std::string& path, uint64_t bytes);

  NodeMapping& mapping() const { return *mapping_; }
  // Peers find it at its path, and it is whole, as far as anybody has noticed.
  bool sound() const;
  // What takes its place once it is not: at the same path, and as of open().
  Result<OwnFile> successor() const;
  // It is mapped for as long as this process lives.
  void keep_mapped() { (void)mapping_.release(); }

 private:
  OwnFile(pmem::BackingFile file, uint64_t bytes, FileIdentity identity,
          std::unique_ptr<NodeMapping> mapping)
      : file_(std::move(file)), bytes_(bytes), identity_(identity), mapping_(std::move(mapping)) {}

  pmem::BackingFile file_;
  uint64_t bytes_ = 0;
  FileIdentity identity_;
  std::unique_ptr<NodeMapping> mapping_;
};

// The mapped files of the peers. Who was made anew is mapped anew; the old file stays mapped until
// the end, as somebody may be looking at it.
class PeerFiles {
 public:
  PeerFiles(uint64_t bytes, int protection) : bytes_(bytes), protection_(protection) {}

  // Null: it has not been found yet. Thread: any.
  const NodeMapping* of(ReplicaId peer) const {
    return peer.value < current_.size() ? current_[peer.value].load(std::memory_order_acquire)
                                        : nullptr;
  }

  // Returns how many are still missing. Thread: one at a time.
  size_t connect(const std::map<ReplicaId, std::string>& paths, const std::string& own_path);

 private:
  const uint64_t bytes_;
  const int protection_;
  std::array<std::atomic<const NodeMapping*>, kReplicaIdMax + 1> current_{};
  std::array<FileIdentity, kReplicaIdMax + 1> identities_{};
  std::vector<std::unique_ptr<NodeMapping>> all_;
};

}  // namespace caisson::transport::shm
