// SPDX-License-Identifier: BSD-3-Clause
// Small files of a node, one of a kind, that its peers map: heartbeats and post.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <string>

#include "pmem/backing_file.hpp"

namespace caisson::transport::shm {

// Opens the file as its owner, or makes one of `bytes` zeros. Code::busy while another process of
// this node lives.
Result<pmem::BackingFile> open_or_create(const std::string& path, uint64_t bytes);

// [0, bytes) of the file, shared, not inherited by children; null if it cannot be mapped, or is
// shorter.
void* map_node_file(const pmem::BackingFile& file, uint64_t bytes, int protection);
void unmap_node_file(const void* at, uint64_t bytes);

// Maps the peers' files that were not there before. Returns how many are still missing.
template <class Page, size_t kPeers>
size_t map_peer_files(const std::map<ReplicaId, std::string>& paths, const std::string& own_path,
                      uint64_t bytes, int protection,
                      std::array<std::atomic<Page*>, kPeers>& peers) {
  size_t missing = 0;
  for (const auto& [id, path] : paths) {
    if (id.value >= kPeers || path == own_path || peers[id.value].load()) continue;
    const auto file = pmem::BackingFile::open(path, pmem::BackingFile::Access::peer);
    auto* const page = file ? static_cast<Page*>(map_node_file(*file, bytes, protection)) : nullptr;
    peers[id.value].store(page, std::memory_order_release);
    if (page == nullptr) ++missing;
  }
  return missing;
}

}  // namespace caisson::transport::shm
