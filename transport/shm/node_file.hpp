// SPDX-License-Identifier: BSD-3-Clause
// Small files of a node, one of a kind, that its peers map: heartbeats and post.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "caisson/types.hpp"
#include "pmem/backing_file.hpp"

namespace caisson::transport::shm {

// Opens the file as its owner, or makes one of `bytes` zeros. Code::busy while another process of
// this node lives.
Result<pmem::BackingFile> open_or_create(const std::string& path, uint64_t bytes);

// [0, bytes) of the file, shared, not inherited by children; null if it cannot be mapped, or is
// shorter.
void* map_node_file(const pmem::BackingFile& file, uint64_t bytes, int protection);
void unmap_node_file(const void* at, uint64_t bytes);

// Which file a path leads to.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};
std::optional<FileIdentity> identity_at(const std::string& path);

// The mapped files of the peers. Who was made anew is mapped anew; the old file stays mapped until
// the end, as somebody may be looking at it.
template <class Page>
class PeerFiles {
 public:
  PeerFiles(uint64_t bytes, int protection) : bytes_(bytes), protection_(protection) {}
  ~PeerFiles() {
    for (const auto& page : pages_) unmap_node_file(page.load(), bytes_);
    for (const Page* const page : replaced_) unmap_node_file(page, bytes_);
  }
  PeerFiles(const PeerFiles&) = delete;
  PeerFiles& operator=(const PeerFiles&) = delete;

  // Null: it has not been found yet. Thread: any.
  Page* of(ReplicaId peer) const {
    return peer.value < pages_.size() ? pages_[peer.value].load(std::memory_order_acquire)
                                      : nullptr;
  }

  // Returns how many are still missing. Thread: one at a time.
  size_t connect(const std::map<ReplicaId, std::string>& paths, const std::string& own_path) {
    size_t missing = 0;
    for (const auto& [id, path] : paths) {
      if (id.value >= pages_.size() || path == own_path) continue;
      const auto there = identity_at(path);
      if (there && *there != identities_[id.value]) map(id, path, *there);
      if (of(id) == nullptr) ++missing;
    }
    return missing;
  }

 private:
  void map(ReplicaId id, const std::string& path, const FileIdentity& there) {
    const auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::peer);
    auto* const page =
        file ? static_cast<Page*>(map_node_file(*file, bytes_, protection_)) : nullptr;
    if (page == nullptr) return;
    identities_[id.value] = there;
    const Page* const before = pages_[id.value].exchange(page, std::memory_order_acq_rel);
    if (before != nullptr) replaced_.push_back(before);
  }

  const uint64_t bytes_;
  const int protection_;
  std::array<std::atomic<Page*>, kReplicaIdMax + 1> pages_{};
  std::array<FileIdentity, kReplicaIdMax + 1> identities_{};
  std::vector<const Page*> replaced_;
};

}  // namespace caisson::transport::shm
